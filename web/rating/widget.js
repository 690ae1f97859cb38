/** The widget of one Record Preference node: the batch it shows, what is rated of it, and what is still to be saved. */

import { batchOf } from "./batch.js";
import * as profiles from "./profiles.js";
import { texts } from "./texts.js";
import * as kept from "./unsaved.js";
import { RatingView } from "./view.js";

const NAME = "ratings";
const TYPE = "PREFGEN_RATINGS";
const NO_IMAGES_HEIGHT = 90;
const IMAGES_HEIGHT = 260;
const FIRST_SIZE = [360, 560];
const TYPING = 400; // milliseconds without a key after which a profile's name is taken as written

export class RatingWidget {
  constructor(node) {
    this.node = node;
    this.batch = null;
    this.marks = new Map(); // digest -> liked, as the server has it
    this.unsaved = new Map(); // digest -> {profile, image, liked, prompt}, clicked and not yet acknowledged
    this.counts = null; // {liked, disliked}: how many the profile has, once that is known
    this.message = "";
    this.failed = false;
    this.turn = Promise.resolve();
    this.view = new RatingView({
      rate: (image, liked) => this.rate(image, liked),
      undo: () => this.undo(),
      retry: () => this.retry(),
    });
    this.onChange = ({ detail }) => this.changed(detail);
    profiles.changes.addEventListener("change", this.onChange);
    this.attach();
    this.render();
  }

  /** Put the widget behind the node's own, and listen to this node; nothing of it is saved in workflows or queued. */
  attach() {
    const { node } = this;
    const getMinHeight = () => (this.batch ? IMAGES_HEIGHT : NO_IMAGES_HEIGHT);
    const options = { serialize: false, hideOnZoom: false, getMinHeight };
    const widget = node.addDOMWidget(NAME, TYPE, this.view.element, options);
    widget.serialize = false;
    // The images are shown here: not once more by the node itself, as Vue nodes and as the canvas would.
    node.hideOutputImages = true;
    node.onDrawBackground = () => {};
    after(node, "onExecuted", (output) => this.show(output, true));
    after(node, "onRemoved", () => this.remove());
    after(this.input("profile"), "callback", () => {
      clearTimeout(this.typing);
      this.typing = setTimeout(() => this.refresh(), TYPING);
    });
  }

  /** One of the node's own widgets. */
  input(name) {
    return this.node.widgets.find((widget) => widget.name === name);
  }

  /** Whose ratings: as the node says now; where another node says it, as it was at the last run. */
  get profile() {
    const linked = this.node.inputs?.find((input) => input.widget?.name === "profile")?.link != null;
    return (linked && this.batch?.profile) || String(this.input("profile").value);
  }

  /**
   * Show what a run showed.
   *
   * @param output the node's, as ComfyUI tells it
   * @param fresh it ran just now, so that what it says of ratings still holds
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
      this.loadPictures(this.view.gone()); // forgotten, and shown once more
    }
    if (!before && fresh) this.grow();
    if (!fresh || !batch.ratings || batch.profile !== this.profile) return this.refresh();
    const rated = batch.images.map(({ digest }, place) => [digest, batch.ratings[place]]);
    this.marks = new Map(rated.filter(([, liked]) => liked !== null));
    this.counts = { liked: batch.liked, disliked: batch.disliked };
    if (!this.failed) this.say("");
    this.render();
  }

  /** Ask the server what is rated, after the clicks that are on their way. */
  refresh() {
    return this.inTurn(() => this.read());
  }

  async read() {
    const { batch, profile } = this;
    try {
      const digests = [...new Set(batch?.images.map((image) => image.digest) ?? [])];
      const told = await profiles.ratingsOf(profile, digests);
      if (batch !== this.batch || profile !== this.profile) return;
      this.marks = new Map(told.ratings.map((rating) => [rating.image, rating.liked]));
      this.counts = { liked: told.liked, disliked: told.disliked };
      if (!this.failed) this.say("");
    } catch (error) {
      this.say(error.message);
    }
  }

