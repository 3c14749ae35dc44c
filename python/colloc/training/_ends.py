"""Whether a run is over, and why, in one word; whether a stage is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from colloc.training.stage import end_of

if TYPE_CHECKING:
    from colloc.training.trainer import Trainer


def over_now(trainer: Trainer) -> str:
    """Why no further step follows the last one, apart from a target; "" where one does."""
    if trainer.state.step >= trainer.total_steps:
        return "steps"
    if trainer.interrupted:
        return "interrupted"
    if trainer._stopped:
        return "stopped"
    return "seconds" if trainer._out_of_time else ""


def over_before(trainer: Trainer) -> str:
    """Why a run that is resumed, or whose loop is entered again, has no step left to make."""
    state = trainer.state
    first = next(iter(state.errors.values()), math.inf)
    # An error from before the last steps says nothing of a target that is new.
    if state.ended == "target" and trainer.target is not None and first <= trainer.target:
        return "target"
    if state.step >= trainer.total_steps:
        return "steps"
    out_of_time = trainer.seconds is not None and state.seconds >= trainer.seconds
    return "seconds" if out_of_time else ""


def stage_over(trainer: Trainer) -> bool:
    """Whether the stage that a run is in has made its last step, and another one follows."""
    state = trainer.state
    if state.stage + 1 == len(trainer.stages):
        return False
    until = trainer.stages[state.stage].until
    # A run that is out of time ends in the stage where it is.
    early = until < 1.0 and trainer.fraction >= until
    return early or state.step >= end_of(trainer.stages, state, trainer.total_steps)
