"""What every balancer shares: names, weights as state, checks of the losses."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, distributed, nn

from colloc._checks import check_int, concrete, describe, fail, fail_type

#: Weights are at most this: its product with a float32 gradient is still a number.
LARGEST_WEIGHT = 1e30


class Balancer(nn.Module):
    """Base of the rules that turn named losses into one: ``total = sum_j w_j L_j``.

    A rule defines ``forward(losses, step=None, *, terms=None) -> Tensor`` of shape (). Its
    weights are the buffer ``weight`` (n,), in the order of ``names``, changed in place and
    saved by ``state_dict()`` together with the names, so that a resumed run continues as it
    was and a state of other losses is refused. State in float64 stays so under ``.float()``
    and ``.half()``. Under ``eval()`` weights do not move.

    Args:
        names: the losses' names, all different.
        weights: their first weights; None for a rule that computes ``weight`` from other state.
    """

    weight: Tensor

    def __init__(self, names: Iterable[str], weights: Iterable[float] | None) -> None:
        super().__init__()
        self.names = tuple(names)
        if weights is not None:
            self.register_buffer("weight", torch.tensor(list(weights), dtype=torch.float64))

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each named loss. Reading it waits for a GPU that holds the weights."""
        return dict(zip(self.names, self.weight.tolist(), strict=True))

    @property
    def _device(self) -> torch.device:
        return self.weight.device

    def update(
        self, losses: dict[str, Tensor], step: int | Tensor | None = None, *, terms: Any = None
    ) -> None:
        """Move the weights as a call does, without the total. Fixed weights stay."""

    def stacked(self, losses: Any) -> tuple[Tensor, torch.dtype]:
        """The losses (n,) in float64 and in the order of ``names``, and their common dtype.

        Raises:
            TypeError, ValueError: losses do not have exactly the names, are no 0-dimensional
                floating tensors, or are not where the balancer is.
        """
        check_losses(losses)
        check_known(self.names, losses)
        if len(losses) != len(self.names):
            fail(
                "losses",
                f"those that the balancer was made with, {', '.join(map(repr, self.names))}",
                "also " + ", ".join(repr(name) for name in losses if name not in self.names),
                "Name all losses when making the balancer.",
            )
        parts = [losses[name] for name in self.names]
        device = self._device
        if parts[0].device != device:
            fail(
                "losses",
                f"tensors on {device}, where the balancer is",
                f"tensors on {parts[0].device}",
                f"Move the balancer: balancer.to({str(parts[0].device)!r}).",
            )
        dtypes = {part.dtype for part in parts}
        if len(dtypes) == 1:
            return torch.stack(parts).to(torch.float64), parts[0].dtype
        dtype = functools.reduce(torch.promote_types, dtypes)
        return torch.stack([part.to(torch.float64) for part in parts]), dtype

    def get_extra_state(self) -> dict[str, Any]:
        """The rule and the losses' names, for ``state_dict()``."""
        return {"rule": type(self).__name__, "names": list(self.names)}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Nothing to set: it was compared before the weights were copied."""

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *args: Any, **options: Any
    ) -> None:
        # Refused here and not in set_extra_state, which torch calls after copying the weights.
        saved = state_dict.get(f"{prefix}_extra_state")
        if saved is not None and saved["rule"] != type(self).__name__:
            got, wanted = f"that of {saved['rule']}", f"the state of {type(self).__name__}"
            fail("state_dict", wanted, got, f"Load it into a {saved['rule']}.")
        if saved is not None and tuple(saved["names"]) != self.names:
            fail(
                "state_dict",
                f"the weights of the losses {list(self.names)}",
                f"those of {list(saved['names'])}",
                "Make the balancer with the same names, in the same order, as the saved one.",
            )
        super()._load_from_state_dict(state_dict, prefix, *args, **options)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        return keep_float64(self, lambda: super(Balancer, self)._apply(fn, recurse))

    def extra_repr(self) -> str:
        """The weights by name, for ``repr``."""
        return ", ".join(f"{name}={weight:.6g}" for name, weight in self.weights.items())


def keep_float64(module: nn.Module, apply: Any) -> Any:
    """Runs a module's ``_apply`` and gives its float64 state back its dtype and its digits."""
    before = {
        name: tensor.detach()
        for name, tensor in [*module.named_buffers(), *module.named_parameters()]
        if tensor.dtype == torch.float64
    }
    result = apply()
    for name, tensor in [*module.named_buffers(), *module.named_parameters()]:
        if name in before and tensor.dtype != torch.float64:
            tensor.data = before[name].to(tensor.device)
    return result


