"""Post mutated graphs to a real ComfyUI server, and count how they end.

    make python ARGS="-m benchmarks.hostile_graphs --prompts 2000 --seed 1"

Every graph is a shipped workflow with one to three mutations: wrong types, sizes and signs, NaN, paths, lone
surrogates, missing, extra, rewired and listed inputs. An outcome is clear if ComfyUI's own validation names the input,
or if one of our nodes raises one of our errors. A graph counts as hung if it has not ended 60 s after it was posted.
The server runs every base graph once at the start, so that the models are already loaded. A graph that ends unclearly
outside our code, hangs, or terminates the server is posted again with one of ComfyUI's nodes instead of ours. If core's
node ends in the same way, the graph is counted separately. The last line is one JSON object. Ctrl-C ends the run early
and reports what was posted so far.
"""

import argparse
import json
import random
import sys
import time
from collections import Counter
from contextlib import ExitStack, suppress

from tqdm import tqdm

from benchmarks.report import write_report
from scripts.compare_revisions.renames import PACK_MODULE
from scripts.compare_revisions.stand_ins import write_stand_ins
from tests.comfyui import Client, running_server
from tests.comfyui.server import PACK

from .base_graphs import Graph, load_base_graphs
from .control import control_graph, stock_graph
from .mutations import Mutation, draw_mutations, mutate
from .outcome import DEAD, FAILED_CLEARLY, FAILED_IN_CORE, HUNG, OUTCOMES, RAN, UNCLEAR, Outcome, post

STOCK_TIME_LIMIT = 20.0
"""Maximum seconds for a stock graph, which usually takes less than one second."""


class HostileClient:
    """A client whose server is restarted when it has ended or no longer runs prompts."""

    def __init__(self, stack: ExitStack, base: dict[str, Graph]) -> None:
        self.stack, self.base = stack, base
        self.starts = 0
        self.controls: dict[str, Outcome] = {}
        self.start()

    def start(self) -> None:
        """Start a server, and run every base graph once."""
        self.stack.close()
        server = self.stack.enter_context(running_server())
        write_stand_ins(PACK, server.base)
        self.client = Client(server)
        self.starts += 1
        self.object_info = self.client.object_info()
        self.ours = {name for name, info in self.object_info.items() if info["python_module"] == PACK_MODULE}
        for graph in self.base.values():
            self.client.run(graph)

    def works(self) -> bool:
        """Return whether the server still runs a stock graph."""
        return self.client.server.alive and post(self.client, stock_graph(), self.ours, STOCK_TIME_LIMIT).kind == RAN

    def post_control(self, graph: Graph) -> Outcome:
        """Post a control graph once, and cache the outcome, because a control graph that hangs takes minutes."""
        key = json.dumps(graph, sort_keys=True)
        if key not in self.controls:
            self.controls[key] = self.post(graph)
        return self.controls[key]

    def post(self, graph: Graph) -> Outcome:
        """Post a graph. If the server no longer works, it is restarted, and the outcome is `DEAD`."""
        outcome = post(self.client, graph, self.ours)
        if outcome.kind in (HUNG, DEAD) and not self.works():
            outcome = Outcome(DEAD, outcome.message, executed=True)
            self.start()
        return outcome


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=2000, help="number of graphs to post")
    parser.add_argument("--seed", type=int, default=0, help="seed of the mutations")
    arguments = parser.parse_args()
    rng, base, began = random.Random(arguments.seed), load_base_graphs(), time.monotonic()
    counts: Counter[str] = Counter()
    core: Counter[str] = Counter()
    findings: list[dict] = []
    messages: Counter[str] = Counter()
    core_messages: Counter[str] = Counter()
    with ExitStack() as stack:
        server = HostileClient(stack, base)
        with suppress(KeyboardInterrupt):
            for _ in tqdm(range(arguments.prompts), mininterval=10):
                name = rng.choice(list(base))
                mutations = draw_mutations(base[name], server.object_info, server.ours, rng)
                outcome = server.post(mutate(base[name], mutations))
                counts["executed"] += outcome.executed
                if outcome.kind == FAILED_IN_CORE:
                    core[FAILED_IN_CORE] += 1
                    core_messages[outcome.message[:200]] += 1
                elif outcome.kind in (UNCLEAR, HUNG, DEAD):
                    alike = core_does_alike(server, base[name], mutations, outcome)
                    (core if alike else counts)[outcome.kind] += 1
                    findings.append(describe(name, mutations, outcome, alike))
                    if not alike:
                        tqdm.write(json.dumps(findings[-1])[:1500], file=sys.stderr)
                else:
                    counts[outcome.kind] += 1
                    if outcome.kind == FAILED_CLEARLY:
                        messages[outcome.message[:200]] += 1
    posted = sum(counts[kind] for kind in OUTCOMES) + core.total()
    result = {
        "posted": posted,
        **{kind: counts[kind] for kind in OUTCOMES},
        "core": dict(core),
        "executed_share": round(counts["executed"] / max(posted, 1), 3),
        "seed": arguments.seed,
        "server_starts": server.starts,
        "seconds": round(time.monotonic() - began),
    }
    write_report("hostile_graphs", result, findings=findings, messages=count_texts(clear=messages, core=core_messages))
    return 1 if counts[UNCLEAR] + counts[HUNG] + counts[DEAD] else 0


def core_does_alike(server: HostileClient, graph: Graph, mutations: list[Mutation], outcome: Outcome) -> bool:
    """Return whether one of the mutations alone leads to the same outcome on one of ComfyUI's own nodes.

    An exception that passed through our code always counts as ours.
    """
    if outcome.in_our_code:
        return False
    for mutation in mutations:
        control = server.post_control(control_graph(graph, mutation, server.object_info))
        if control.kind == outcome.kind or (outcome.kind == UNCLEAR and control.kind == FAILED_IN_CORE):
            return True
    return False


def describe(name: str, mutations: list[Mutation], outcome: Outcome, alike: bool) -> dict:
    """Return a finding as JSON values."""
    changes = [f"{m.kind} {m.node}.{m.input} = {m.value!r:.100}" for m in mutations]
    return {
        "workflow": name,
        "mutations": [ascii(change) for change in changes],
        "outcome": outcome.kind,
        "message": ascii(outcome.message[:600]),
        "core_does_alike": alike,
    }


def count_texts(**counters: Counter[str]) -> dict[str, dict[str, int]]:
    """Return the messages of each counter with their counts, most frequent first."""
    return {kind: {ascii(text): n for text, n in counter.most_common()} for kind, counter in counters.items()}


if __name__ == "__main__":
    sys.exit(main())
