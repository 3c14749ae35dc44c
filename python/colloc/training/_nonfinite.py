"""What a trainer does where a loss or a gradient is inf or NaN: it stops, or goes back."""

from __future__ import annotations

import copy
import warnings
from typing import TYPE_CHECKING

from colloc.training._state import restore
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
    what = f"step {step + 1}: not finite: {trainer._steps.problem}"
    again = trainer.on_nonfinite == "rollback" and trainer.rollbacks < 3
    if again or trainer._steps.deferred:  # a GPU's parameters are spoiled by now
        saved = _back(trainer)
    at = trainer.state.step
    if again:
        trainer.rollbacks += 1
        slow_down(trainer.stages, 0.5 ** (trainer.rollbacks - saved))
        warnings.warn(
            f"{what}. Back to step {at}, with {0.5**trainer.rollbacks:g} of the learning rate.",
            stacklevel=3,
        )
        return
    trainer.state.ended = "not finite"
    trainer._save()
    where = f" A checkpoint of step {at} is kept." if trainer._output.path is not None else ""
    raise NonFiniteError(
        f"{what}.{where} Try a smaller learning rate, clip=1.0, or look at that term."
    )


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
