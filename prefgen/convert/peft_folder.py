"""A LoRA as peft saves it: a folder with `adapter_config.json` and `adapter_model.safetensors` (or, older, `.bin`)."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import CheckpointError
from ..prefdisc.config import LoraSpec
from ..prefdisc.lora import OUTER
from .pickled import read_tensors

CONFIG = "adapter_config.json"
WEIGHTS, PICKLED = "adapter_model.safetensors", "adapter_model.bin"

_UNSUPPORTED = {
    "use_dora": "is a DoRA",
    "rank_pattern": "has ranks of its own for some modules",
    "alpha_pattern": "has scales of its own for some modules",
    "modules_to_save": "brings whole modules along",
    "layers_to_transform": "is on some layers only",
    "fan_in_fan_out": "has its weights transposed",
}
_SIDES = ("lora_A", "lora_B")


@dataclass(frozen=True)
class PeftFolder:
    """A LoRA out of its folder. tensors: float32 or as they were saved, under the names of peft's own
    `get_peft_model_state_dict`."""

    folder: Path
    lora: LoraSpec
    tensors: dict[str, Tensor]

    @property
    def width(self) -> int | None:
        """The language model's width, by what the LoRA's first attention layer there reads; None where it has none."""
        read = (t for name, t in self.tensors.items() if "text_model" in name and name.endswith("q_proj.lora_A.weight"))
        return next((tensor.shape[1] for tensor in read), None)


def read_peft_folder(source: Path) -> PeftFolder:
    """Read the LoRA that lies in `source`, or in the one folder below it that has one.

    Raises CheckpointError: there is none, or several; it is no LoRA, or of a kind that PrefDisc does not merge; its
    tensors are not pairs of its rank, or have NaN.
    """
    folder = _folder(Path(source))
    config = _config(folder / CONFIG)
    lora = _spec(folder, config)
    tensors = {_plain(name): tensor for name, tensor in _weights(folder).items()}
    _check(folder, lora, tensors)
    return PeftFolder(folder, lora, tensors)


def _folder(source: Path) -> Path:
    if (source / CONFIG).is_file():
        return source
    found = sorted(path.parent for path in source.rglob(CONFIG))
    if len(found) != 1:
        named = f": {', '.join(str(path.relative_to(source)) for path in found[:5])}" if found else ""
        raise CheckpointError(
            f"{source} holds {len(found)} folders with a LoRA's {CONFIG}{named}; expected one: "
            "name the folder that has it."
        )
    return found[0]


def _config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} could not be read ({error}): get the file again.") from error
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        kind = config.get("peft_type") if isinstance(config, dict) else type(config).__name__
        raise CheckpointError(f"{path} describes {kind!r}, expected peft's 'LORA': choose the folder of a LoRA.")
    return config


def _spec(folder: Path, config: dict[str, Any]) -> LoraSpec:
    odd = [said for key, said in _UNSUPPORTED.items() if config.get(key)]
    odd += ["trains biases"] if config.get("bias", "none") != "none" else []
    if odd:
        raise CheckpointError(f"The LoRA in {folder} {odd[0]}, which PrefDisc does not merge: expected a plain LoRA.")
    try:
        r, alpha, modules = int(config["r"]), float(config["lora_alpha"]), config["target_modules"]
        targets = modules if isinstance(modules, str) else tuple(sorted(map(str, modules)))
        if r < 1 or not targets:
            raise ValueError(f"r {r}, target_modules {modules!r}")
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{folder / CONFIG} lacks what a LoRA needs ({error!r}), expected r, lora_alpha and target_modules: get "
            "the file again."
        ) from error
    # A rank-stabilised LoRA scales by alpha / sqrt(r) where others scale by alpha / r.
    return LoraSpec(r, alpha * math.sqrt(r) if config.get("use_rslora") else alpha, targets)


def _weights(folder: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if (folder / WEIGHTS).is_file():
        try:
            return load_file(folder / WEIGHTS)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{folder / WEIGHTS} is damaged ({error}): get the file again.") from error
    if (folder / PICKLED).is_file():
        return read_tensors(folder / PICKLED)
    raise CheckpointError(f"{folder} has neither {WEIGHTS} nor {PICKLED}: get the LoRA's weights as well.")


def _plain(name: str) -> str:
    """A tensor's name without a wrapper's `module.` and the adapter's own name, and with peft's outer one."""
    name = name.removeprefix("module.")
    for side in _SIDES:
        name = name.replace(f"{side}.default.", f"{side}.")
    return OUTER + name.removeprefix(OUTER)


def _check(folder: Path, lora: LoraSpec, tensors: dict[str, Tensor]) -> None:
    modules: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        module, _, side = name.removesuffix(".weight").rpartition(".")
        modules.setdefault(module, {})[side] = tensor
        if side not in _SIDES or not name.endswith(".weight"):
            raise CheckpointError(
                f"The LoRA in {folder} has a tensor {name}, expected lora_A and lora_B only: it is of another kind."
            )
    if not modules:
        raise CheckpointError(f"The LoRA in {folder} has no tensors: get the file again.")
    for module, pair in modules.items():
        shapes = {side: tuple(tensor.shape) for side, tensor in pair.items()}
        if set(pair) != set(_SIDES) or shapes["lora_A"][0] != lora.r or shapes["lora_B"][1] != lora.r:
            raise CheckpointError(
                f"The LoRA in {folder} has {shapes} for {module}, expected lora_A ({lora.r}, in) and lora_B (out, "
                f"{lora.r}), as its {CONFIG} says: the two files do not belong together."
            )
        if not all(torch.isfinite(tensor).all() for tensor in pair.values()):
            raise CheckpointError(f"The LoRA in {folder} has NaN in {module}: get the file again.")
