/** The pack's routes (docs/routes.md), by ComfyUI's own `fetchApi`, which says whose request it is. */

import { api } from "../../../scripts/api.js";
import { texts } from "./texts.js";

/** Digests in one address: a server takes about 8,000 characters. */
const DIGESTS_A_REQUEST = 64;

/** Tells every widget what was rated: "change" events whose `detail` is {profile, image, rating, liked, disliked}. */
export const changes = new EventTarget();

/** A route refused, or did not answer (status 0). `message` is for the person. */
export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** Like or dislike an image that was shown. When this returns, the rating is on the server's disk. */
export async function rate(profile, image, liked, prompt) {
  const told = await asJson(await send(`${named(profile)}/ratings`, { image, liked, prompt }));
  tell(profile, told.rating.image, told.rating, told);
  return told;
}

/** Take back the last rating: of the profile, or of one image. */
export async function undo(profile, image) {
  const told = await asJson(await send(`${named(profile)}/undo`, image ? { image } : {}));
  tell(profile, told.undone.image, told.rating, told);
  return told;
}

/**
 * What is rated of some images, maybe of none, and how much in all: {ratings, liked, disliked}. A profile that is not
 * there yet has no ratings.
 */
export async function ratingsOf(profile, digests) {
  const found = { ratings: [], liked: 0, disliked: 0 };
  const places = [named(profile)];
  for (let from = 0; from < digests.length; from += DIGESTS_A_REQUEST) {
    const images = digests.slice(from, from + DIGESTS_A_REQUEST).join(",");
    places[from / DIGESTS_A_REQUEST] = `${named(profile)}/ratings?limit=${DIGESTS_A_REQUEST}&images=${images}`;
  }
  for (const place of places) {
    const answer = await send(place);
    if (answer.status === 404) return found;
    const { ratings = [], liked, disliked } = await asJson(answer);
    found.ratings.push(...ratings);
    Object.assign(found, { liked, disliked });
  }
  return found;
}

/** All profiles of the user, in numbers. */
export async function list() {
  return (await asJson(await send(""))).profiles;
}

/** Some of what is liked, or of what is disliked, newest first. */
export async function page(profile, liked, offset, limit) {
  const query = new URLSearchParams({ liked, offset, limit });
  return (await asJson(await send(`${named(profile)}/ratings?${query}`))).ratings;
}

/** Forget an image and its ratings, for good. */
export async function forgetImage(profile, image) {
  tell(profile, image, null, await asJson(await send(`${named(profile)}/images/${image}`, null, "DELETE")));
}

/** Forget a profile, for good. */
export async function forgetProfile(profile) {
  await asJson(await send(named(profile), null, "DELETE"));
  tell(profile, "", null, { liked: 0, disliked: 0 });
}

/** Let the browser save the profile as one .zip. */
export async function download(profile) {
  const answer = await send(`${named(profile)}/export`);
  if (!answer.ok) await asJson(answer);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await answer.blob());
  link.download = `${profile}.prefgen.zip`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // when the browser has begun to save is not told
}

/** Add such a .zip to a profile: {imported: {ratings, known, images}}. */
export async function upload(profile, file) {
  const told = await asJson(await send(`${named(profile)}/import`, file, "POST", "application/zip"));
  tell(profile, "", null, told);
  return told;
}

/** An image as a blob: from where ComfyUI showed it, else the small one of the profile; null if both are gone. */
export async function imageBlob(profile, { digest, file }, size = 1024) {
  const places = [`/prefgen/profiles/${named(profile)}/images/${digest}?size=${size}`];
  if (file) places.unshift(`/view?${new URLSearchParams(file)}`);
  for (const place of places) {
    const answer = await api.fetchApi(place);
    if (answer.ok) return answer.blob();
  }
  return null;
}

const named = (profile) => encodeURIComponent(profile);

async function send(path, body, method = body ? "POST" : "GET", type = "application/json") {
  const options = { method };
  if (body) {
    options.headers = { "Content-Type": type };
    options.body = type === "application/json" ? JSON.stringify(body) : body;
  }
  try {
    return await api.fetchApi(`/prefgen/profiles${path && `/${path}`}`, options);
  } catch {
    throw new Refused(texts().noAnswer, 0);
  }
}

async function asJson(answer) {
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(told.error ?? texts().status(answer.status), answer.status);
  return told;
}

function tell(profile, image, rating, { liked, disliked }) {
  changes.dispatchEvent(new CustomEvent("change", { detail: { profile, image, rating, liked, disliked } }));
}
