/** Calls the pack's routes (docs/routes.md) through ComfyUI's `fetchApi`, which adds the user to each request. */

import { api } from "../../../scripts/api.js";
import { texts } from "./texts.js";

/** Digests per request: a server accepts addresses of about 8,000 characters. */
const DIGESTS_PER_REQUEST = 64;

/**
 * Informs all widgets: "change" events, whose `detail` {profile, image, rating, liked, disliked} is a rating in this or
 * another tab of the browser, and "stale" events, after which everything may have changed.
 */
export const changes = new EventTarget();

const tabs = new BroadcastChannel("prefgen.ratings");
tabs.addEventListener("message", ({ data: { user, detail } }) => {
  if (user === userOf()) changes.dispatchEvent(new CustomEvent("change", { detail }));
});

// Other browsers and scripts rate as well.
document.addEventListener("visibilitychange", () => document.hidden || changes.dispatchEvent(new Event("stale")));

/** A route returned an error, or did not respond (status 0). `message` is shown to the user. */
export class RequestError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** Likes or dislikes an image. When this returns, the rating is on the server's disk. */
export async function rate(profile, image, liked, prompt) {
  const content = await asJson(await send(`${encoded(profile)}/ratings`, { image, liked, prompt }));
  notify(profile, content.rating.image, content.rating, content);
  return content;
}

/**
 * Saves a click: {profile, image, liked, prompt}, where `liked` null removes the rating. It may be sent again without
 * harm. Returns what was removed, or null.
 */
export async function saveClick({ profile, image, liked, prompt }) {
  try {
    if (liked === null) return (await takeBack(profile, { image, all: true })).undone;
  } catch (error) {
    if (liked !== null || ![404, 409].includes(error.status)) throw error; // otherwise there was no rating
    return null;
  }
  await rate(profile, image, liked, prompt);
  return null;
}

/** Undoes the last rating of a profile. */
export function undo(profile) {
  return takeBack(profile, {});
}

async function takeBack(profile, what) {
  const content = await asJson(await send(`${encoded(profile)}/undo`, what));
  notify(profile, content.undone.image, content.rating, content);
  return content;
}

/**
 * Returns the ratings of some images and the totals of the profile: {ratings, liked, disliked}. A profile that does not
 * exist yet has no ratings.
 */
export async function ratingsOf(profile, digests) {
  const result = { ratings: [], liked: 0, disliked: 0 };
  const paths = [encoded(profile)];
  for (let from = 0; from < digests.length; from += DIGESTS_PER_REQUEST) {
    const images = digests.slice(from, from + DIGESTS_PER_REQUEST).join(",");
    paths[from / DIGESTS_PER_REQUEST] = `${encoded(profile)}/ratings?limit=${DIGESTS_PER_REQUEST}&images=${images}`;
  }
  for (const path of paths) {
    const response = await send(path);
    if (response.status === 404) return result;
    const { ratings = [], liked, disliked } = await asJson(response);
    result.ratings.push(...ratings);
    Object.assign(result, { liked, disliked });
  }
  return result;
}

/** Returns the summaries of all profiles of the user. */
export async function list() {
  return (await asJson(await send(""))).profiles;
}

/** Returns a page of likes, or of dislikes, newest first. */
export async function page(profile, liked, offset, limit) {
  const query = new URLSearchParams({ liked, offset, limit });
  return (await asJson(await send(`${encoded(profile)}/ratings?${query}`))).ratings;
}

/** Deletes an image and its ratings. */
export async function forgetImage(profile, image) {
  notify(profile, image, null, await asJson(await send(`${encoded(profile)}/images/${image}`, null, "DELETE")));
}

/** Deletes a profile. */
export async function forgetProfile(profile) {
  await asJson(await send(encoded(profile), null, "DELETE"));
  notify(profile, "", null, { liked: 0, disliked: 0 });
}

/** Lets the browser save the profile as one .zip. */
export async function download(profile) {
  const response = await send(`${encoded(profile)}/export`);
  if (!response.ok) await asJson(response);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await response.blob());
  link.download = `${profile}.prefgen.zip`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // there is no event for when the browser has read it
}

/** Adds such a .zip to a profile, and returns {imported: {ratings, known, images}}. */
export async function upload(profile, file) {
  const content = await asJson(await send(`${encoded(profile)}/import`, file, "POST", "application/zip"));
  notify(profile, "", null, content);
  return content;
}

/** Returns an image as a blob: the file that ComfyUI saved, or else the profile's thumbnail; null if neither exists. */
export async function imageBlob(profile, { digest, file }, size = 1024) {
  const paths = [`/prefgen/profiles/${encoded(profile)}/images/${digest}?size=${size}`];
  if (file) paths.unshift(`/view?${new URLSearchParams(file)}`);
  for (const path of paths) {
    const response = await api.fetchApi(path);
    if (response.ok) return response.blob();
  }
  return null;
}

const encoded = (profile) => encodeURIComponent(profile);

async function send(path, body, method = body ? "POST" : "GET", type = "application/json") {
  const options = { method };
  if (body) {
    options.headers = { "Content-Type": type };
    options.body = type === "application/json" ? JSON.stringify(body) : body;
  }
  try {
    return await api.fetchApi(`/prefgen/profiles${path && `/${path}`}`, options);
  } catch {
    throw new RequestError(texts().noAnswer, 0);
  }
}

async function asJson(response) {
  const content = await response.json().catch(() => ({}));
  if (!response.ok) throw new RequestError(content.error ?? texts().status(response.status), response.status);
  return content;
}

function notify(profile, image, rating, { liked, disliked }) {
  const detail = { profile, image, rating, liked, disliked };
  changes.dispatchEvent(new CustomEvent("change", { detail }));
  tabs.postMessage({ user: userOf(), detail });
}

/** The ComfyUI user of this page, which a server without --multi-user does not tell apart. */
function userOf() {
  return api.user ?? "";
}
