"""What a trainer looks at between steps: errors, and a line of metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from colloc.training import _trainer_checks as checks
from colloc.training._parameters import numbers
from colloc.training._state import memory, random_state, set_random_state
from colloc.training.progress import Progress

if TYPE_CHECKING:
    from colloc.training.trainer import Trainer


#: ``state.ended`` where a step could not be looked at.
_FAILED = "evaluate failed"


def intervals(trainer: Trainer) -> tuple[int, int]:
    """Steps between lines of metrics and between evaluations, in the stage that a run is in."""
    stage = trainer.stages[trainer.state.stage]
    log_every = trainer.log_every if stage.log_every is None else stage.log_every
    if stage.evaluate_every is not None:
        return log_every, stage.evaluate_every
    # Where it was not given it is log_every: the stage's, too.
    given = trainer._evaluates_apart or stage.log_every is None
    return log_every, trainer.evaluate_every if given else log_every


@torch.no_grad()
def look_for_errors(trainer: Trainer, extra: bool) -> None:
    """What ``evaluate`` finds now; one that is extra, as the run stops, leaves random numbers.

    Where it fails, the step is saved, and it is looked at when the run goes on (:func:`owed`).
    """
    assert trainer.evaluate is not None
    kept = random_state()
    try:
        errors = checks.check_errors(trainer.evaluate())
    except Exception:
        if trainer.processes.count == 1 and trainer._steps.first_bad() is None:
            set_random_state(kept)  # as they were for it
            trainer.state.ended = _FAILED
            trainer._save()  # the step is whole
        raise
    if extra:
        set_random_state(kept)
    trainer.state.errors, trainer.state.errors_step = errors, trainer.state.step


def owed(trainer: Trainer) -> bool:
    """Whether ``evaluate`` failed at the last step, of this run or of the one that it resumes, so
    that errors, target and a line of metrics are still to come."""
    if trainer.state.ended != _FAILED:
        return False
    trainer.interrupted = trainer._stopped = False
    out_of_time = trainer.seconds is not None and trainer.state.seconds >= trainer.seconds
    trainer._out_of_time = out_of_time
    return True


def look_again(trainer: Trainer, bar: Progress | None) -> bool:
    """The look that was owed, and its step saved with it; whether the run is over."""
    over = trainer._look(bar)
    trainer._saved = -1
    trainer._save()
    return over


def broken(trainer: Trainer) -> bool:
    """Whether a sampler that failed has looked at a field that is not finite: a parameter or a
    loss is not, on the points that are there."""
    tensors = [*trainer.net.parameters(), *trainer._steps.parameters]
    if not all(bool(torch.isfinite(one).all()) for one in tensors):
        return trainer.processes.count == 1 or not trainer._steps.deferred
    # In several processes the losses may wait for the others.
    if trainer.processes.count > 1:
        return False
    kept = random_state()
    finite = trainer._losses.finite()
    set_random_state(kept)
    return not finite


def log(trainer: Trainer, bar: Progress | None) -> None:
    """A line of metrics, with the means of all processes."""
    state = trainer.state
    stacked = torch.stack([*state.losses.values(), state.total]).to(torch.float64)
    *losses, total = trainer.processes.average(stacked).tolist()
    row: dict[str, Any] = {
        "step": state.step,
        "seconds": round(state.seconds, 4),
        "learning_rate": float(state.learning_rate),
        "loss": total,
        "losses": dict(zip(state.losses, losses, strict=True)),
        "weights": state.weights,
        "errors": state.errors,
        "errors_step": state.errors_step,
        "parameters": numbers(trainer.parameters),
        "memory": memory(trainer.device),
    }
    trainer._output.log(row)
    if bar is not None:
        shown = dict(list(state.errors.items())[:2])
        bar.update(trainer.fraction, state.step, loss=total, **shown)
