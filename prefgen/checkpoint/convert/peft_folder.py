"""Reads a LoRA saved by peft: `adapter_config.json` and `adapter_model.safetensors` (older versions: `.bin`)."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from ...errors import CheckpointError
from ...prefdisc.config import LoraSpec
from ...prefdisc.lora import PEFT_PREFIX
from ...safefile import load_tensors
from ...validation import errors_as, first_nonfinite, format_value, matches_type, require_number
from .pickled import read_state_dict
from .tensor_check import tensor_defect

CONFIG = "adapter_config.json"
WEIGHTS, PICKLED = "adapter_model.safetensors", "adapter_model.bin"

_UNSUPPORTED = {
    "use_dora": "is a DoRA",
    "rank_pattern": "has different ranks for some modules",
    "alpha_pattern": "has different scales for some modules",
    "modules_to_save": "contains whole modules",
    "fan_in_fan_out": "has transposed weights",
    "alora_invocation_tokens": "is an aLoRA, which acts on some tokens only",
    "trainable_token_indices": "changes embeddings of some tokens",
    "lora_bias": "trains biases",
    "layer_replication": "replicates layers",
    "target_parameters": "changes parameters outside linear layers",
}
"""Fields of peft's LoraConfig whose LoRAs are not a product of two matrices for each module."""

_MODULE_CHOICES = ("exclude_modules", "layers_to_transform", "layers_pattern")
"""Fields that select modules. The selected ones are those that have tensors."""

_WITHOUT_EFFECT = (
    *("task_type", "peft_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision"),
    *("inference_mode", "r", "target_modules", "lora_alpha", "lora_dropout", "bias", "use_rslora", "init_lora_weights"),
    *("loftq_config", "eva_config", "corda_config", "lora_ga_config", "velora_config", "runtime_config"),
    *("megatron_config", "megatron_core", "qalora_group_size", "ensure_weight_tying"),
)
"""Other fields that the conversion reads, or that matter in training only."""

_CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Initialisations that also change the base model's weights, so that the LoRA does not match the original weights."""

_INITIALISATIONS = (True, False, None, "gaussian", "eva", "orthogonal", "mica")
_SIDES = ("lora_A", "lora_B")
MAX_NUMBER = 2**16
"""Bound of rank and scale. Larger values are damage."""


@dataclass(frozen=True)
class PeftFolder:
    """A LoRA read from its folder.

    Attributes:
        folder: Where it is.
        lora: Rank, scale and target modules.
        tensors: Tensors as saved, named as in peft's `get_peft_model_state_dict`.
    """

    folder: Path
    lora: LoraSpec
    tensors: dict[str, Tensor]

    @property
    def width(self) -> int | None:
        """Width of the language model, from the first attention layer that the LoRA adapts; None if there is none."""
        inputs = (
            tensor
            for name, tensor in self.tensors.items()
            if "text_model" in name and name.endswith("q_proj.lora_A.weight")
        )
        return next((tensor.shape[1] for tensor in inputs), None)


def read_peft_folder(source: Path) -> PeftFolder:
    """Read the LoRA in `source`, or in the only folder below it that has one.

    Raises:
        CheckpointError: There is no LoRA or several, PrefDisc cannot merge it, or its tensors do not match its
            configuration or are not finite floating-point tensors.
    """
    folder = _find_folder(Path(source))
    lora, selects_modules = _read_config(folder / CONFIG)
    tensors = _rename(folder, _load_weights(folder))
    if selects_modules:
        modules = {name.removeprefix(PEFT_PREFIX).rpartition(".lora_")[0] for name in tensors}
        lora = replace(lora, target_modules=tuple(sorted(modules)))
    if defect := _first_defect(lora, tensors):
        raise CheckpointError(f"The LoRA in {folder} has {defect}. Download it again, or save it as a plain LoRA.")
    return PeftFolder(folder, lora, tensors)


def _find_folder(source: Path) -> Path:
    if (source / CONFIG).is_file():
        return source
    folders = sorted(path.parent for path in source.rglob(CONFIG))
    if len(folders) != 1:
        names = ", ".join(str(path.relative_to(source)) for path in folders[:5]) or "none"
        raise CheckpointError(f"{source} has {len(folders)} folders with an {CONFIG} ({names}). Choose one of them.")
    return folders[0]


