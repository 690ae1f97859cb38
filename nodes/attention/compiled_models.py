"""Makes patches take effect on compiled MODELs.

ComfyUI compiles with a filter that drops all guards on transformer_options, which contains the patches. A compiled UNet
therefore ignores patches that are added later, even in other prompts, because PyTorch caches compiled code by function
and backend. While a personalised MODEL is sampled, its modules are compiled with all guards and a different backend.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from comfy_api.torch_helpers.torch_compile import TORCH_COMPILE_KWARGS
from torch import Tensor, nn

_KEY = "prefgen_compile"


def keep_guards(model: ModelPatcher) -> None:
    """Patch `model` in place, so that it is compiled with all guards while it is sampled.

    This has no effect unless a node compiles the MODEL, before or after this call.
    """
    if not model.get_wrappers(WrappersMP.OUTER_SAMPLE, _KEY):
        model.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, _KEY, _replace_compiled_modules)


@dataclass(frozen=True)
class GuardedBackend:
    """A torch.compile backend whose compiled code PyTorch caches separately from that of other backends.

    Attributes:
        name: Name of the PyTorch backend that does the work.
        mode: Mode of the inductor backend.
        options: Options of the backend.
    """

    name: str
    mode: str | None = None
    options: tuple[tuple[str, object], ...] = ()

    def __call__(self, graph: nn.Module, inputs: list[Tensor]) -> Callable:
        from torch._dynamo import lookup_backend

        if self.name != "inductor":
            return lookup_backend(self.name)(graph, inputs, **dict(self.options))
        from torch._inductor import list_mode_options

        patches = (list_mode_options(self.mode) if self.mode else {}) | dict(self.options)
        return lookup_backend(self.name)(graph, inputs, config_patches=patches)

    @classmethod
    def from_settings(cls, settings: dict) -> GuardedBackend:
        """Create the backend from the arguments of torch.compile that core keeps in a MODEL's options."""
        options = {name: value for name, value in (settings.get("options") or {}).items() if name != "guard_filter_fn"}
        mode = settings.get("mode")
        return cls(settings["backend"], None if mode == "default" else mode, tuple(options.items()))


def _replace_compiled_modules(executor, *args, **kwargs) -> Tensor:
    """Wrap OUTER_SAMPLE: add the innermost APPLY_MODEL wrapper to the options of this sampling."""
    options = executor.class_obj.model_options
    if settings := options.get(TORCH_COMPILE_KWARGS):
        wrappers = options["transformer_options"].setdefault("wrappers", {})
        wrappers.setdefault(WrappersMP.APPLY_MODEL, {})[_KEY] = [CompileWithGuards(settings)]
    return executor(*args, **kwargs)


class CompileWithGuards:
    """An APPLY_MODEL wrapper that recompiles the compiled modules of a model with all guards."""

    def __init__(self, settings: dict) -> None:
        self.settings = settings
        self.replacements: dict[nn.Module, nn.Module] = {}

    def __call__(self, executor, *args, **kwargs) -> Tensor:
        from torch._dynamo import OptimizedModule

        model = executor.class_obj
        compiled = {name: module for name, module in model.named_modules() if isinstance(module, OptimizedModule)}
        try:
            for name, module in compiled.items():
                comfy.utils.set_attr(model, name, self._replacement(module._orig_mod))
            return executor(*args, **kwargs)
        finally:
            for name, module in compiled.items():
                comfy.utils.set_attr(model, name, module)

    def _replacement(self, module: nn.Module) -> nn.Module:
        if module not in self.replacements:
            self.replacements[module] = torch.compile(
                module,
                backend=GuardedBackend.from_settings(self.settings),
                fullgraph=self.settings.get("fullgraph", False),
                dynamic=self.settings.get("dynamic"),
            )
        return self.replacements[module]
