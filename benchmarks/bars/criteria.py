"""All acceptance criteria, ordered by part of the project, and the commands that measure them."""

from __future__ import annotations

from benchmarks.bars.command import Command, pytest_command
from benchmarks.bars.criterion import Criterion
from benchmarks.bars.extractors import (
    Extractor,
    at,
    count,
    difference,
    estimate,
    interval,
    minus,
    on_accelerator,
    ratio,
    row_value,
)

PREDICTION, SCORING, TRAINING = "prediction", "scoring", "training"
GENERATION, ADAPTER, RENO, RENO_COST = "generation", "adapter", "reno", "reno-cost"
LEARN, FAULTS, FULL_SIZE = "learn-demo", "rating-faults", "full-size"

PARTS = ("overall", "PrefDisc", "generator", "ReNO", "rating", "full size")
WHOLE, PREFDISC, GENERATOR, NOISE, RATING, SIZES = PARTS


def commands(peer: str | None = None) -> tuple[Command, ...]:
    """Return all commands, ordered by part. `peer` is a checkout of ComfyUI_IPAdapter_plus for benchmarks.adapter."""
    peer_option = ("--peer", peer) if peer else ()
    return (
        Command("startup", WHOLE, ("-m", "benchmarks.startup", "--repeats", "3"), minutes=4),
        Command("demo", WHOLE, ("-m", "demo"), minutes=2),
        Command(PREDICTION, PREFDISC, ("-m", "train.evaluate.prediction", "--checkpoint", "pocket"), minutes=5),
        Command(SCORING, PREFDISC, ("-m", "benchmarks.scoring"), minutes=30),
        Command(TRAINING, PREFDISC, ("-m", "benchmarks.training"), minutes=5),
        pytest_command("tests-processes", PREFDISC, "tests/train/prefdisc/test_processes.py", minutes=2),
        Command(GENERATION, GENERATOR, ("-m", "train.evaluate.generation", "--checkpoint", "pocket"), minutes=40),
        Command(ADAPTER, GENERATOR, ("-m", "benchmarks.adapter", *peer_option), minutes=15),
        pytest_command(
            "tests-adapter", GENERATOR, "tests/nodes/test_adapter_node.py", "tests/nodes/test_attention.py", minutes=2
        ),
        Command(RENO, NOISE, ("-m", "train.evaluate.reno", "--checkpoint", "pocket"), minutes=60),
        Command(RENO_COST, NOISE, ("-m", "benchmarks.reno"), minutes=5),
        pytest_command(
            "tests-reno",
            NOISE,
            "tests/nodes/test_reno_node.py",
            "tests/nodes/test_sampling_models.py",
            "tests/prefgen/test_reno_gradient.py",
            minutes=3,
        ),
        pytest_command("tests-browser", RATING, "tests/browser", minutes=3),
        Command(LEARN, RATING, ("-m", "demo.learn"), report="out/learn/report.json", minutes=20),
        # Exit status 1 means that ratings were lost; the result says which.
        Command(FAULTS, RATING, ("-m", "benchmarks.rating_faults"), statuses=(0, 1), minutes=5),
        pytest_command("tests-routes", RATING, "tests/nodes/test_routes.py", minutes=1),
        Command(FULL_SIZE, SIZES, ("-m", "benchmarks.full_size", "--device", "auto"), minutes=30),
        pytest_command("tests-memory", SIZES, "tests/nodes/test_model_memory.py", minutes=2),
        pytest_command("tests-converted", SIZES, "tests/prefgen/checkpoint/convert", minutes=1),
    )


def criteria() -> tuple[Criterion, ...]:
    """Return all criteria, in the order of the commands."""
    return (*_overall(), *_prefdisc(), *_generator(), *_reno(), *_rating(), *_full_size())


