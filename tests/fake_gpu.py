"""A GPU that computes nothing: shapes and devices are as on a real one, so that a batch left on the CPU is found.

PyTorch's own fake tensors; a real GPU would say the same, and most machines that run tests have none.
"""

from __future__ import annotations

from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.overrides import TorchFunctionMode

GPU = torch.device("cuda", 0)


class FakeGpu(TorchFunctionMode):
    """Within it `.to("cuda")` works anywhere, and whoever mixes devices gets the error that a GPU would give. What is
    on the CPU has its values as ever; there is no backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.fake = FakeTensorMode(allow_non_fake_inputs=True)
        self.modules = patch.object(nn.Module, "to", lambda module, *_, **__: self._move(module))

    def __enter__(self) -> FakeGpu:
        self.modules.start()
        return super().__enter__()

    def __exit__(self, *error) -> None:
        super().__exit__(*error)
        self.modules.stop()

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if any(_on_gpu(value) for value in (*args, *kwargs.values())):
            with self.fake:
                return function(*args, **kwargs)
        return function(*args, **kwargs)

    def _move(self, module: nn.Module) -> nn.Module:
        for part in module.modules():
            for name, parameter in part._parameters.items():
                if parameter is not None:
                    part._parameters[name] = nn.Parameter(self._there(parameter), parameter.requires_grad)
            for name, buffer in part._buffers.items():
                if buffer is not None:
                    part._buffers[name] = self._there(buffer)
        return module

    def _there(self, tensor: Tensor) -> Tensor:
        return tensor if isinstance(tensor, FakeTensor) else self.fake.from_tensor(tensor.detach()).to(GPU)


def _on_gpu(value: object) -> bool:
    if isinstance(value, str):
        return value.startswith("cuda")
    return isinstance(value, FakeTensor) or (isinstance(value, torch.device) and value.type == "cuda")
