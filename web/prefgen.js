/** The pack's door in the browser: Record Preference gets its rating widget, and the sidebar a tab that shows a profile.
 * No other node is touched. */

import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { lastOutputs, outputOf } from "./rating/batch.js";
import { rate } from "./rating/profiles.js";
import { drop, unsaved } from "./rating/unsaved.js";
import { RatingWidget } from "./rating/widget.js";
import { noteOutput, profileTab } from "./profile/tab.js";

const NODE = "RecordPreference";
const CATEGORY = "PrefGen";

/** The widgets of all Record Preference nodes that are in a graph now. */
const widgets = new Set();

app.registerExtension({
  name: "prefgen.RecordPreference",

  /** The tab; and clicks that were on their way when the page was left. */
  async setup() {
    app.extensionManager.registerSidebarTab(profileTab());
    api.addEventListener("executed", ({ detail }) => noteOutput(detail?.output));
    for (const click of unsaved()) {
      try {
        await rate(click.profile, click.image, click.liked, click.prompt);
        drop(click);
      } catch (error) {
        if (error.status >= 400 && error.status < 500) drop(click); // for good: the image is gone, say
        console.warn(`PrefGen: a rating for ${click.profile} is not saved: ${error.message}`);
      }
    }
  },

  nodeCreated(node) {
    // The category too, since another pack may call a node by the same name.
    if (node.constructor.comfyClass !== NODE || node.constructor.nodeData?.category !== CATEGORY) return;
    const widget = new RatingWidget(node);
    widgets.add(widget);
    widget.onRemoved = () => widgets.delete(widget);
  },

  /** A workflow was opened, or the page was loaded again: show what its last run showed. */
  afterConfigureGraph() {
    const workflow = (app.rootGraph ?? app.graph)?.id;
    const empty = () => [...widgets].filter((widget) => !widget.batch);
    if (!empty().length) return;
    // Not awaited: the graph need not wait for it.
    lastOutputs(workflow)
      .then((outputs) => empty().forEach((widget) => showIn(widget, outputs)))
      .catch((error) => console.warn("PrefGen: the last run could not be asked for:", error))
      .then(() => empty().forEach((widget) => widget.refresh()));
  },

  /** Another tab's workflow came to the front, or a job of the queue was opened. */
  onNodeOutputsUpdated(outputs) {
    widgets.forEach((widget) => showIn(widget, outputs));
  },
});

function showIn(widget, outputs) {
  const output = outputOf(outputs, widget.node);
  if (output) widget.show(output);
}
