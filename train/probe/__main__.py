"""`python -m train.probe --checkpoint FILE`: which layers of PrefDisc tell users apart, and which know what is liked.

Writes a table, a picture and JSON (also the last line). With --write FILE the chosen layers go into the header of a
copy of PrefDisc, from which an alignment and an adapter are then trained: those of other layers would not fit.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

from prefgen.checkpoint.file import Checkpoint, read_checkpoint, write_part
from prefgen.checkpoint.preference_model import POCKET, load_preference_model
from prefgen.errors import CheckpointError
from prefgen.prefdisc.config import PrefDiscSpec
from train.evaluate.command import Report
from train.probe.choose import choose_layers
from train.probe.classify import LayerAccuracy, probe
from train.probe.picture import draw
from train.probe.sources import agents, from_set
from train.probe.states import ProbeConfig, collect

USERS, PAIRS = 30, 40  # 30 users: method.md section 3


def main(argv: list[str] | None = None) -> dict:
    """Read the command line, probe, write."""
    parser = argparse.ArgumentParser(prog="python -m train.probe", description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", default=POCKET, help="a preference checkpoint, or 'pocket' for the bundled one")
    parser.add_argument("--set", type=Path, help="a set made by train.data; not given: simulated users and posters")
    parser.add_argument("--split", default="test", help="of the set")
    parser.add_argument("--users", type=int, default=USERS, help="to be told apart (PrefGen: 30)")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="of each user; half to learn from, half to be tested")
    parser.add_argument("--histories", type=int, default=ProbeConfig.histories, help="of each user and half")
    parser.add_argument("--history", type=int, default=ProbeConfig.pairs, help="pairs of a history")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/probe"), help="where the table and the picture go")
    parser.add_argument("--write", type=Path, help="the checkpoint that gets PrefDisc with the chosen layers")
    given = parser.parse_args(argv)
    model = load_preference_model(given.checkpoint)
    prefdisc = model.require("prefdisc")
    if given.set:
        users = from_set(given.set, given.split, given.users, given.pairs)
    else:
        users = agents(given.users, given.pairs, given.seed)
    found = probe(*collect(prefdisc, users, ProbeConfig(given.history, given.histories, given.seed)))
    sem, core = choose_layers(found)
    result = {
        "inter_user": [estimate.to_json() for estimate in found.inter],
        "intra_user": [estimate.to_json() for estimate in found.intra],
        "chance": round(found.chance, 4),
        "sem_layers": list(sem),
        "core_layers": list(core),
        "sem_layers_before": list(prefdisc.spec.sem_layers),
        "core_layers_before": list(prefdisc.spec.core_layers),
        "users": len(users),
        "checkpoint": given.checkpoint,
    }
    measured = (
        f"Linear probes of {given.checkpoint}'s states at the last token, {len(users)} users, {given.history} pairs a "
        f"history, {given.histories} histories a user to learn from and as many, of other images, to be tested on."
    )
    _report(given.out, measured, found, result)
    if given.write:
        write_layers(given.write, model.checkpoint, result)
    print(json.dumps(result))
    return result


def write_layers(path: Path, checkpoint: Checkpoint, result: dict) -> Checkpoint:
    """Write PrefDisc with the chosen layers. Raises CheckpointError where `path` has parts made for other layers."""
    spec = PrefDiscSpec.from_json(checkpoint.require("prefdisc"))
    chosen = replace(spec, sem_layers=tuple(result["sem_layers"]), core_layers=tuple(result["core_layers"]))
    there = read_checkpoint(path) if path.exists() else None
    stale = [part for part in ("alignment", "adapter") if there and there.has(part)]
    if stale and chosen != spec:
        raise CheckpointError(
            f"{path.name} has {' and '.join(stale)} made for the layers {spec.sem_layers} and {spec.core_layers}, and "
            f"{chosen.sem_layers} and {chosen.core_layers} were chosen: write a new file, and train them for it."
        )
    about = {name: result[name] for name in ("users", "chance", "sem_layers", "core_layers")}
    for name in ("inter_user", "intra_user"):
        about[name] = [round(estimate["value"], 4) for estimate in result[name]]
    kept = {name: checkpoint.header[name] for name in ("licence", "image_tower") if name in checkpoint.header}
    training = {**checkpoint.header.get("training", {}), "probe": about}
    if not there:
        training = {name: value for name, value in training.items() if name not in ("alignment", "adapter")}
    return write_part(path, "prefdisc", chosen.to_json(), checkpoint.part("prefdisc"), training=training, **kept)


def _report(out: Path, measured: str, found: LayerAccuracy, result: dict) -> None:
    sem, core = result["sem_layers"], result["core_layers"]
    rows = [
        (str(i), inter.text(), intra.text(), " ".join([*["sem"] * (i in sem), *["core"] * (i in core)]))
        for i, (inter, intra) in enumerate(zip(found.inter, found.intra, strict=True))
    ]
    columns = ("layer", f"which user (chance {found.chance:.3f})", "liked or disliked (chance 0.5)", "chosen for")
    figure = draw(found, sem, core, measured)
    notes = ["± is half a 95 % interval, clustered by user. Layer 0 is the embedding."]
    report = Report("What each layer knows", measured, columns, rows, result, figure, notes)
    out.mkdir(parents=True, exist_ok=True)
    (out / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    (out / "table.md").write_text(report.markdown("picture.png"))
    figure.savefig(out / "picture.png", bbox_inches="tight", pad_inches=0.15)


if __name__ == "__main__":
    main()
