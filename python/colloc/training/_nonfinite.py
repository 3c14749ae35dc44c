"""What a trainer does where a loss or a gradient is inf or NaN: it stops, or goes back."""

from __future__ import annotations

import copy
import warnings
from typing import TYPE_CHECKING

from colloc.training._bad_rows import BadRows, bad_rows
from colloc.training._saved import restore
from colloc.training._steps import GRADIENTS
from colloc.training.stage import slow_down

if TYPE_CHECKING:
    from colloc.training.trainer import Trainer


class NonFiniteError(RuntimeError):
    """A loss or a gradient was inf or NaN; the run stopped before the step that it spoils."""


def stop_or_go_back(trainer: Trainer, step: int) -> None:
    """Stop before a step that is not finite, or go back.

    Raises:
        NonFiniteError: the run is not to go back, or not again.
    """
    what = f"step {step + 1}: not finite: {trainer._steps.problem}."
    again = trainer.on_nonfinite == "rollback" and trainer.rollbacks < 3
    deferred = trainer._steps.deferred
    found: list[BadRows] = []
    if again and not deferred:  # going back takes back what the evaluation changes
        found = bad_rows(trainer)
    if again or deferred:  # a GPU's parameters are spoiled by now
        saved = _back(trainer)
    at = trainer.state.step
    if trainer._steps.problem.startswith(GRADIENTS):  # it went down with them, for nothing
        trainer.precision.scale_anew()
    if again:
        trainer.rollbacks += 1
        slow_down(trainer.stages, 0.5 ** (trainer.rollbacks - saved))
        warnings.warn(
            f"{what}{_said(found)} Back to step {at}, with {0.5**trainer.rollbacks:g} of the "
            "learning rate.",
            stacklevel=3,
        )
        return
    trainer.state.ended = "not finite"
    trainer._save()
    if at == step:  # a GPU may have gone back further: other parameters
        found = bad_rows(trainer)
    where = f" A checkpoint of step {at} is kept." if trainer._output.path is not None else ""
    raise NonFiniteError(f"{what}{_said(found)}{where} {_advice(trainer, step, found)}")


def _said(found: list[BadRows]) -> str:
    return "".join(f" {one}" for one in found)


def _advice(trainer: Trainer, step: int, found: list[BadRows]) -> str:
    """What to try: before the first step no learning rate is to blame."""
    some = [one for one in found if one.some]
    there = ""
    if some:
        there = "write the residual there in another form"
        if any(one.unscrambled for one in some):
            there = (
                "give the sampler, or sample, seed=0 (an unscrambled sequence begins with the "
                f"corner of the domain), or {there}"
            )
    elif trainer._steps.problem.startswith(GRADIENTS):
        there = "look for what has no finite derivative in a residual, like torch.sqrt at 0"
    if step == 0:
        if there:
            return f"No step was made before: {there}."
        return "No step was made before: look at that term, its points and the network's values."
    stage = trainer.stages[trainer.state.stage]
    clip = "" if stage.needs_closure or stage.clip is not None else " clip=1.0,"
    return f"Try a smaller learning rate,{clip} or {there or 'look at that term'}."


def _back(trainer: Trainer) -> int:
    """To the last checkpoint, or to the beginning; how often the rate was halved there."""
    found = trainer._output.newest()
    # A copy, for what is loaded may become the optimiser's own.
    found = copy.deepcopy(trainer._first) if found is None else found
    restore(trainer, found)
    trainer.state.ended = ""
    trainer._output.forget_after(trainer.state.step)
    trainer._points_of = None
    trainer._steps.forget_graphs()
    return int(found["rollbacks"])
