"""What depends on the points alone is computed once for each set of them."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import torch
from torch import Tensor

from colloc._checks import under_fake_tensors
from colloc.jets import Jet

#: A tuple of jets or None.
_Jets = TypeVar("_Jets", bound="tuple[Jet | None, ...]")


class Kept:
    """Values of the last few sets of points.

    Sets are told apart by their tensors' identity, version and place in memory: another tensor
    and one that was written to are noticed. Sets of points that are gone are let go. Copies and
    pickles are empty.

    Args:
        most: how many sets, if they are not larger than ``size`` together.
        size: bytes.
        least: how many sets whatever their size.
    """

    def __init__(self, most: int, size: int, least: int) -> None:
        self.most, self.size, self.least = most, size, least
        self._found: OrderedDict[Any, tuple[Any, Any, dict[Hashable, Any]]] = OrderedDict()

    def get(
        self,
        key: Hashable,
        x: Tensor,
        piece: Tensor | None,
        build: Callable[[], _Jets],
        store: bool = True,
        of: tuple[object, ...] = (),
    ) -> _Jets:
        """What ``build()`` gives for these points; what requires grad is made every time.

        Args:
            store: whether it may be kept now.
            of: what it is made of besides, told apart by identity: others take its place. They
                are held, as another object may get the id of one that is gone.
        """
        names = (id(x), id(piece))
        found = self._found.get(names)
        known = found is not None and _is(found[0], x) and _is(found[1], piece)
        values: dict[Hashable, Any] = found[2] if found is not None and known else {}
        if key in values:
            before: tuple[object, ...]
            kept: _Jets
            before, kept = values[key]
            if len(before) == len(of) and all(a is b for a, b in zip(before, of, strict=True)):
                self._found.move_to_end(names)
                return kept
            del values[key]
        value = build()
        if not store or any(one is not None and _changes(one.components) for one in value):
            return value
        values[key] = of, value
        for gone in [one for one, (mark, *_) in self._found.items() if mark[0]() is None]:
            del self._found[gone]
        self._found[names] = (_mark(x), _mark(piece), values)
        self._found.move_to_end(names)
        while len(self._found) > self.least and (
            len(self._found) > self.most or self._bytes() > self.size
        ):
            self._found.popitem(last=False)
        return value

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_found": OrderedDict()}

    def _bytes(self) -> int:
        jets = (
            one for *_, sets in self._found.values() for _, found in sets.values() for one in found
        )
        return sum(one.components.nbytes for one in jets if one is not None)


def may_keep(x: Tensor) -> bool:
    """Whether values at these points can be kept: an ordinary tensor without gradients."""
    if torch.compiler.is_compiling() or x.requires_grad or torch.is_inference_mode_enabled():
        return False
    if under_fake_tensors():
        return False
    if x.is_cuda and torch.cuda.is_current_stream_capturing():
        return False  # replays have other points: what was kept before would stay in the graph
    return not (x.is_inference() or torch._C._functorch.is_functorch_wrapped_tensor(x))


def _changes(values: Tensor) -> bool:
    """Whether values depend on what is trained or transformed."""
    return values.requires_grad or torch._C._functorch.is_functorch_wrapped_tensor(values)


def _mark(tensor: Tensor | None) -> Any:
    return None if tensor is None else (weakref.ref(tensor), tensor._version, tensor.data_ptr())


def _is(mark: Any, tensor: Tensor | None) -> bool:
    if mark is None or tensor is None:
        return mark is None and tensor is None
    return mark[0]() is tensor and mark[1:] == (tensor._version, tensor.data_ptr())


def nothing_hidden() -> bool:
    """Whether what is trained would show in values made now, and nothing rounds them."""
    return torch.is_grad_enabled() and not (
        torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda")
    )