def _overall() -> tuple[Criterion, ...]:
    def right(method: str) -> Extractor:
        return at(f"{method}.right.true_utility")

    def wrong(method: str) -> Extractor:
        return at(f"{method}.wrong.true_utility")

    return (
        Criterion("startup", "added startup time of ComfyUI, s", at("added.answer"), "<", 1),
        Criterion("demo", "true utility: adapter minus plain", minus(right("adapter"), right("plain")), ">", 0),
        Criterion(
            "demo",
            "true utility: adapter, right person minus wrong person",
            _right_minus_wrong("adapter", right, wrong),
            ">",
            0,
        ),
        Criterion("demo", "true utility: ReNO minus plain_reno", minus(right("reno"), right("plain_reno")), ">", 0),
        Criterion(
            "demo",
            "true utility: ReNO, right person minus wrong person",
            _right_minus_wrong("reno", right, wrong),
            ">",
            0,
        ),
    )


def _right_minus_wrong(method, right, wrong) -> Extractor:
    return minus(right(method), wrong(method))


def _prefdisc() -> tuple[Criterion, ...]:
    real = {"geometry": "idefics2-tokens", "candidates": 32}
    at_32 = "real token counts, 32 candidates"
    return (
        Criterion(
            PREDICTION,
            "share of the ideal observer's gain from 8 pairs",
            interval("share_of_possible"),
            ">=",
            0.85,
            aim=0.95,
        ),
        Criterion(PREDICTION, "accuracy minus Bradley-Terry", interval("unseen_minus_bradley_terry"), ">", 0),
        Criterion(
            PREDICTION,
            "accuracy minus Bradley-Terry, standard errors",
            _in_standard_errors("unseen_minus_bradley_terry"),
            ">",
            3,
        ),
        Criterion(
            PREDICTION, "accuracy, seen minus unseen users: lower limit", interval("seen_minus_unseen"), ">", -0.01
        ),
        Criterion(
            PREDICTION, "accuracy, seen minus unseen users: upper limit", interval("seen_minus_unseen"), "<", 0.01
        ),
        Criterion(
            PREDICTION, "accuracy, another user's history minus none", interval("wrong_minus_no_history"), "<=", 0
        ),
        Criterion(PREDICTION, "users of each kind", at("users"), ">=", 5000),
        Criterion(
            SCORING, f"speedup over the published procedure, {at_32}", row_value("rows", "ratio", **real), ">=", 20
        ),
        Criterion(
            SCORING,
            f"speedup including the encoding of the history, {at_32}",
            row_value("rows", "ratio_with_prefix", **real),
            ">=",
            14,
        ),
        Criterion(
            SCORING,
            f"seconds relative to the limit, {at_32}",
            row_value("rows", "ours_over_limit", **real),
            "<=",
            1.5,
            aim=1.1,
        ),
        Criterion(SCORING, f"largest logit difference, {at_32}", row_value("rows", "max_abs_diff", **real), "<=", 1e-3),
        Criterion(TRAINING, "samples/s relative to two full forwards, worst row", at("ratio"), ">=", 1.6),
        _tests("tests-processes", "several processes equal one, killed and resumed"),
    )


def _in_standard_errors(path: str) -> Extractor:
    return ratio(at(f"{path}.value"), at(f"{path}.stderr"))


def _generator() -> tuple[Criterion, ...]:
    ours = row_value("rows", "share", model="sdxl", **{"with": "ours"})
    peers = row_value("rows", "share", model="sdxl", **{"with": "peer"})
    return (
        Criterion(GENERATION, "win rate over plain by true utility", estimate("win_rate"), ">=", 0.8, aim=0.9),
        Criterion(
            GENERATION,
            "win rate: drop with another agent's embedding",
            difference("win_rate", "win_rate_other_person"),
            ">=",
            0.2,
        ),
        Criterion(
            GENERATION,
            "prompted subject recognised, minus plain",
            difference("obedience", "obedience_plain"),
            ">=",
            -0.03,
        ),
        Criterion(GENERATION, "diversity across seeds, share of plain's", estimate("diversity_ratio"), ">=", 0.8),
        Criterion(GENERATION, "unseen agents", at("agents"), ">=", 200),
        Criterion(ADAPTER, "adapter time, share of a plain step at SDXL size", ours, "<=", 0.02),
        Criterion(ADAPTER, "adapter time, share of the peer's (--peer PATH)", ratio(ours, peers), "<=", 0.5),
        _tests("tests-adapter", "off is bit-identical, K/V once, 70 branches"),
    )


