"""What every op's registration needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.autograd import forward_ad

from colloc import _load

#: The largest integer an op takes.
LARGEST_INT = 2**63 - 1

#: Registrations of the package; torch drops them when the object dies.
library = torch.library.Library("colloc", "IMPL")


def forward_mode_active() -> bool:
    """Whether a forward-mode level is active (jvp, jacfwd, dual numbers).

    Under torch.compile dynamo enters the level while it traces, and guards this number: a
    function compiled outside a level is compiled anew inside one.
    """
    return bool(forward_ad._current_level >= 0)


_plain_formulas = False


#: Of ops whose derivatives in plain torch need the algebra of jets; colloc.boundary has them.
jet_formulas: dict[str, Callable[..., torch.Tensor]] = {}


@contextmanager
def plain_formulas() -> Iterator[None]:
    """Every wrapper that has a plain torch formula runs that: for graphs that are used without
    this package."""
    global _plain_formulas  # noqa: PLW0603 - switched for the time of an export
    before, _plain_formulas = _plain_formulas, True
    try:
        yield
    finally:
        _plain_formulas = before


def plain_formulas_wanted() -> bool:
    """Whether :func:`plain_formulas` is in force."""
    return _plain_formulas


def formula_needed(device: torch.device) -> bool:
    """Whether a wrapper must run the plain torch formula instead of its op.

    That is: where the library has no kernel; in forward mode, where an op with registered
    autograd silently returns tangents of 0; inside torch.compile under a ``torch.func``
    transform, where torch can trace neither such an op nor the ``torch.autograd.Function``
    that serves outside of it; and where :func:`plain_formulas` asks for it.
    """
    if _plain_formulas or forward_mode_active() or not has_kernel(device):
        return True
    return torch.compiler.is_compiling() and bool(torch._C._are_functorch_transforms_active())


def has_kernel(device: torch.device) -> bool:
    """Whether the library has kernels for this kind of device."""
    return device.type in ("cpu", "meta") or (device.type == "cuda" and _load.cuda_problem is None)


def default_device() -> torch.device:
    """Torch's default device, also inside torch.compile."""
    if torch.compiler.is_compiling():
        return torch.empty(0).device
    return torch.get_default_device()


def usable_device(name: str, device: torch.device | str | None) -> torch.device:
    """``device`` (None: torch's default) if this torch can put tensors there."""
    where = default_device() if device is None else torch.device(device)
    if where.type == "cuda" and not torch.cuda.is_available():
        why = "this torch is built without CUDA" if torch.version.cuda is None else "it sees no GPU"
        raise RuntimeError(
            f"{name}: expected a device that torch can use, got {where}: {why}. Use 'cpu', or see "
            "`colloc info`."
        )
    return where


def _out_of_memory(n: int, dim: int, dtype: torch.dtype) -> MemoryError:
    size = n * dim * dtype.itemsize
    return MemoryError(
        f"n: expected a number of points that memory holds, got {n}: ({n}, {dim}) of "
        f"{str(dtype).removeprefix('torch.')} takes {size} bytes ({size / 2**30:.4g} GiB). "
        "Use a smaller n, or chunks: start continues a sequence where the last one ended."
    )


@contextmanager
def memory_for(n: int, dim: int, dtype: torch.dtype) -> Iterator[None]:
    """Turns a failed allocation of n points into a MemoryError that says how much was wanted."""
    if n * dim * dtype.itemsize > LARGEST_INT:
        raise _out_of_memory(n, dim, dtype)
    try:
        yield
    except RuntimeError as error:
        # The second is all that a failure inside an op of the stable ABI says.
        if any(text in str(error) for text in ("DefaultCPUAllocator", '"aten::empty"')):
            raise _out_of_memory(n, dim, dtype) from error
        raise


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


#: Calls ops without their autograd layer, where a ``torch.autograd.Function`` has taken its part.
below_autograd = torch._C._AutoDispatchBelowAutograd


def one_by_one(op: Any) -> Any:
    """The vmap rule of an op whose examples are run one after the other.

    Arguments and results may be tensors and lists of tensors.
    """

    def pick(value: Any, dim: Any, i: int) -> Any:
        if isinstance(value, (list, tuple)) and isinstance(dim, (list, tuple)):
            return [pick(one, d, i) for one, d in zip(value, dim, strict=True)]
        return (
            value.select(dim, i) if isinstance(value, torch.Tensor) and dim is not None else value
        )

    def stack(results: list[Any]) -> Any:
        if isinstance(results[0], torch.Tensor):
            return torch.stack(results), 0
        pairs = [stack(list(parts)) for parts in zip(*results, strict=True)]
        kind = type(results[0])
        return kind(value for value, _ in pairs), kind(dim for _, dim in pairs)

    def rule(info: Any, in_dims: Any, *inputs: Any) -> Any:
        results = []
        for i in range(info.batch_size):
            example = (pick(v, d, i) for v, d in zip(inputs, in_dims, strict=True))
            results.append(op(*example))
        return stack(results)

    return rule


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
