/** Clicks that the server has not acknowledged, kept in the tab: a page that is loaded again sends them. */

const KEY = "prefgen.unsaved";

/** All of them, oldest first: [{profile, image, liked, prompt}]. */
export function unsaved() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY)) ?? [];
  } catch {
    return []; // no storage, or not ours
  }
}

/** Keep one; it takes the place of an older one for the same image. */
export function keep(click) {
  write([...others(click), click]);
}

/** It is saved, or not wanted any more. */
export function drop(click) {
  write(others(click));
}

function others({ profile, image }) {
  return unsaved().filter((other) => other.profile !== profile || other.image !== image);
}

function write(clicks) {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(clicks));
  } catch {
    // A tab without storage still has them in its widgets.
  }
}
