/** The elements of the rating widget. Independent of ComfyUI and the routes. */

import { THUMB, addStyle, button, iconButton, element } from "../elements.js";
import { bestColumns } from "./fit.js";
import { texts } from "./texts.js";

const GAP = 6;
const BUTTONS = 34;
const EMPTY = 48;

addStyle(new URL("./rating.css", import.meta.url));

export class RatingView {
  /** @param actions handlers of the buttons: {rate(image, liked), undo(), retry()} */
  constructor(actions) {
    this.actions = actions;
    this.cards = [];
    this.aspect = 1;
    this.grid = element("div", "prefgen-grid");
    this.empty = element("p", "prefgen-empty", { textContent: texts().empty });
    this.message = element("span", "prefgen-message", { role: "status" });
    this.retry = button("prefgen-retry", texts().retry, () => actions.retry());
    this.notice = element("p", "prefgen-notice", { role: "status", hidden: true });
    this.counts = element("span", "prefgen-counts");
    this.undo = button("prefgen-undo", texts().undo, () => actions.undo());
    this.undo.title = texts().undoTip;
    const status = element("div", "prefgen-status");
    status.append(this.message, this.retry);
    const footer = element("div", "prefgen-footer");
    footer.append(this.counts, this.undo);
    this.element = element("section", "prefgen-rating");
    this.element.append(this.notice, this.empty, this.grid, status, footer);
    this.resizing = new ResizeObserver(() => this.arrange());
    this.resizing.observe(this.grid);
    this.setImages([], "");
  }

  /** Replaces the images, whose pictures and marks follow. images: [{digest}]. */
  setImages(images, prompt) {
    this.cards.forEach((card) => card.forget());
    this.cards = images.map((image, index) => new Card(image, index, images.length, prompt, this.actions));
    this.grid.replaceChildren(...this.cards.map((card) => card.element));
    this.element.classList.toggle("prefgen-has-images", images.length > 0);
    this.arrange();
  }

  /** Returns the digests of images without a picture. */
  gone() {
    return new Set(this.cards.filter((card) => !card.url).map((card) => card.image.digest));
  }

  /** Shows a picture on every card of an image; null for a deleted one. */
  setPicture(digest, blob) {
    for (const card of this.cards.filter((card) => card.image.digest === digest)) {
      card.setPicture(blob, (aspect) => {
        this.aspect = aspect;
        this.arrange();
      });
    }
  }

  /**
   * Shows a state: {profile, marks: Map digest -> liked, where null and none are the same, unsaved: Set of digests,
   * counts: {liked, disliked} or null, message, failed: whether a request can be retried, notice: a warning or ""}
   *
   * Returns whether a notice has appeared.
   */
  render({ profile, marks, unsaved, counts, message, failed, notice }) {
    const { liked, disliked } = counts ?? { liked: 0, disliked: 0 };
    this.element.setAttribute("aria-label", texts().title(profile));
    this.cards.forEach((card) => card.mark(marks.get(card.image.digest), unsaved.has(card.image.digest)));
    this.counts.textContent = counts ? texts().counts(profile, liked, disliked) : profile;
    const advice = (liked && !disliked && texts().needsDislike) || (disliked && !liked && texts().needsLike) || "";
    this.message.textContent = message || advice;
    const changed = this.notice.textContent !== notice;
    if (changed) this.notice.textContent = notice;
    this.notice.hidden = !notice;
    this.element.classList.toggle("prefgen-failed", failed);
    this.retry.hidden = !failed;
    this.undo.disabled = !(liked + disliked + unsaved.size);
    return changed && Boolean(notice);
  }

  /** Height in pixels below which something is cut off, but not images: they get what is left, at least `forImages`. */
  minHeight(forImages) {
    const parts = [...this.element.children].filter((part) => part !== this.grid && part.offsetHeight);
    const heights = parts.map((part) => (part === this.empty ? EMPTY : part.scrollHeight) + GAP);
    return heights.reduce((sum, height) => sum + height, this.cards.length ? forImages : 0);
  }

  /** Sets the number of columns. */
  arrange() {
    const { clientWidth: width, clientHeight: height } = this.grid;
    if (!this.cards.length || !width || !height) return;
    const columns = bestColumns(this.cards.length, width, height, this.aspect, BUTTONS, GAP);
    this.grid.style.setProperty("--prefgen-columns", columns);
  }

  /** Removes the elements, and releases the pictures. */
  remove() {
    this.resizing.disconnect();
    this.cards.forEach((card) => card.forget());
    this.element.remove();
  }
}

/** One image with its two buttons. */
class Card {
  constructor(image, index, count, prompt, actions) {
    this.image = image;
    this.picture = element("img", "prefgen-picture", { alt: texts().image(index + 1, count, prompt), draggable: false });
    this.gone = element("span", "prefgen-gone", { textContent: texts().gone, hidden: true });
    this.like = thumb("prefgen-like", texts().like(index + 1, count), () => actions.rate(image, true));
    this.dislike = thumb("prefgen-dislike", texts().dislike(index + 1, count), () => actions.rate(image, false));
    const frame = element("div", "prefgen-frame");
    frame.append(this.picture, this.gone);
    const buttons = element("div", "prefgen-buttons");
    buttons.append(this.like, this.dislike);
    this.element = element("figure", "prefgen-card");
    this.element.dataset.digest = image.digest;
    this.element.append(frame, buttons);
  }

  mark(liked, unsaved) {
    this.element.dataset.mark = liked == null ? "none" : liked ? "liked" : "disliked";
    this.element.classList.toggle("prefgen-unsaved", unsaved);
    this.like.setAttribute("aria-pressed", liked === true);
    this.dislike.setAttribute("aria-pressed", liked === false);
  }

  setPicture(blob, onAspect) {
    this.forget();
    this.gone.hidden = Boolean(blob);
    this.picture.hidden = !blob;
    if (!blob) return;
    this.url = URL.createObjectURL(blob);
    this.picture.onload = () => onAspect(this.picture.naturalWidth / this.picture.naturalHeight);
    this.picture.src = this.url;
  }

  forget() {
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = undefined;
  }
}

function thumb(className, label, onClick) {
  const made = iconButton(`prefgen-thumb ${className}`, THUMB, onClick);
  made.setAttribute("aria-label", label);
  made.title = label;
  return made;
}
