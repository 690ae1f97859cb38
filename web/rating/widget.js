/** The widget of a Record Preference node: the batch it shows, its ratings, and the ratings that are not saved yet. */

import { activeNodes, fit, isOurs, textOf } from "../graph.js";
import { batchOf } from "./batch.js";
import * as profiles from "./profiles.js";
import { texts } from "./texts.js";
import * as storage from "./unsaved.js";
import { RatingView } from "./view.js";

const NAME = "ratings";
const TYPE = "PREFGEN_RATINGS";
const MARGIN = 20; // the frontend's, above and below together
const FIRST_HEIGHT = 110; // before anything is drawn
const IMAGES_HEIGHT = 180;
const FIRST_SIZE = [360, 560];
const TYPING_PAUSE = 400; // milliseconds without a key press after which a profile's name is complete

export class RatingWidget {
  constructor(node) {
    this.node = node;
    this.batch = null;
    this.marks = new Map(); // digest -> liked, as saved on the server
    this.unsaved = new Map(); // digest -> a click that was not acknowledged: see `saveClick`
    this.counts = null; // {liked, disliked} of the profile, once known
    this.message = "";
    this.failed = false;
    this.queue = Promise.resolve();
    this.view = new RatingView({
      rate: (image, liked) => this.rate(image, liked),
      undo: () => this.undo(),
      retry: () => this.retry(),
    });
    this.onChange = ({ detail }) => this.changed(detail);
    this.onStale = () => this.refresh();
    profiles.changes.addEventListener("change", this.onChange);
    profiles.changes.addEventListener("stale", this.onStale);
    this.attach();
    this.render();
  }

  /**
   * Adds the widget below the node's other widgets, and listens to the node. It is saved neither in workflows nor in
   * prompts.
   */
  attach() {
    const { node } = this;
    const getMinHeight = () => Math.max(this.view.minHeight(IMAGES_HEIGHT), FIRST_HEIGHT) + MARGIN;
    const options = { serialize: false, hideOnZoom: false, getMinHeight };
    const widget = node.addDOMWidget(NAME, TYPE, this.view.element, options);
    widget.serialize = false;
    fit(node);
    // The widget shows the images, so the node (in Vue or on the canvas) must not show them again.
    node.hideOutputImages = true;
    node.onDrawBackground = () => {};
    after(node, "onExecuted", (output) => this.show(output, true));
    after(node, "onRemoved", () => this.remove());
    after(this.input("profile"), "callback", () => {
      clearTimeout(this.typing);
      this.typing = setTimeout(() => this.refresh(), TYPING_PAUSE);
    });
  }

  /** Returns one of the node's widgets. */
  input(name) {
    return this.node.widgets.find((widget) => widget.name === name);
  }

  /** Name of the profile: the current value, or that of the last run if a node provides it that is no primitive. */
  get profile() {
    return textOf(this.node, "profile") ?? this.batch?.profile ?? String(this.input("profile").value);
  }

  /** Names that this workflow loads, if it loads none of this profile; [] also where that is unknown. */
  get otherUsers() {
    const names = activeNodes()
      .filter((node) => isOurs(node, "LoadUserHistory"))
      .map((node) => textOf(node, "user")?.trim());
    return names.includes(undefined) || names.includes(this.profile.trim()) ? [] : [...new Set(names)];
  }

  /**
   * Shows the output of a run.
   *
   * @param output the node's output
   * @param fresh whether it ran just now, so that its ratings are current
   */
  show(output, fresh = false) {
    const batch = batchOf(output);
    if (!batch) return;
    const before = this.batch;
    this.batch = batch;
    if (before?.images.map(({ digest }) => digest).join() !== output.digests.join()) {
      this.marks.clear();
      this.view.setImages(batch.images, batch.prompt);
      this.loadPictures();
    } else if (fresh) {
      this.loadPictures(this.view.gone()); // deleted images that were generated again
    }
    if (!before && fresh) this.grow();
    if (!fresh || !batch.ratings || batch.profile !== this.profile) return this.refresh();
    const rated = batch.images.map(({ digest }, index) => [digest, batch.ratings[index]]);
    this.marks = new Map(rated.filter(([, liked]) => liked !== null));
    this.counts = { liked: batch.liked, disliked: batch.disliked };
    if (!this.failed) this.showMessage("");
    this.render();
  }

  /** Follows a change of the workflow: another node may name another profile now, or load another user. */
  graphChanged() {
    if (this.shownProfile === this.profile) return this.render();
    clearTimeout(this.typing);
    this.typing = setTimeout(() => this.refresh(), TYPING_PAUSE);
  }

  /** Loads the ratings from the server, after pending clicks. */
  refresh() {
    return this.inTurn(() => this.read());
  }

