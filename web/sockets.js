/** Gives the pack's socket types their colors, for slots and links in both renderers. */

import { app } from "../../scripts/app.js";
import { element } from "./elements.js";

const COLORS = {
  PREFGEN_MODEL: "#e5489b",
  PREFGEN_HISTORY: "#c98a5b",
  PREFGEN_EMBEDDING: "#a8d437",
};

/** Sets the colors. Call this once, after the canvas has been created. */
export function colorSockets() {
  // Slots of Nodes 2.0. They need a style sheet, because the frontend clears the root element's own style.
  const variables = Object.entries(COLORS).map(([type, color]) => `--color-datatype-${type}: ${color};`);
  document.head.append(element("style", "", { textContent: `:root { ${variables.join(" ")} }` }));
  // Slots of classic nodes, and links.
  for (const [type, color] of Object.entries(COLORS)) {
    keepColor(app.canvas.default_connection_color_byType, type, color);
    keepColor(app.canvas.constructor.link_type_colors, type, color);
  }
}

/** Keeps a color when a palette that is loaded later has no color for the type and would set it to "". */
function keepColor(colors, type, initial) {
  let color = initial;
  Object.defineProperty(colors, type, {
    get: () => color,
    set: (value) => (color = value || initial),
    enumerable: true,
    configurable: true,
  });
}
