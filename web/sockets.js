/** Gives the pack's socket types their colors, which slots and links have in both renderers. */

import { app } from "../../scripts/app.js";

const COLORS = {
  PREFGEN_MODEL: "#e5489b",
  PREFGEN_HISTORY: "#c98a5b",
  PREFGEN_EMBEDDING: "#a8d437",
};

/** Call it once, when the canvas exists. */
export function colorSockets() {
  const { style } = document.documentElement;
  for (const [type, color] of Object.entries(COLORS)) {
    style.setProperty(`--color-datatype-${type}`, color); // Nodes 2.0
    // Classic nodes, and all links.
    keepColor(app.canvas.default_connection_color_byType, type, color);
    keepColor(app.canvas.constructor.link_type_colors, type, color);
  }
}

/** A color palette that is loaded later sets the colors of all types: to "" where it has none. Only then ours stays. */
function keepColor(colors, type, initial) {
  let color = initial;
  Object.defineProperty(colors, type, {
    get: () => color,
    set: (value) => (color = value || initial),
    enumerable: true,
    configurable: true,
  });
}
