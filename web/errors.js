/** Shows in a node of the pack why a run was refused or failed. ComfyUI's own panel hides the sentence behind "rejected
 * the value" or "threw an error". */

import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { addStyle, element } from "./elements.js";
import { fit, isOurs, nodeOf } from "./graph.js";

const NAME = "error";
const TYPE = "PREFGEN_ERROR";
const LINE = 24;
const MARGIN = 20; // the frontend's, above and below together
const INTERVAL = 300; // milliseconds between two looks at the reasons of a refusal
/** Kinds of refusals whose details are a sentence of the pack. The frontend words the others well. */
const SENTENCES = ["custom_validation_failed", "exception_during_validation", "exception_during_inner_validation"];

addStyle(new URL("./errors.css", import.meta.url));

/** Node -> its error, while it shows one, and the node's heights before and with it. */
const shown = new Map();
let refused = null; // the frontend's refusals that are shown, by node

/** Starts to show errors. Call this once. */
export function showErrors() {
  api.addEventListener("promptQueueing", () => hideAll(false));
  api.addEventListener("execution_start", () => hideAll(false));
  api.addEventListener("execution_error", ({ detail }) => failed(detail));
  // The frontend tells extensions of no refusal, so this looks for one.
  setInterval(() => {
    const errors = app.extensionManager?.lastNodeErrors ?? app.lastNodeErrors ?? null;
    if (errors === refused) return;
    refused = errors;
    hideAll(true);
    for (const [id, { errors: reasons }] of Object.entries(errors ?? {})) show(nodeOf(id), sentence(reasons), true);
  }, INTERVAL);
}

/** Returns the sentences of a node's refusals: ComfyUI repeats one for each input, as "input - sentence". */
function sentence(reasons) {
  const ours = reasons.filter(({ type, details }) => SENTENCES.includes(type) && details);
  const texts = ours.map(({ details, extra_info: extra }) => {
    const prefix = `${extra?.input_name} - `;
    return details.startsWith(prefix) ? details.slice(prefix.length) : details;
  });
  return [...new Set(texts)].join("\n");
}

async function failed({ node_id: id, node_type: type, exception_message: message, prompt_id: prompt }) {
  const node = nodeOf(id);
  if (node?.constructor.comfyClass !== type || !(await isOpen(prompt))) return;
  show(node, message.trim());
}

/** Returns whether a prompt came from the workflow that is open, or may have. */
async function isOpen(prompt) {
  try {
    const response = await api.fetchApi(`/jobs/${encodeURIComponent(prompt)}`);
    const { workflow_id: workflow } = await response.json();
    return !workflow || workflow === (app.rootGraph ?? app.graph).id;
  } catch {
    return true; // an older ComfyUI
  }
}

function show(node, text, isRefusal = false) {
  if (!isOurs(node) || !text) return;
  hide(node);
  const alert = element("p", "prefgen-error", { role: "alert", textContent: text });
  const box = element("div", ""); // the frontend sets its height
  box.append(alert);
  const getMinHeight = () => Math.max(alert.offsetHeight, LINE) + MARGIN;
  const widget = node.addDOMWidget(NAME, TYPE, box, { serialize: false, hideOnZoom: false, getMinHeight });
  widget.serialize = false;
  const [, before] = node.size;
  const resizing = new ResizeObserver(() => {
    fit(node);
    shown.get(node).after = node.size[1];
  });
  resizing.observe(alert); // its height is known once it is drawn
  shown.set(node, { widget, resizing, isRefusal, before, after: before });
}

function hide(node) {
  if (!shown.has(node)) return;
  const { widget, resizing, before, after } = shown.get(node);
  resizing.disconnect();
  shown.delete(node);
  const index = node.widgets?.indexOf(widget) ?? -1;
  if (index < 0) return;
  widget.onRemove?.();
  node.widgets.splice(index, 1);
  if (node.size[1] === after) node.setSize([node.size[0], before]); // unless somebody changed it
  fit(node);
}

/** Removes the refusals, which stay as long as the frontend has them, or the failures of the last run. */
function hideAll(refusals) {
  for (const [node, { isRefusal }] of [...shown]) if (isRefusal === refusals) hide(node);
}
