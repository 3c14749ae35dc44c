"""Unknown coefficients: parameters that an optimiser changes and no module has, by name or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from colloc._checks import describe, fail, fail_type
from colloc.training._state import modules_of, tensors_of
from colloc.training.stage import Stage

if TYPE_CHECKING:
    from colloc.training.trainer import Trainer


def check_parameters(parameters: Any, stages: Sequence[Stage]) -> dict[str, Tensor]:
    """Unknown coefficients by name, each of them in an optimiser."""
    if parameters is None:
        return {}
    if not isinstance(parameters, (Mapping, nn.ParameterDict)):
        fail_type("parameters", "None or a dict of unknown coefficients by name",
                  describe(parameters), "Write {'k': k}.")  # fmt: skip
    trained = {id(p) for stage in stages for p in stage.parameters()}
    names: dict[int, str] = {}
    for name, p in parameters.items():
        if not isinstance(name, str) or not name:
            fail("parameters", "names that are strings, not empty", describe(name))
        label = f"parameters[{name!r}]"
        if not isinstance(p, Tensor):
            fail_type(label, "a torch.nn.Parameter", describe(p))
        if id(p) not in trained:
            fail(label, "a parameter that an optimiser changes", "one that none has",
                 "Make it with [*net.parameters(), *parameters.values()].")  # fmt: skip
        if id(p) in names:
            fail(label, "a parameter with one name", f"that of {names[id(p)]!r}")
        names[id(p)] = name
    return dict(parameters.items())


def unknowns(trainer: Trainer, named: bool) -> list[Tensor]:
    """What optimisers change and no module of the run has, in their order.

    Args:
        trainer: of the run.
        named: whether those that have a name are among them.
    """
    known = tensors_of(trainer.net) | tensors_of(trainer.balancer)
    for module, _ in modules_of(trainer).values():
        known |= tensors_of(module)
    if not named:
        known |= {id(p) for p in trainer.parameters.values()}
    return [p for p in trainer._steps.parameters if id(p) not in known]


def places(stage: Stage, parameters: Mapping[str, Tensor]) -> dict[str, int]:
    """Where in the optimiser's order those with a name are: its state goes by that order."""
    names = {id(p): name for name, p in parameters.items()}
    return {names[id(p)]: k for k, p in enumerate(stage.parameters()) if id(p) in names}


def check_found(trainer: Trainer, found: dict[str, Any]) -> None:
    """Whether unknown coefficients are those of a checkpoint.

    Raises:
        ValueError: other names, shapes or places in an optimiser.
    """
    theirs = found.get("named_parameters", {})
    if theirs:
        mine = trainer.parameters
        shapes = _shapes(theirs), _shapes(mine)
        if shapes[0] != shapes[1]:
            wanted, got = (_listed(one) or "none" for one in shapes)
            fail("parameters", f"the checkpoint's {wanted}", got,
                 "Name them as the run did that wrote it.")  # fmt: skip
        for k, (stage, state) in enumerate(zip(trainer.stages, found["stages"], strict=False)):
            now, then = places(stage, mine), state.get("places", {})
            if now != then:
                name = "optimizer" if len(trainer.stages) == 1 else f"optimizer[{k}]"
                fail(name, f"parameters at the checkpoint's places, {_listed(then) or 'none'}",
                     _listed(now) or "none", "Its state goes by their order: give them as the "
                     "run did that wrote it.")  # fmt: skip
    values = found.get("parameters", [])
    others = [tuple(p.shape) for p in unknowns(trainer, named=not theirs)]
    saved = [tuple(p.shape) for p in values]
    if others != saved and "parameters" in found:
        more = " that have no name" if theirs else ""
        wanted = f"one with the checkpoint's parameters beside the network{more}, {saved}"
        fail("optimizer", wanted, f"shapes {others}")


@torch.no_grad()
def load_found(trainer: Trainer, found: dict[str, Any]) -> None:
    """The values of a checkpoint; one without names has them in the order of the optimisers."""
    theirs = found.get("named_parameters", {})
    for name, value in theirs.items():
        trainer.parameters[name].copy_(value)
    values = found.get("parameters", [])
    for p, value in zip(unknowns(trainer, named=not theirs), values, strict=False):
        p.copy_(value)


def numbers(parameters: Mapping[str, Tensor]) -> dict[str, float]:
    """The values of those with one element."""
    return {name: float(p.detach()) for name, p in parameters.items() if p.numel() == 1}


def _shapes(parameters: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(parameters[name].shape) for name in sorted(parameters)}


def _listed(found: Mapping[str, Any]) -> str:
    return ", ".join(f"{name!r}: {value}" for name, value in found.items())
