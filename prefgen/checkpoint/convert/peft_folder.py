"""A LoRA as peft saves it: a folder with `adapter_config.json` and `adapter_model.safetensors` (or, older, `.bin`)."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ...errors import CheckpointError
from ...prefdisc.config import LoraSpec
from ...prefdisc.lora import OUTER
from ...validation import first_nonfinite
from .pickled import read_tensors
from .plain import oddity

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
    tensors are not pairs of its rank, no plain floating-point numbers, or NaN.
    """
    folder = _folder(Path(source))
    config = _config(folder / CONFIG)
    lora = _spec(folder, config)
    tensors = _named(folder, _weights(folder))
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
    except (OSError, ValueError, RecursionError) as error:
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
        r, alpha = int(config["r"]), float(config["lora_alpha"])
        # A rank-stabilised LoRA scales by alpha / sqrt(r) where others scale by alpha / r.
        alpha = alpha * math.sqrt(r) if config.get("use_rslora") else alpha
        if r < 1 or not math.isfinite(alpha):
            raise ValueError(f"r {r}, lora_alpha {alpha}")
        return LoraSpec(r, alpha, _targets(config["target_modules"]))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise CheckpointError(
            f"{folder / CONFIG} lacks what a LoRA needs ({error!r}), expected r, lora_alpha and target_modules: get "
            "the file again."
        ) from error


def _targets(modules: Any) -> tuple[str, ...] | str:
    """As peft takes them: one regular expression, or names. Raises TypeError or ValueError for anything else."""
    if not modules or not isinstance(modules, str | list) or not all(isinstance(name, str) for name in modules):
        raise TypeError(f"target_modules {modules!r:.80}")
    if isinstance(modules, list):
        return tuple(sorted(modules))
    try:
        re.compile(modules)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"target_modules {modules!r:.80} is no regular expression: {error}") from error
    return modules


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


def _named(folder: Path, saved: dict[str, Tensor]) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for name, tensor in saved.items():
        if _plain(name) in tensors:
            raise CheckpointError(
                f"The LoRA in {folder} has two tensors for {_plain(name)}, one of them as {name}; expected one: it "
                "holds several adapters, save the one that is meant."
            )
        tensors[_plain(name)] = tensor
    return tensors


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
        if not _is_pair(shapes, lora.r):
            raise CheckpointError(
                f"The LoRA in {folder} has {shapes} for {module}, expected lora_A ({lora.r}, in) and lora_B (out, "
                f"{lora.r}), as its {CONFIG} says: the two files do not belong together."
            )
        if odd := next(filter(None, map(oddity, pair.values())), None):
            raise CheckpointError(
                f"The LoRA in {folder} has a tensor {odd} for {module}, expected plain numbers in float32 or half "
                "precision: get the file again, or save it anew in one of these."
            )
        if first_nonfinite(pair.items()):
            raise CheckpointError(f"The LoRA in {folder} has NaN in {module}: get the file again.")


def _is_pair(shapes: dict[str, tuple[int, ...]], r: int) -> bool:
    """Whether these are a linear layer's two matrices of this rank."""
    if set(shapes) != set(_SIDES) or any(len(shape) != 2 for shape in shapes.values()):
        return False
    return shapes["lora_A"][0] == r and shapes["lora_B"][1] == r