def _read_config(path: Path) -> tuple[LoraSpec, bool]:
    """Return the LoRA's configuration, and whether it changes only some of the modules that it names."""
    errors = (OSError, ValueError, RecursionError, AttributeError, re.error, OverflowError)
    with errors_as(CheckpointError, f"{path} could not be read", "Download it again.", errors):
        config = json.loads(path.read_text(encoding="utf-8"))
        kind, targets = config.get("peft_type"), config.get("target_modules")
        re.compile(targets if isinstance(targets, str) else "")
    unsupported = [] if kind == "LORA" else [f"is of type {format_value(kind)}"]
    unsupported += [reason for key, reason in _UNSUPPORTED.items() if config.get(key)]
    unsupported += ["trains biases"] if config.get("bias", "none") != "none" else []
    known = {*_UNSUPPORTED, *_MODULE_CHOICES, *_WITHOUT_EFFECT}
    unsupported += [f"uses {key}, which PrefDisc does not know" for key in sorted(config.keys() - known) if config[key]]
    if unsupported:
        raise CheckpointError(f"The LoRA of {path} {unsupported[0]}. PrefDisc supports plain LoRAs only.")
    _require_unchanged_base(path, config.get("init_lora_weights"))
    r, alpha = config.get("r"), config.get("lora_alpha")
    require_number(f"r in {path}", r, 1, MAX_NUMBER, integer=True, error=CheckpointError)
    require_number(f"lora_alpha in {path}", alpha, -MAX_NUMBER, MAX_NUMBER, error=CheckpointError)
    targets = tuple(targets) if isinstance(targets, list) else targets
    if not targets or not matches_type(targets, str | tuple[str, ...]):
        raise CheckpointError(f"target_modules in {path} is {format_value(targets)}; expected names or a pattern.")
    # A rank-stabilised LoRA scales by alpha / sqrt(r), others by alpha / r.
    alpha = float(alpha) * math.sqrt(r) if config.get("use_rslora") else float(alpha)
    targets = targets if isinstance(targets, str) else tuple(sorted(targets))
    return LoraSpec(r, alpha, targets), any(config.get(key) for key in _MODULE_CHOICES)


def _require_unchanged_base(path: Path, initialisation: object) -> None:
    """Raise CheckpointError for an initialisation that changes the base model, or that is unknown."""
    name = str(initialisation).lower()
    if name.startswith(_CHANGES_BASE):
        raise CheckpointError(
            f"The LoRA of {path} was initialised by {format_value(initialisation)}, which also changes the base model. "
            "Save it with peft's path_initial_model_for_weight_conversion, which makes it a plain LoRA."
        )
    if initialisation not in _INITIALISATIONS and name not in _INITIALISATIONS:
        raise CheckpointError(
            f"The LoRA of {path} was initialised by {format_value(initialisation)}; expected a plain LoRA."
        )


def _load_weights(folder: Path) -> dict[str, Tensor]:
    if (folder / WEIGHTS).is_file():
        return load_tensors(folder / WEIGHTS)
    if (folder / PICKLED).is_file():
        return read_state_dict(folder / PICKLED)
    raise CheckpointError(f"{folder} has neither {WEIGHTS} nor {PICKLED}. Download the LoRA's weights.")


def _rename(folder: Path, saved: dict[str, Tensor]) -> dict[str, Tensor]:
    """Remove a wrapper's `module.` and the adapter's name from tensor names, and add peft's prefix."""
    tensors: dict[str, Tensor] = {}
    for original, tensor in saved.items():
        name = original.removeprefix("module.")
        for side in _SIDES:
            name = name.replace(f"{side}.default.", f"{side}.")
        name = PEFT_PREFIX + name.removeprefix(PEFT_PREFIX)
        if name in tensors:
            raise CheckpointError(f"The LoRA in {folder} has two tensors for {name}. Save one adapter.")
        tensors[name] = tensor
    return tensors


def _first_defect(lora: LoraSpec, tensors: dict[str, Tensor]) -> str | None:
    """Describe the first module whose tensors are not a pair of finite matrices of the LoRA's rank."""
    modules: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        module, _, side = name.removesuffix(".weight").rpartition(".")
        modules.setdefault(module, {})[side] = tensor
    defects = (defect for module, pair in modules.items() if (defect := _pair_defect(module, pair, lora.r)))
    return next(defects, None if tensors else "no tensors")


def _pair_defect(module: str, pair: dict[str, Tensor], r: int) -> str | None:
    """Return why tensors are not the finite matrices (r, in) and (out, r) of a linear layer, or None if they are."""
    shapes = {side: tuple(tensor.shape) for side, tensor in pair.items()}
    matrices = shapes.keys() == set(_SIDES) and all(len(shape) == 2 for shape in shapes.values())
    if not matrices or shapes["lora_A"][0] != r or shapes["lora_B"][1] != r:
        return f"{shapes} for {module}; expected lora_A ({r}, in) and lora_B (out, {r})"
    if defect := next(filter(None, map(tensor_defect, pair.values())), None):
        return f"{defect} for {module}; expected float32 or half precision"
    return f"NaN or infinity in {module}" if first_nonfinite(pair.items()) else None
