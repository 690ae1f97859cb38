"""Runs the soak test."""

import argparse
import random
import sys
import time
from collections import Counter

from benchmarks import soak
from benchmarks.report import write_report
from benchmarks.soak.growth import MAX_GROWTH, Sample, growth_bound
from benchmarks.soak.process import server_process
from benchmarks.soak.rounds import CONTROL, ROUNDS, Soak
from tests.comfyui import Client, running_server


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=soak.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0, help="duration of the run in minutes")
    parser.add_argument("--warm-up", type=float, default=10.0, help="minutes at the beginning that do not count")
    parser.add_argument("--seed", type=int, default=0, help="seed for people, sizes and masks")
    names = [name for name in ROUNDS if name != CONTROL]
    parser.add_argument("--rounds", nargs="+", choices=list(ROUNDS), default=names, help="default: all but the control")
    arguments = parser.parse_args()
    rng, samples, rounds = random.Random(arguments.seed), [], Counter()
    with running_server() as server:
        state, process = Soak(Client(server), rng), server_process(server.process.pid)
        began = time.monotonic()
        while (minutes := (time.monotonic() - began) / 60) < arguments.minutes:
            name = rng.choice(arguments.rounds)
            ROUNDS[name](state)
            rounds[name] += 1
            state.client.free()
            state.post("/history", {"clear": True})
            time.sleep(1.0)
            samples.append(Sample(minutes, process.resident_mib(), process.open_files()))
            print(f"{minutes:.1f} min: {samples[-1].resident_mib:.0f} MiB, {samples[-1].open_files} files, {name}")
            sys.stdout.flush()
    result = report(arguments, samples, rounds, state)
    write_report("soak", result, samples=[vars(sample) for sample in samples])
    return 0 if result["passed"] else 1


def report(arguments: argparse.Namespace, samples: list[Sample], rounds: Counter, state: Soak) -> dict:
    """Return the result as JSON values."""
    counted = [sample for sample in samples if sample.minutes >= arguments.warm_up]
    slope, bound = growth_bound(counted)
    half = len(counted) // 2
    files = [max((sample.open_files for sample in part), default=0) for part in (counted[:half], counted[half:])]
    passed = bound is not None and bound <= MAX_GROWTH and files[1] <= files[0] and len(state.reference_pictures) <= 1
    return {
        "minutes": arguments.minutes,
        "rounds": dict(rounds),
        "prompts": state.prompts,
        "ratings": state.ratings,
        "interrupted": state.interrupted,
        "resident_mib": [round(sample.resident_mib) for sample in (samples[0], *counted[:1], samples[-1])],
        "growth_mib_per_minute": slope,
        "growth_upper_95": bound,
        "open_files_first_half": files[0],
        "open_files_second_half": files[1],
        "different_pictures_of_one_seed": len(state.reference_pictures),
        "passed": passed,
    }


if __name__ == "__main__":
    sys.exit(main())
