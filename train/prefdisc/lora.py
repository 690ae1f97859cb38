"""The low-rank adapter: laid over a base model by peft, and its tensors as a preference checkpoint holds them."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from prefgen.errors import CheckpointError
from prefgen.prefdisc.config import LoraSpec
from prefgen.prefdisc.lora import OUTER, PREFIX
from train.prefdisc.config import LoraConfig
from train.prefdisc.sharded import fill
from train.settings import SettingsError


def lay_lora(base: nn.Module, spec: LoraSpec, dropout: float = 0.0, init: str = "gaussian") -> None:
    """Put a new LoRA into `base`, in place: it alone is trainable then. Raises SettingsError where nothing matches.

    Its weights are float32 whatever the base's are: steps of 1e-5 would be rounded away in half precision.
    """
    from peft import LoraConfig as PeftConfig
    from peft import inject_adapter_in_model

    targets = spec.target_modules if isinstance(spec.target_modules, str) else list(spec.target_modules)
    wanted = PeftConfig(
        r=spec.r, lora_alpha=spec.alpha, lora_dropout=dropout, init_lora_weights=init, target_modules=targets
    )
    try:
        inject_adapter_in_model(wanted, base)
    except ValueError as error:
        raise SettingsError(f"The LoRA does not fit the base model ({error}): correct lora.target_modules.") from error
    for name, parameter in base.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.float()


def lora_spec(config: LoraConfig) -> LoraSpec:
    """What a checkpoint's header says of it."""
    return LoraSpec(config.r, config.alpha, config.targets)


def lora_tensors(base: nn.Module) -> dict[str, Tensor]:
    """The LoRA's tensors under the names of a checkpoint's prefdisc part, which are those of peft's own files."""
    from peft import get_peft_model_state_dict

    return {f"{PREFIX}{OUTER}{name}": tensor for name, tensor in get_peft_model_state_dict(base).items()}


def load_lora(base: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Fill a laid LoRA from a prefdisc part's tensors. Raises CheckpointError where they are not the very same ones."""
    given = {name: tensor for name, tensor in tensors.items() if name.startswith(PREFIX)}
    laid = lora_tensors(base)
    differing = set(laid) ^ set(given)
    if differing:
        raise CheckpointError(
            f"The checkpoint's LoRA and the one that is laid differ in {len(differing)} tensors "
            f"(such as {min(differing)}): it was made for another base, or with other lora settings."
        )
    for name, tensor in laid.items():
        if tensor.shape != given[name].shape:
            raise CheckpointError(
                f"The checkpoint's {name} is {tuple(given[name].shape)}, the LoRA that is laid has "
                f"{tuple(tensor.shape)}: it was made for another base, or with another lora.r."
            )
        fill(tensor, given[name])
