/** Finds nodes in the open workflow, also inside subgraphs, and the values of their inputs. */

import { app } from "../../scripts/app.js";

const CATEGORY = "PrefGen";
/** Core nodes, and the frontend's own, that pass their first widget's value on. */
const PRIMITIVES = ["PrimitiveString", "PrimitiveStringMultiline", "PrimitiveNode"];
const [NEVER, BYPASS] = [2, 4]; // modes of nodes that do not run

/** Returns whether a node is of this pack. Another pack may have a node of the same name, so the category counts. */
export function isOurs(node, name = null) {
  const { comfyClass, nodeData } = node?.constructor ?? {};
  return nodeData?.category === CATEGORY && (name === null || comfyClass === name);
}

/** Returns the node with an id as in a prompt: "5", or "3:5" for node 5 in the subgraph of node 3. */
export function nodeOf(id) {
  let graph = app.rootGraph ?? app.graph;
  let node = null;
  for (const part of String(id).split(":")) {
    node = graph?.getNodeById(part) ?? graph?.getNodeById(Number(part)) ?? null;
    graph = node?.subgraph;
  }
  return node;
}

/** Returns all nodes of the workflow, also those inside subgraphs. */
export function allNodes(graph = app.rootGraph ?? app.graph, wanted = () => true) {
  const nodes = (graph?.nodes ?? []).filter(wanted);
  return nodes.flatMap((node) => [node, ...(node.subgraph ? allNodes(node.subgraph, wanted) : [])]);
}

/** Returns all nodes that run: neither they nor a subgraph around them is muted or bypassed. */
export function activeNodes() {
  return allNodes(undefined, ({ mode }) => mode !== NEVER && mode !== BYPASS);
}

/**
 * Returns the text of an input: the value of its widget, or of the primitive that is linked to it; undefined where
 * another node provides it.
 */
export function textOf(node, name) {
  const link = node.inputs?.find((input) => input.widget?.name === name)?.link;
  if (link == null) return String(node.widgets?.find((widget) => widget.name === name)?.value ?? "");
  const source = node.graph?.getNodeById(linkOf(node.graph, link)?.origin_id);
  const isPrimitive = PRIMITIVES.includes(source?.constructor.comfyClass ?? source?.type);
  return isPrimitive ? String(source.widgets?.[0]?.value ?? "") : undefined;
}

/** Enlarges a node to what its widgets need, and to a minimum [width, height]. */
export function fit(node, minimum = [0, 0]) {
  const needed = [node.size[0], node.computeSize()[1]];
  node.setSize(node.size.map((length, axis) => Math.max(length, needed[axis], minimum[axis])));
  node.setDirtyCanvas?.(true, true);
}

function linkOf(graph, id) {
  return graph.getLink?.(id) ?? graph.links?.get?.(id) ?? graph.links?.[id];
}
