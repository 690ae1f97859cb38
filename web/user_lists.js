/** Keeps the lists of users complete. The frontend marks a value that is missing in its list as an error, although a
 * profile may begin with the next click on a thumb. */

import { isOurs } from "./graph.js";
import { changes } from "./rating/profiles.js";

const NODES = ["LoadUserHistory", "ShowUserProfile"];

/** Names of the profiles that were rated since the page was loaded. */
const rated = new Set();
changes.addEventListener("change", ({ detail }) => detail.rating && rated.add(detail.profile));

/** Adds newly rated profiles and the current value to the list of a node that chooses a user. */
export function completeUserList(node) {
  if (!NODES.some((name) => isOurs(node, name))) return;
  const widget = node.widgets?.find(({ name }) => name === "user");
  const listed = widget?.options.values;
  if (!Array.isArray(listed)) return; // it is complete already, or a future frontend keeps it elsewhere
  widget.options.values = () => [...new Set([...listed, ...rated, widget.value])].filter(Boolean);
}
