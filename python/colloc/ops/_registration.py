"""What every op's registration needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.autograd import forward_ad

from colloc import _load

#: Registrations of the package; torch drops them when the object dies.
library = torch.library.Library("colloc", "IMPL")


def forward_mode_active() -> bool:
    """Whether a forward-mode level is active (jvp, jacfwd, dual numbers), outside compile.

    An op with registered autograd silently returns tangents of 0 there, so the wrappers run
    the plain torch formula instead.
    """
    if torch.compiler.is_compiling():
        return False
    return bool(forward_ad._current_level >= 0)


def has_kernel(device: torch.device) -> bool:
    """Whether the library has kernels for this kind of device."""
    return device.type in ("cpu", "meta") or (device.type == "cuda" and _load.cuda_problem is None)


def default_device() -> torch.device:
    """Torch's default device, also inside torch.compile."""
    if torch.compiler.is_compiling():
        return torch.empty(0).device
    return torch.get_default_device()


def check_device(name: str, device: torch.device) -> None:
    """Refuse a device that the library has no kernels for, saying what to do."""
    if has_kernel(device):
        return
    if device.type == "cuda":
        raise RuntimeError(
            f"{name}: expected a device that colloc has kernels for, got {device}: "
            f"{_load.cuda_problem}. `colloc info` shows the state of the installation."
        )
    raise RuntimeError(
        f"{name}: expected a CPU or CUDA device, got {device}. Move the data there first."
    )


def register_backend_select(op: Any, device_argument: int) -> None:
    """Dispatch an op without tensor arguments by its device argument."""

    def select(keyset: Any, *args: Any, **kwargs: Any) -> Any:
        device = torch.device(args[device_argument])
        key = getattr(torch._C.DispatchKey, torch._C._dispatch_key_for_device(device.type))
        return op.redispatch(torch._C.DispatchKeySet(key), *args, **kwargs)

    name = op._schema.name.split("::")[1]
    library.impl(name, select, "BackendSelect", with_keyset=True)


class DifferentiableOp:
    """A compiled op with its autograd and vmap rules, callable from every transform.

    ``torch.library.register_autograd`` serves plain autograd and ``torch.compile``, but under
    ``torch.func`` (grad, jacrev, vmap of them) torch refuses ops registered that way; there the
    same rules are run through a ``torch.autograd.Function``.

    Args:
        name: the op's name in the ``colloc`` namespace.
        setup_context: ``(ctx, inputs, output)``, saves what the backward needs.
        backward: ``(ctx, *grads)`` -> a gradient or None for every input.
        vmap: ``(info, in_dims, *inputs)`` -> outputs and their out_dims.
    """

    def __init__(
        self,
        name: str,
        setup_context: Callable[..., None],
        backward: Callable[..., Any],
        vmap: Callable[..., Any],
    ) -> None:
        qualified = f"colloc::{name}"
        self.op = getattr(torch.ops.colloc, name).default
        torch.library.register_autograd(qualified, backward, setup_context=setup_context)
        torch.library.register_vmap(qualified, vmap)
        op = self.op
        self.function: Any = type(
            f"colloc_{name}",
            (torch.autograd.Function,),
            {
                "forward": staticmethod(lambda *inputs: op(*inputs)),
                "setup_context": staticmethod(setup_context),
                "backward": staticmethod(backward),
                "vmap": staticmethod(vmap),
            },
        )

    def __call__(self, *inputs: Any) -> Any:
        """Run the op on its positional inputs."""
        if not torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active():
            return self.function.apply(*inputs)
        return self.op(*inputs)