  async read() {
    const { batch, profile } = this;
    try {
      const digests = [...new Set(batch?.images.map((image) => image.digest) ?? [])];
      const saved = await profiles.ratingsOf(profile, digests);
      if (batch !== this.batch || profile !== this.profile) return;
      this.marks = new Map(saved.ratings.map((rating) => [rating.image, rating.liked]));
      this.counts = { liked: saved.liked, disliked: saved.disliked };
      if (!this.failed) this.showMessage("");
    } catch (error) {
      this.showMessage(error.message);
    }
  }

  loadPictures(only = null) {
    for (const image of this.batch.images.filter(({ digest }) => !only || only.has(digest))) {
      profiles
        .imageBlob(this.profile, image)
        .catch(() => null)
        .then((blob) => this.view.setPicture(image.digest, blob)); // has no effect if another batch is shown by now
    }
  }

  /** Handles a click. A second click on the same thumb removes the rating. */
  rate({ digest }, liked) {
    const click = { profile: this.profile, image: digest, liked, prompt: this.batch.prompt };
    const before = this.unsaved.get(digest) ?? { liked: this.marks.get(digest) };
    if (before.liked === liked) click.liked = null;
    this.unsaved.set(digest, click);
    storage.keep(click);
    this.render();
    return this.inTurn(() => this.save(digest));
  }

  /** Sends a click, and keeps it until the server has saved it. */
  async save(digest) {
    const click = this.unsaved.get(digest);
    if (!click) return;
    let removed;
    try {
      removed = await profiles.saveClick(click);
    } catch (error) {
      this.showMessage(`${texts().notSaved(this.unsaved.size)} ${error.message}`, true);
      return;
    }
    if (this.unsaved.get(digest) === click) this.forget(digest);
    if (removed && !this.failed) this.showMessage(texts().tookBack(removed.liked, removed.prompt));
  }

  /** Removes a click that is saved, or no longer wanted. */
  forget(digest) {
    storage.drop(this.unsaved.get(digest));
    this.unsaved.delete(digest);
    if (!this.unsaved.size) this.showMessage("");
  }

  retry() {
    this.showMessage("");
    for (const digest of this.unsaved.keys()) this.inTurn(() => this.save(digest));
  }

  /** Undoes the last click: an unsaved one, or else the profile's last rating. */
  undo() {
    const waiting = [...this.unsaved.keys()].pop();
    if (waiting === undefined || !this.failed) return this.takeBack();
    this.forget(waiting);
    this.render();
  }

  takeBack() {
    const { profile } = this;
    return this.inTurn(async () => {
      try {
        const { undone } = await profiles.undo(profile);
        this.showMessage(texts().tookBack(undone.liked, undone.prompt));
      } catch (error) {
        // Without a response, it is unknown whether the rating was undone.
        await this.read();
        this.showMessage(error.message);
      }
    });
  }

  /** Sends requests one after the other, so that ratings keep the order of the clicks. */
  inTurn(action) {
    this.queue = this.queue.then(action).then(() => this.render());
    return this.queue;
  }

  /** Handles a rating that was made here or in another node. */
  changed({ profile, image, rating, liked, disliked }) {
    if (profile !== this.profile) return;
    if (!image) return void this.refresh(); // the whole profile changed
    if (rating) this.marks.set(image, rating.liked);
    else this.marks.delete(image);
    this.counts = { liked, disliked };
    this.render();
  }

  showMessage(message, failed = false) {
    this.message = message;
    this.failed = failed;
  }

  render() {
    const { profile, counts, message, failed } = this;
    this.shownProfile = profile;
    const clicks = [...this.unsaved.values()].filter((click) => click.profile === profile);
    const marks = new Map([...this.marks, ...clicks.map(({ image, liked }) => [image, liked])]);
    const unsaved = new Set(clicks.map(({ image }) => image));
    const notice = this.otherUsers.length ? texts().otherUser(this.otherUsers.join(", "), profile) : "";
    const shown = this.view.render({ profile, marks, unsaved, counts, message, failed, notice });
    if (shown) requestAnimationFrame(() => fit(this.node)); // a notice needs room
  }

  /** Enlarges the node for its first images. */
  grow() {
    fit(this.node, FIRST_SIZE);
  }

  remove() {
    clearTimeout(this.typing);
    profiles.changes.removeEventListener("change", this.onChange);
    profiles.changes.removeEventListener("stale", this.onStale);
    this.view.remove();
    this.onRemoved?.();
  }
}

/** Calls a function after a callback of an object. */
function after(object, name, then) {
  const callback = object[name];
  object[name] = function (...parameters) {
    const result = callback?.apply(this, parameters);
    then(...parameters);
    return result;
  };
}
