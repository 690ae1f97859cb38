/** Reads the output of a Record Preference node: its images, their profile and their prompt. */

import { api } from "../../../scripts/api.js";

/** Number of a workflow's last jobs in which to look for images. */
const JOBS = 8;

/**
 * Converts a node's output to a batch; null if it has no images.
 *
 * `ratings` (true, false or null by index) is null where it is unreliable: the list of jobs leaves out null values.
 */
export function batchOf(output) {
  const digests = output?.digests;
  if (!Array.isArray(digests) || !digests.length) return null;
  const complete = output.ratings?.length === digests.length;
  return {
    profile: output.profile?.[0] ?? "",
    prompt: output.prompt?.[0] ?? "",
    images: digests.map((digest, index) => ({ digest, file: output.images?.[index] })),
    ratings: complete ? output.ratings : null,
    liked: output.liked?.[0] ?? 0,
    disliked: output.disliked?.[0] ?? 0,
  };
}

/** Finds a node's output by its id, and inside a subgraph by the ids of the path to it. */
export function outputOf(outputs, node) {
  if (!outputs) return undefined;
  const inside = node.graph && node.graph.isRootGraph === false;
  if (!inside) return outputs[node.id];
  const path = Object.keys(outputs).find((key) => key.endsWith(`:${node.id}`) && outputs[key]?.digests);
  return outputs[`${node.graph.id}:${node.id}`] ?? outputs[path];
}

/** Returns the outputs of a workflow's last job with images to rate; null if ComfyUI remembers none. */
export async function lastOutputs(workflow) {
  if (!workflow) return null;
  const { jobs } = await fetchJson(`/jobs?workflow_id=${encodeURIComponent(workflow)}&limit=${JOBS}`);
  for (const { id, outputs_count: count } of jobs ?? []) {
    if (!count) continue;
    const job = await fetchJson(`/jobs/${encodeURIComponent(id)}`);
    // With --multi-user, ComfyUI lists the jobs of all users. Only those of this page are shown.
    if (api.user && job.workflow?.extra_data?.client_id !== api.clientId) continue;
    if (Object.values(job.outputs ?? {}).some((output) => output?.digests)) return job.outputs;
  }
  return null;
}

async function fetchJson(route) {
  const response = await api.fetchApi(route);
  if (!response.ok) throw new Error(`${route}: ${response.status}`);
  return response.json();
}
