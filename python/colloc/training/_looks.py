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
    """What ``evaluate`` finds now; one that is extra, as the run stops, leaves random numbers."""
    assert trainer.evaluate is not None
    kept = random_state() if extra else None
    try:
        errors = checks.check_errors(trainer.evaluate())
    except Exception:
        if trainer.processes.count == 1 and trainer._steps.first_bad() is None:
            trainer._save()  # the step is whole
        raise
    if kept is not None:
        set_random_state(kept)
    trainer.state.errors, trainer.state.errors_step = errors, trainer.state.step


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