  loadPictures(only = null) {
    for (const image of this.batch.images.filter(({ digest }) => !only || only.has(digest))) {
      profiles
        .imageBlob(this.profile, image)
        .catch(() => null)
        .then((blob) => this.view.setPicture(image.digest, blob)); // no card, where another batch came meanwhile
    }
  }

  /** A click. The same again takes it back. */
  rate({ digest }, liked) {
    if (!this.unsaved.has(digest) && this.marks.get(digest) === liked) return this.takeBack(digest);
    const click = { profile: this.profile, image: digest, liked, prompt: this.batch.prompt };
    this.unsaved.set(digest, click);
    kept.keep(click);
    this.render();
    return this.inTurn(() => this.save(digest));
  }

  /** Send what was clicked; it is kept until the server has it on its disk. */
  async save(digest) {
    const clicked = this.unsaved.get(digest);
    if (!clicked) return;
    try {
      await profiles.rate(clicked.profile, digest, clicked.liked, clicked.prompt);
    } catch (error) {
      this.say(`${texts().notSaved(this.unsaved.size)} ${error.message}`, true);
      return;
    }
    if (this.unsaved.get(digest) === clicked) this.forget(digest);
  }

  /** A click is saved, or not wanted any more. */
  forget(digest) {
    kept.drop(this.unsaved.get(digest));
    this.unsaved.delete(digest);
    if (!this.unsaved.size) this.say("");
  }

  retry() {
    this.say("");
    for (const digest of this.unsaved.keys()) this.inTurn(() => this.save(digest));
  }

  /** Take back the last click: one that is not saved, else the profile's last rating. */
  undo() {
    const waiting = [...this.unsaved.keys()].pop();
    if (waiting === undefined || !this.failed) return this.takeBack();
    this.forget(waiting);
    this.render();
  }

  takeBack(digest) {
    const { profile } = this;
    return this.inTurn(async () => {
      try {
        const { undone } = await profiles.undo(profile, digest);
        this.say(texts().tookBack(undone.liked, undone.prompt));
      } catch (error) {
        // Whether it was undone is not known where no answer came.
        await this.read();
        this.say(error.message);
      }
    });
  }

  /** Requests go one after the other, so that ratings are in the order of the clicks. */
  inTurn(action) {
    this.turn = this.turn.then(action).then(() => this.render());
    return this.turn;
  }

  /** Something was rated, here or in another node. */
  changed({ profile, image, rating, liked, disliked }) {
    if (profile !== this.profile) return;
    if (!image) return void this.refresh(); // all of the profile
    if (rating) this.marks.set(image, rating.liked);
    else this.marks.delete(image);
    this.counts = { liked, disliked };
    this.render();
  }

  say(message, failed = false) {
    this.message = message;
    this.failed = failed;
  }

  render() {
    const { profile, counts, message, failed } = this;
    const clicks = [...this.unsaved.values()].filter((click) => click.profile === profile);
    const marks = new Map([...this.marks, ...clicks.map(({ image, liked }) => [image, liked])]);
    const unsaved = new Set(clicks.map(({ image }) => image));
    this.view.render({ profile, marks, unsaved, counts, message, failed });
  }

  /** Room for the first images, where the node has less. */
  grow() {
    const { node } = this;
    node.setSize(node.size.map((length, axis) => Math.max(length, FIRST_SIZE[axis])));
    node.setDirtyCanvas?.(true, true);
  }

  remove() {
    clearTimeout(this.typing);
    profiles.changes.removeEventListener("change", this.onChange);
    this.view.remove();
    this.onRemoved?.();
  }
}

/** Have one object's callback followed by another function. */
function after(object, name, then) {
  const before = object[name];
  object[name] = function (...given) {
    const result = before?.apply(this, given);
    then(...given);
    return result;
  };
}
