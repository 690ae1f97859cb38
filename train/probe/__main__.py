"""Finds the layers of PrefDisc that best identify users, and the layers that best identify liked images.

    python -m train.probe --checkpoint FILE

Writes a table, a plot and JSON. The JSON is also the last line of the output. --write FILE writes a copy of PrefDisc
with the selected layers in its header. Train a new alignment and a new adapter for this copy.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

from accelerate import PartialState

from prefgen.checkpoint.file import IMAGE_TOWER, Checkpoint, read_checkpoint, write_part
from prefgen.checkpoint.preference_model import POCKET
from prefgen.errors import CheckpointError
from prefgen.prefdisc.config import PrefDiscSpec
from train.bases import add_base_options, load_model
from train.evaluate.command import Report
from train.probe.hidden_states import ProbeConfig, collect_states
from train.probe.layer_selection import select_layers
from train.probe.linear_probe import LayerAccuracy, probe_layers
from train.probe.plot import plot_accuracy
from train.probe.users import read_probe_users, simulated_users

USERS, PAIRS = 30, 40  # 30 users: paper index section 3


def main(argv: list[str] | None = None) -> dict:
    """Run the command and return the JSON values that it prints."""
    parser = argparse.ArgumentParser(prog="python -m train.probe", description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", default=POCKET, help="preference checkpoint, or 'pocket' for the bundled one")
    parser.add_argument("--set", type=Path, help="dataset folder (default: simulated users with drawn posters)")
    parser.add_argument("--split", default="test", help="split of the dataset")
    parser.add_argument("--users", type=int, default=USERS, help="number of users to distinguish (PrefGen: 30)")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="number of pairs per user; half are for testing")
    parser.add_argument(
        "--histories", type=int, default=ProbeConfig.histories, help="number of training histories per user"
    )
    parser.add_argument("--history", type=int, default=ProbeConfig.pairs, help="number of pairs in a history")
    parser.add_argument("--seed", type=int, default=0, help="random seed")
    parser.add_argument("--out", type=Path, default=Path("out/probe"), help="folder for the table and the plot")
    parser.add_argument("--write", type=Path, help="file for a copy of PrefDisc with the selected layers")
    add_base_options(parser)
    args = parser.parse_args(argv)
    model = load_model(args.checkpoint, args, PartialState().device)
    prefdisc = model.require("prefdisc")
    if args.set:
        users = read_probe_users(args.set, args.split, args.users, args.pairs)
    else:
        users = simulated_users(args.users, args.pairs, args.seed)
    accuracy = probe_layers(*collect_states(prefdisc, users, ProbeConfig(args.history, args.histories, args.seed)))
    sem, core = select_layers(accuracy)
    result = {
        "inter_user": [estimate.to_json() for estimate in accuracy.inter],
        "intra_user": [estimate.to_json() for estimate in accuracy.intra],
        "chance": round(accuracy.chance, 4),
        "sem_layers": list(sem),
        "core_layers": list(core),
        "sem_layers_before": list(prefdisc.spec.sem_layers),
        "core_layers_before": list(prefdisc.spec.core_layers),
        "users": len(users),
        "checkpoint": args.checkpoint,
    }
    setup = (
        f"Linear probes on the last-token states of {args.checkpoint}: {len(users)} users, {args.history} pairs per "
        f"history, {args.histories} training histories per user, and as many test histories with other images."
    )
    _write_report(args.out, setup, accuracy, result)
    if args.write:
        write_layers(args.write, model.checkpoint, result)
    print(json.dumps(result))
    return result


def write_layers(path: Path, checkpoint: Checkpoint, result: dict) -> Checkpoint:
    """Write PrefDisc with the selected layers.

    Raises:
        CheckpointError: The file contains an alignment or an adapter that was trained for other layers.
    """
    spec = PrefDiscSpec.from_json(checkpoint.require("prefdisc"))
    selected = replace(spec, sem_layers=tuple(result["sem_layers"]), core_layers=tuple(result["core_layers"]))
    existing = read_checkpoint(path) if path.exists() else None
    stale = [part for part in ("alignment", "adapter") if existing and existing.has(part)]
    if stale and selected != spec:
        raise CheckpointError(
            f"The {' and '.join(stale)} of {path.name} use layers {spec.sem_layers} and {spec.core_layers}; the "
            f"selected layers are {selected.sem_layers} and {selected.core_layers}. Write to a new file."
        )
    summary = {name: result[name] for name in ("users", "chance", "sem_layers", "core_layers")}
    for name in ("inter_user", "intra_user"):
        summary[name] = [round(estimate["value"], 4) for estimate in result[name]]
    own_tower = checkpoint.has(IMAGE_TOWER)
    names = ("licence",) if own_tower else ("licence", IMAGE_TOWER)
    metadata = {name: checkpoint.header[name] for name in names if name in checkpoint.header}
    training = {**checkpoint.header.get("training", {}), "probe": summary}
    if not existing:
        training = {name: value for name, value in training.items() if name not in ("alignment", "adapter")}
    if own_tower and not (existing and existing.has(IMAGE_TOWER)):
        write_part(path, IMAGE_TOWER, checkpoint.require(IMAGE_TOWER), checkpoint.part(IMAGE_TOWER))
    return write_part(path, "prefdisc", selected.to_json(), checkpoint.part("prefdisc"), training=training, **metadata)


def _write_report(out: Path, setup: str, accuracy: LayerAccuracy, result: dict) -> None:
    sem, core = result["sem_layers"], result["core_layers"]
    rows = [
        (str(i), inter.text(), intra.text(), " ".join([*["sem"] * (i in sem), *["core"] * (i in core)]))
        for i, (inter, intra) in enumerate(zip(accuracy.inter, accuracy.intra, strict=True))
    ]
    columns = ("layer", f"user (chance {accuracy.chance:.3f})", "liked or disliked (chance 0.5)", "selected for")
    figure = plot_accuracy(accuracy, sem, core, setup)
    notes = ["± is half the width of the 95 % interval, clustered by user. Layer 0 is the embedding."]
    report = Report("What each layer encodes", setup, columns, rows, result, figure, notes)
    out.mkdir(parents=True, exist_ok=True)
    (out / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    (out / "table.md").write_text(report.markdown("picture.png"))
    figure.savefig(out / "picture.png", bbox_inches="tight", pad_inches=0.15)


if __name__ == "__main__":
    main()
