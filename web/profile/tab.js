/** The sidebar tab, which shows and edits a profile. */

import { app } from "../../../scripts/app.js";
import { api } from "../../../scripts/api.js";
import * as profiles from "../rating/profiles.js";
import { texts } from "./texts.js";
import { ProfileView } from "./view.js";

const PAGE_SIZE = 24;
const LAST_PROFILE = "prefgen.profile"; // storage key of the profile that was shown last

/** Pictures of Show User Profile since the page was loaded: profile -> ComfyUI's names of the file. */
const pictures = new Map();
const pictureEvents = new EventTarget();

/** Returns the description of the tab for `app.extensionManager.registerSidebarTab`. */
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

/** Keeps the picture of a node that ran, if it is Show User Profile with a preference model. */
export function noteOutput(output) {
  const name = output?.profile?.[0];
  if (!name || !output.alike || !output.images?.length) return;
  pictures.set(name, output.images[0]);
  pictureEvents.dispatchEvent(new Event("change"));
}

class ProfileTab {
  constructor(container) {
    this.name = "";
    this.sides = new Map([[true, []], [false, []]]);
    this.queue = Promise.resolve();
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
    for (const kind of ["change", "stale"]) profiles.changes.addEventListener(kind, this.onChange);
    pictureEvents.addEventListener("change", this.onChange);
    this.onChange();
  }

  /** Sends requests one after the other. Each change asks for another read, so the last one shows everything. */
  inTurn(action) {
    this.queue = this.queue.then(action).catch((error) => this.view.showMessage(error.message));
    return this.queue;
  }

  choose(name) {
    this.name = name;
    localStorage.setItem(LAST_PROFILE, name);
    this.sides.forEach((side) => side.splice(0));
    return this.onChange();
  }

  /** Loads everything that is shown, and of each side as many ratings as before. */
  async read() {
    const all = await profiles.list();
    const names = all.map(({ name }) => name);
    const newest = [...all].sort((a, b) => (b.updated ?? 0) - (a.updated ?? 0))[0]?.name ?? "";
    this.name = [this.name, localStorage.getItem(LAST_PROFILE)].find((name) => names.includes(name)) ?? newest;
    const counts = all.find(({ name }) => name === this.name) ?? { liked: 0, disliked: 0 };
    for (const [liked, side] of this.sides) {
      const limit = Math.max(PAGE_SIZE, side.length);
      const ratings = this.name ? await profiles.page(this.name, liked, 0, limit) : [];
      side.splice(0, side.length, ...ratings);
    }
    this.view.render({ names, name: this.name, counts, sides: this.sides, picture: this.picture() });
  }

  async more(liked) {
    const side = this.sides.get(liked);
    side.push(...(await profiles.page(this.name, liked, side.length, PAGE_SIZE)));
    await this.read();
  }

  picture() {
    const file = pictures.get(this.name);
    return file ? api.apiURL(`/view?${new URLSearchParams(file)}`) : null;
  }

  async forget({ image }) {
    if (!(await confirm(texts().sureImage))) return;
    await this.inTurn(() => profiles.forgetImage(this.name, image));
  }

  async forgetAll() {
    if (!(await confirm(texts().sureAll(this.name)))) return;
    await this.inTurn(() => profiles.forgetProfile(this.name));
  }

  import(file) {
    // Without a profile, the file's name becomes the profile's name.
    const name = this.name || file.name.replace(/(\.prefgen)?\.zip$/i, "");
    return this.inTurn(async () => {
      const { imported } = await profiles.upload(name, file);
      await this.read();
      this.view.showMessage(texts().imported(imported.ratings, imported.known));
    });
  }

  remove() {
    for (const kind of ["change", "stale"]) profiles.changes.removeEventListener(kind, this.onChange);
    pictureEvents.removeEventListener("change", this.onChange);
    this.view.remove();
  }
}

/** Asks before an action that cannot be undone. */
async function confirm(message) {
  const dialog = app.extensionManager?.dialog;
  if (!dialog?.confirm) return window.confirm(message);
  return Boolean(await dialog.confirm({ title: "PrefGen", message, type: "delete" }));
}