def _reno() -> tuple[Criterion, ...]:
    best, both = "win_rate_best_of_n", "win_rate_adapter_reno"
    cost = "ratios.idefics2-tokens"
    return (
        Criterion(RENO, "win rate over plain by true utility", estimate("win_rate"), ">=", 0.85),
        Criterion(RENO, "win rate: ReNO minus best-of-N at equal evaluations", difference("win_rate", best), ">", 0),
        Criterion(RENO, "win rate: adapter + ReNO minus ReNO", difference(both, "win_rate"), ">", 0),
        Criterion(RENO, "win rate: adapter + ReNO minus best-of-N", difference(both, best), ">", 0),
        Criterion(
            RENO, "prompted subject recognised, minus plain", difference("obedience", "obedience_plain"), ">=", -0.03
        ),
        Criterion(
            RENO,
            "reward hacking: share of runs whose score rose while true utility fell",
            estimate("hacking_fraction"),
            "<",
            0.15,
        ),
        Criterion(RENO, "unseen agents", at("agents"), ">=", 100),
        Criterion(RENO_COST, "memory, full sequence / cached prefix, 8 pairs", at(f"{cost}.memory_ratio"), ">=", 14),
        Criterion(RENO_COST, "time, full sequence / cached prefix, 8 pairs", at(f"{cost}.time_ratio"), ">=", 10),
        Criterion(RENO_COST, "difference of pixel gradients", at(f"{cost}.gradient_difference"), "<=", 1e-6),
        Criterion(RENO_COST, "memory relative to 0 pairs", at(f"{cost}.memory_over_no_pairs"), "<=", 2, aim=1.1),
        _tests("tests-reno", "NOISE reproduces the image, gradients match finite differences, half precision"),
    )


def _rating() -> tuple[Criterion, ...]:
    return (
        _tests("tests-browser", "rating in a real Chromium on the real frontend"),
        Criterion(LEARN, "growth of the true utility gain over plain, per round", interval("growth"), ">", 0),
        Criterion(
            LEARN, "gain of the last round over plain, standard errors", at("last_gain_in_standard_errors"), ">", 3
        ),
        Criterion(LEARN, "agents", at("agents"), ">=", 20),
        Criterion(LEARN, "rounds", count("rounds"), ">=", 8),
        Criterion(FAULTS, "writers killed while rating", at("killed.kills"), ">=", 100),
        Criterion(FAULTS, "acknowledged ratings lost by kills", at("killed.lost"), "<=", 0),
        Criterion(FAULTS, "ratings of two concurrent writers", at("at_once.ratings"), ">=", 1000),
        Criterion(FAULTS, "of these, lost", at("at_once.lost"), "<=", 0),
        Criterion(FAULTS, "of these, duplicated", at("at_once.doubled"), "<=", 0),
        _tests("tests-routes", "path traversal, foreign origins, oversized bodies and non-images are refused"),
    )


def _full_size() -> tuple[Criterion, ...]:
    return (
        Criterion(FULL_SIZE, "rows, measured or with the memory they need", count("rows"), ">=", 1),
        Criterion(FULL_SIZE, "scoring on an accelerator, limit / seconds", on_accelerator("score "), ">=", 0.4),
        Criterion(
            FULL_SIZE, "adapter step on an accelerator, limit / seconds", on_accelerator("with the adapter"), ">=", 0.4
        ),
        _tests("tests-memory", "freeing memory unloads PrefDisc, the next queue reloads it"),
        _tests("tests-converted", "converted files give the published scores"),
    )


def _tests(command: str, what: str) -> Criterion:
    return Criterion(command, f"tests not passed: {what}", at("not_passed"), "<=", 0)
