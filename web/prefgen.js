/** Entry point of the frontend extension: the rating widget of Record Preference, the tab in the sidebar that shows a
 * profile, the lists of users, error texts in our nodes, and the colors of our sockets. Other nodes stay unchanged. */

import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { showErrors } from "./errors.js";
import { allNodes, isOurs } from "./graph.js";
import { lastOutputs, outputOf } from "./rating/batch.js";
import { saveClick } from "./rating/profiles.js";
import { drop, unsaved } from "./rating/unsaved.js";
import { RatingWidget } from "./rating/widget.js";
import { noteOutput, profileTab } from "./profile/tab.js";
import { colorSockets } from "./sockets.js";
import { completeUserList } from "./user_lists.js";

const NODE = "RecordPreference";

/** The widgets of all Record Preference nodes in the current graph. */
const widgets = new Set();

app.registerExtension({
  name: "prefgen.RecordPreference",

  /** Colors the sockets, adds the tab, and sends ratings that were not saved when the page was left. */
  async setup() {
    colorSockets();
    showErrors();
    app.extensionManager.registerSidebarTab(profileTab());
    api.addEventListener("executed", ({ detail }) => noteOutput(detail?.output));
    api.addEventListener("graphChanged", () => widgets.forEach((widget) => widget.graphChanged()));
    for (const click of unsaved()) {
      try {
        await saveClick(click);
        drop(click);
      } catch (error) {
        if (error.status >= 400 && error.status < 500) drop(click); // cannot succeed later, such as for a deleted image
        console.warn(`PrefGen: a rating for ${click.profile} was not saved: ${error.message}`);
      }
    }
  },

  nodeCreated(node) {
    completeUserList(node);
    if (!isOurs(node, NODE)) return;
    const widget = new RatingWidget(node);
    widgets.add(widget);
    widget.onRemoved = () => widgets.delete(widget);
  },

  /** Completes the lists again after the key R has refreshed them. */
  refreshComboInNodes() {
    allNodes().forEach(completeUserList);
  },

  /** Shows the images of the last run after a workflow was opened, or the page was reloaded. */
  afterConfigureGraph() {
    const workflow = (app.rootGraph ?? app.graph)?.id;
    const empty = () => [...widgets].filter((widget) => !widget.batch);
    if (!empty().length) return;
    // Not awaited, so that the graph opens without delay.
    lastOutputs(workflow)
      .then((outputs) => empty().forEach((widget) => showIn(widget, outputs)))
      .catch((error) => console.warn("PrefGen: the last run could not be loaded:", error))
      .then(() => empty().forEach((widget) => widget.refresh()));
  },

  /** Shows the images of another workflow tab, or of a job of the queue that was opened. */
  onNodeOutputsUpdated(outputs) {
    widgets.forEach((widget) => showIn(widget, outputs));
  },
});

function showIn(widget, outputs) {
  const output = outputOf(outputs, widget.node);
  if (output) widget.show(output);
}
