/** The sidebar tab: a person's profile as it is now, and what can be done with it. */

import { app } from "../../../scripts/app.js";
import { api } from "../../../scripts/api.js";
import * as profiles from "../rating/profiles.js";
import { texts } from "./texts.js";
import { ProfileView } from "./view.js";

const PAGE = 24;
const REMEMBERED = "prefgen.profile"; // which profile was looked at last

/** The pictures that Show User Profile made since the page was loaded: profile -> how ComfyUI names the file. */
const pictures = new Map();
const noted = new EventTarget();

/** What ComfyUI's sidebar is given: `app.extensionManager.registerSidebarTab(profileTab())`. */
export function profileTab() {
  let open = null;
  return {
    id: "prefgen-profile",
    icon: "pi pi-heart",
    title: texts().tab,
    tooltip: texts().tip,
    type: "custom",
    render(container) {
      open?.remove();
      open = new ProfileTab(container);
    },
    destroy() {
      open?.remove();
      open = null;
    },
  };
}

/** A node ran: keep the picture, if it is one of a profile with a model's guesses. */
export function noteOutput(output) {
  const name = output?.profile?.[0];
  if (!name || !output.alike || !output.images?.length) return;
  pictures.set(name, output.images[0]);
  noted.dispatchEvent(new Event("change"));
}

class ProfileTab {
  constructor(container) {
    this.name = "";
    this.sides = new Map([[true, []], [false, []]]);
    this.turn = Promise.resolve();
    this.view = new ProfileView({
      choose: (name) => this.choose(name),
      more: (liked) => this.inTurn(() => this.more(liked)),
      turn: ({ image, liked, prompt }) => this.inTurn(() => profiles.rate(this.name, image, !liked, prompt)),
      forget: (rating) => this.forget(rating),
      undo: () => this.inTurn(() => profiles.undo(this.name)),
      export: () => this.inTurn(() => profiles.download(this.name)),
      import: (file) => this.import(file),
      forgetAll: () => this.forgetAll(),
      picture: (digest) => profiles.imageBlob(this.name, { digest }, 192),
    });
    container.classList.add("prefgen-tab");
    container.replaceChildren(this.view.element);
    this.onChange = () => this.inTurn(() => this.read());
    profiles.changes.addEventListener("change", this.onChange);
    noted.addEventListener("change", this.onChange);
    this.onChange();
  }

  /** Requests go one after the other, and whatever changed is seen by the read that each change asks for. */
  inTurn(action) {
    this.turn = this.turn.then(action).catch((error) => this.view.say(error.message));
    return this.turn;
  }

  choose(name) {
    this.name = name;
    localStorage.setItem(REMEMBERED, name);
    this.sides.forEach((side) => side.splice(0));
    return this.onChange();
  }

  /** Ask the server for everything that is shown; as much of each side as was there. */
  async read() {
    const all = await profiles.list();
    const names = all.map(({ name }) => name);
    const newest = [...all].sort((a, b) => (b.updated ?? 0) - (a.updated ?? 0))[0]?.name ?? "";
    this.name = [this.name, localStorage.getItem(REMEMBERED)].find((name) => names.includes(name)) ?? newest;
    const about = all.find(({ name }) => name === this.name) ?? { liked: 0, disliked: 0 };
    for (const [liked, side] of this.sides) {
      const limit = Math.max(PAGE, side.length);
      const found = this.name ? await profiles.page(this.name, liked, 0, limit) : [];
      side.splice(0, side.length, ...found);
    }
    this.view.render({ names, name: this.name, about, sides: this.sides, picture: this.picture() });
  }

  async more(liked) {
    const side = this.sides.get(liked);
    side.push(...(await profiles.page(this.name, liked, side.length, PAGE)));
    await this.read();
  }

  picture() {
    const file = pictures.get(this.name);
    return file ? api.apiURL(`/view?${new URLSearchParams(file)}`) : null;
  }

  async forget({ image }) {
    if (!(await sure(texts().sureImage))) return;
    await this.inTurn(() => profiles.forgetImage(this.name, image));
  }

  async forgetAll() {
    if (!(await sure(texts().sureAll(this.name)))) return;
    await this.inTurn(() => profiles.forgetProfile(this.name));
  }

  import(file) {
    // Into a profile of the file's name, where none is chosen yet.
    const name = this.name || file.name.replace(/(\.prefgen)?\.zip$/i, "");
    return this.inTurn(async () => {
      const { imported } = await profiles.upload(name, file);
      await this.read();
      this.view.say(texts().imported(imported.ratings, imported.known));
    });
  }

  remove() {
    profiles.changes.removeEventListener("change", this.onChange);
    noted.removeEventListener("change", this.onChange);
    this.view.remove();
  }
}

/** Ask before what cannot be undone. */
async function sure(message) {
  const dialog = app.extensionManager?.dialog;
  if (!dialog?.confirm) return window.confirm(message);
  return Boolean(await dialog.confirm({ title: "PrefGen", message, type: "delete" }));
}
