/** What a run of Record Preference showed: its images by digest, for whom, and what they were made for. */

import { api } from "../../../scripts/api.js";

/** How many of a workflow's last jobs are looked through for images. */
const JOBS = 8;

/**
 * A node's output, as ComfyUI tells it, as a batch; null if it showed no images.
 *
 * `ratings` (true, false or null by place) is null where it cannot be trusted: the list of jobs leaves out null values.
 */
export function batchOf(output) {
  const digests = output?.digests;
  if (!Array.isArray(digests) || !digests.length) return null;
  const fresh = output.ratings?.length === digests.length;
  return {
    profile: output.profile?.[0] ?? "",
    prompt: output.prompt?.[0] ?? "",
    images: digests.map((digest, place) => ({ digest, file: output.images?.[place] })),
    ratings: fresh ? output.ratings : null,
    liked: output.liked?.[0] ?? 0,
    disliked: output.disliked?.[0] ?? 0,
  };
}

/** The output of one node among outputs by node: by id, inside a subgraph by the ids on the way to it. */
export function outputOf(outputs, node) {
  if (!outputs) return undefined;
  const inside = node.graph && node.graph.isRootGraph === false;
  if (!inside) return outputs[node.id];
  const path = Object.keys(outputs).find((key) => key.endsWith(`:${node.id}`) && outputs[key]?.digests);
  return outputs[`${node.graph.id}:${node.id}`] ?? outputs[path];
}

/** The outputs by node of the last job of a workflow that showed images to rate; null if ComfyUI remembers none. */
export async function lastOutputs(workflow) {
  if (!workflow) return null;
  const { jobs } = await ask(`/jobs?workflow_id=${encodeURIComponent(workflow)}&limit=${JOBS}`);
  for (const { id, outputs_count: count } of jobs ?? []) {
    if (!count) continue;
    const job = await ask(`/jobs/${encodeURIComponent(id)}`);
    // Where ComfyUI keeps users apart, its jobs are still everybody's: only this page's own are shown.
    if (api.user && job.workflow?.extra_data?.client_id !== api.clientId) continue;
    if (Object.values(job.outputs ?? {}).some((output) => output?.digests)) return job.outputs;
  }
  return null;
}

async function ask(route) {
  const answer = await api.fetchApi(route);
  if (!answer.ok) throw new Error(`${route}: ${answer.status}`);
  return answer.json();
}