def check_losses(losses: Any) -> Mapping[str, Tensor]:
    """``losses`` if it maps at least one name to 0-dimensional floating tensors on one device."""
    if not isinstance(losses, Mapping):
        fail_type("losses", "a dict of names and 0-dimensional tensors", describe(losses))
    if not losses:
        fail("losses", "at least one named loss", "an empty dict")
    device = None
    for name, loss in losses.items():
        label, wanted = f"losses[{name!r}]", "a floating tensor of shape ()"
        if not isinstance(name, str):
            fail_type("losses", "names that are strings", name)
        if not isinstance(loss, Tensor) or not loss.is_floating_point():
            fail_type(label, wanted, describe(loss))
        if loss.ndim != 0:
            fail(label, wanted, loss, "Take its mean().")
        device = device or loss.device
        if loss.device != device:
            fail(label, f"a tensor on {device} as the losses before it", f"one on {loss.device}")
    return losses


def check_known(names: Iterable[str], losses: Mapping[str, Tensor]) -> None:
    """ValueError if a name with a weight is not among the losses."""
    missing = [name for name in names if name not in losses]
    if missing:
        fail(
            "losses",
            f"a loss for each weight, here {', '.join(map(repr, missing))} too",
            f"only {', '.join(map(repr, losses))}",
            "Rename the loss or the weight.",
        )


def check_names(names: Any) -> tuple[str, ...]:
    """``names`` as a tuple of at least one string, all different and none empty."""
    wanted = "different strings, at least one"
    if isinstance(names, str):
        fail_type("names", wanted, describe(names), f"Give a list: [{names!r}].")
    if not isinstance(names, Iterable):
        fail_type("names", wanted, describe(names))
    found = tuple(names)
    for name in found:
        if not isinstance(name, str):
            fail_type("names", wanted, describe(name))
    if not found or not all(found) or len(set(found)) != len(found):
        fail("names", f"{wanted}, none empty", f"{list(found)}")
    return found


def check_step(step: Any) -> int | Tensor | None:
    """``step`` if it is None, an integer >= 0 or an integer tensor of one entry."""
    if step is None:
        return None
    if not isinstance(step, Tensor):
        return check_int("step", step, minimum=0)
    wanted = "None, an integer >= 0 or an integer tensor of shape ()"
    if step.dtype == torch.bool or step.is_floating_point() or step.is_complex():
        fail_type("step", wanted, step)
    if step.numel() != 1:
        fail("step", wanted, step)
    if concrete(step) and int(step) < 0:
        fail("step", wanted, str(int(step)))
    return step.reshape(())


def process_count(group: Any = None) -> int:
    """How many processes share the weights: those of torch.distributed, where it has begun."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return 1
    return distributed.get_world_size(group)


def averaged(values: Tensor, group: Any = None) -> Tensor:
    """The mean of every process' ``values``, the same in all of them."""
    count = process_count(group)
    if count == 1:
        return values
    total = values.detach().clone()
    distributed.all_reduce(total, group=group)
    return total / count


def pinned(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """A copy of ``first`` and ``second`` itself, for use where their sources change in place.

    They are different tensors of one shape, and the second is no buffer.
    torch.compile may compute what a backward needs again from its sources, without a look at
    whether they have changed by then: buffers are free to keep, and an update in place is not
    seen. What comes out of a concatenation it always keeps, unless that is of a tensor with
    itself.
    """
    if not torch.compiler.is_compiling():
        return first.clone(), second
    both = torch.stack([first, second])
    return both[0], both[1]


class _GivenGradient(torch.autograd.Function):
    """A value whose gradient by a parameter was computed beside it."""

    @staticmethod
    def forward(ctx: Any, parameter: Tensor, value: Tensor, gradient: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(gradient)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
        (gradient,) = ctx.saved_tensors
        return grad * gradient, None, None


def given_gradient(parameter: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
    """``value``, a tensor (), whose derivative by ``parameter`` is ``gradient``."""
    return cast(Tensor, _GivenGradient.apply(parameter, value, gradient))
