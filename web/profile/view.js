/** The elements of the sidebar tab. Independent of ComfyUI and the routes. */

import { THUMB, addStyle, button, iconButton, element } from "../elements.js";
import { texts } from "./texts.js";

const BIN = "M4 6.5h16M9.5 6V4h5v2M6 6.5l1 13.5h10l1-13.5M10 10v6.5M14 10v6.5";

addStyle(new URL("./profile.css", import.meta.url));

export class ProfileView {
  /** @param actions handlers of the buttons, and `picture(digest)`, which loads an image as a blob */
  constructor(actions) {
    this.actions = actions;
    this.cards = new Map(); // digest -> card, kept while its image is shown
    const label = texts();
    this.choice = element("select", "prefgen-choice", { ariaLabel: label.profile });
    this.choice.addEventListener("change", () => actions.choose(this.choice.value));
    this.balance = element("div", "prefgen-balance");
    this.none = element("p", "prefgen-note", { textContent: label.none });
    this.message = element("p", "prefgen-note", { role: "status" });
    this.walls = new Map([true, false].map((liked) => [liked, this.wall(liked)]));
    this.shown = element("img", "prefgen-shown", { alt: label.shown });
    this.hint = element("p", "prefgen-note prefgen-hint", { textContent: label.hint });
    this.file = element("input", "", { type: "file", accept: ".zip,application/zip", hidden: true });
    this.file.addEventListener("change", () => {
      if (this.file.files[0]) actions.import(this.file.files[0]);
      this.file.value = "";
    });
    this.buttons = [
      button("prefgen-undo", label.undo, () => actions.undo()),
      button("prefgen-export", label.export, () => actions.export()),
      button("prefgen-import", label.import, () => this.file.click()),
      button("prefgen-forget-all", label.forgetAll, () => actions.forgetAll()),
    ];
    const tools = element("div", "prefgen-tools");
    tools.append(...this.buttons, this.file);
    const body = element("div", "prefgen-body");
    const walls = [...this.walls.values()].map(({ section }) => section);
    body.append(this.none, ...walls, this.hint, this.shown);
    this.element = element("section", "prefgen-profile", { ariaLabel: label.tab });
    this.element.append(this.choice, this.balance, this.message, body, tools);
  }

  wall(liked) {
    const section = element("section", `prefgen-wall prefgen-${liked ? "likes" : "dislikes"}`);
    const title = element("h3", "prefgen-title");
    const grid = element("div", "prefgen-pictures");
    const empty = element("p", "prefgen-note", { textContent: texts().nothing[liked] });
    const more = button("prefgen-more", texts().more, () => this.actions.more(liked));
    section.append(title, grid, empty, more);
    return { section, title, grid, empty, more };
  }

  /**
   * Shows a state: {names, name: the current profile, counts: {liked, disliked}, sides: Map liked -> ratings, newest
   * first, picture: a URL or null}
   */
  render({ names, name, counts, sides, picture }) {
    this.choice.replaceChildren(...names.map((each) => new Option(each, each, false, each === name)));
    this.choice.hidden = this.none.hidden = false;
    this.choice.hidden = !names.length;
    this.none.hidden = Boolean(names.length);
    this.balance.hidden = !(counts.liked + counts.disliked);
    this.balance.style.setProperty("--prefgen-share", counts.liked / (counts.liked + counts.disliked || 1));
    this.message.textContent = "";
    for (const [liked, side] of sides) this.renderWall(liked, side, liked ? counts.liked : counts.disliked, name);
    const wanted = new Set([...sides.values()].flat().map(({ image }) => `${name}/${image}`));
    for (const [key, card] of this.cards) if (!wanted.has(key)) this.drop(key, card);
    this.shown.hidden = !picture;
    this.hint.hidden = Boolean(picture) || !names.length;
    if (picture && this.shown.src !== picture) this.shown.src = picture;
    const [undo, export_, , forgetAll] = this.buttons;
    undo.disabled = export_.disabled = !(counts.liked + counts.disliked);
    forgetAll.disabled = !name;
  }

  renderWall(liked, side, count, name) {
    const { section, title, grid, empty, more } = this.walls.get(liked);
    section.hidden = !name;
    title.textContent = liked ? texts().liked(count) : texts().disliked(count);
    empty.hidden = count > 0;
    more.hidden = side.length >= count;
    const cards = side.map((rating) => this.card(rating, `${name}/${rating.image}`).element);
    // Cards that are in place already are not moved, so that a button keeps the focus.
    cards.forEach((card, index) => grid.children[index] !== card && grid.insertBefore(card, grid.children[index] ?? null));
    while (grid.children.length > cards.length) grid.lastChild.remove();
  }

  card(rating, key) {
    const card = this.cards.get(key) ?? new Card(rating, this.actions);
    this.cards.set(key, card);
    card.show(rating);
    return card;
  }

  drop(key, card) {
    card.remove();
    this.cards.delete(key);
  }

  showMessage(message) {
    this.message.textContent = message;
  }

  remove() {
    this.cards.forEach((card) => card.remove());
    this.cards.clear();
    this.element.remove();
  }
}

/** One rated image with its buttons. */
class Card {
  constructor(rating, actions) {
    this.rating = rating;
    this.picture = element("img", "", { draggable: false });
    this.turn = iconButton("prefgen-icon prefgen-turn", THUMB, () => actions.turn(this.rating));
    const forget = iconButton("prefgen-icon prefgen-forget", BIN, () => actions.forget(this.rating));
    label(forget, texts().forget);
    this.element = element("figure", "prefgen-rated");
    this.element.dataset.digest = rating.image;
    const buttons = element("div", "prefgen-over");
    buttons.append(this.turn, forget);
    this.element.append(this.picture, buttons);
    actions
      .picture(rating.image)
      .catch(() => null)
      .then((blob) => {
        if (!blob || this.removed) return;
        this.url = URL.createObjectURL(blob);
        this.picture.src = this.url;
      });
  }

  show(rating) {
    this.rating = rating;
    this.element.dataset.liked = rating.liked;
    this.picture.alt = texts().image(rating.liked, rating.prompt);
    this.element.title = rating.prompt;
    label(this.turn, texts().turn(rating.liked));
  }

  remove() {
    this.removed = true;
    if (this.url) URL.revokeObjectURL(this.url);
    this.element.remove();
  }
}

function label(button, text) {
  button.setAttribute("aria-label", text);
  button.title = text;
}
