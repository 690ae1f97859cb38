/** Keeps clicks that the server has not acknowledged in the browser tab, so that a reloaded page can send them. */

const KEY = "prefgen.unsaved";

/** Returns all unsaved clicks, oldest first: see `saveClick`. */
export function unsaved() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY)) ?? [];
  } catch {
    return []; // no storage, or invalid content
  }
}

/** Keeps a click. It replaces an older one for the same image. */
export function keep(click) {
  write([...others(click), click]);
}

/** Removes a click that is saved, or no longer wanted. */
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
    // Without storage, the widgets still hold the clicks.
  }
}
