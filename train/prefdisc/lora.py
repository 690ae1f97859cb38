"""Injects a LoRA into a base model with peft, writes it into preference checkpoints, and loads it from them."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from prefgen.errors import CheckpointError
from prefgen.prefdisc.config import LoraSpec
from prefgen.prefdisc.lora import LORA_PREFIX, PEFT_PREFIX
from train.prefdisc.config import LoraConfig
from train.prefdisc.sharded import copy_full_tensor
from train.settings import SettingsError


def inject_lora(base: nn.Module, spec: LoraSpec, dropout: float = 0.0, init: str = "gaussian") -> None:
    """Inject a new LoRA into a base model, in place, and freeze everything else.

    The LoRA's weights are float32 on every base, because updates of 1e-5 would be rounded away in half precision.

    Args:
        base: The base model.
        spec: Rank, scaling and target modules.
        dropout: Dropout of the LoRA's input.
        init: Initialisation, see peft's `init_lora_weights`.

    Raises:
        SettingsError: No module matches the targets.
    """
    from peft import LoraConfig as PeftConfig
    from peft import inject_adapter_in_model

    targets = spec.target_modules if isinstance(spec.target_modules, str) else list(spec.target_modules)
    config = PeftConfig(
        r=spec.r, lora_alpha=spec.alpha, lora_dropout=dropout, init_lora_weights=init, target_modules=targets
    )
    try:
        inject_adapter_in_model(config, base)
    except ValueError as error:
        raise SettingsError(f"lora.target_modules does not match the base model ({error}).") from error
    for name, parameter in base.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.float()


def lora_spec(config: LoraConfig) -> LoraSpec:
    """Return the description of a LoRA for a checkpoint's header."""
    return LoraSpec(config.r, config.alpha, config.targets)


def lora_state_dict(base: nn.Module) -> dict[str, Tensor]:
    """Return the LoRA's tensors under their names in a checkpoint's prefdisc part. The names follow peft's files."""
    from peft import get_peft_model_state_dict

    return {f"{LORA_PREFIX}{PEFT_PREFIX}{name}": tensor for name, tensor in get_peft_model_state_dict(base).items()}


def load_lora(base: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy the tensors of a prefdisc part into an injected LoRA.

    Raises:
        CheckpointError: The names or the shapes of the tensors differ.
    """
    saved = {name: tensor for name, tensor in tensors.items() if name.startswith(LORA_PREFIX)}
    current = lora_state_dict(base)
    differing = set(current) ^ set(saved)
    if differing:
        raise CheckpointError(
            f"The checkpoint's LoRA differs from the configured one in {len(differing)} tensors (for example "
            f"{min(differing)}). Use the base model and the lora settings of the checkpoint."
        )
    for name, tensor in current.items():
        if tensor.shape != saved[name].shape:
            raise CheckpointError(
                f"{name} of the checkpoint has shape {tuple(saved[name].shape)}; expected {tuple(tensor.shape)}. Use "
                "the base model and the lora.r of the checkpoint."
            )
        copy_full_tensor(tensor, saved[name])
