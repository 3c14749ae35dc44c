"""What a checkpoint of a run holds: collected, compared with another run, and loaded."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from colloc import _C
from colloc._checks import fail
from colloc.training import _parameters
from colloc.training._state import modules_of, points_of, random_state, set_random_state
from colloc.training.checkpoint import serialised

if TYPE_CHECKING:
    from colloc.training.trainer import Trainer

FORMAT = 1


def check_saved(state: dict[str, Any]) -> None:
    """Whether a checkpoint of this will load.

    Raises:
        TypeError: it will not; the message names the part.
    """
    for name, part in state.items():
        serialised({name: part}, name)


def collect(trainer: Trainer) -> dict[str, Any]:
    """All of a run, as a checkpoint holds it; in all processes, as each has random numbers
    and losses of its own."""
    state = trainer.state
    samplers = {}
    for name, sampler in trainer.samplers.items():
        state_dict = getattr(sampler, "state_dict", None)
        if callable(state_dict):
            samplers[name] = state_dict()
    mine = {
        "random": random_state(),
        "losses": {name: _kept(loss) for name, loss in state.losses.items()},
        "total": _kept(state.total),
    }
    each = trainer.processes.gather(mine)
    return {
        "format": FORMAT,
        "step": state.step,
        "seconds": state.seconds,
        "stage": [state.stage, state.stage_start],
        "learning_rate": float(state.learning_rate),
        "last": [{"losses": one["losses"], "total": one["total"]} for one in each],
        "errors": dict(state.errors),
        "errors_step": state.errors_step,
        "ended": state.ended,
        "rollbacks": trainer.rollbacks,
        "net": trainer.net.state_dict(),
        "stages": [
            stage.state_dict() | {"places": _parameters.places(stage, trainer.parameters)}
            for stage in trainer.stages
        ],
        "balancer": trainer.balancer.state_dict(),
        "modules": {name: mine for name, (_, mine) in modules_of(trainer).items()},
        "parameters": [p.detach() for p in _parameters.unknowns(trainer, named=False)],
        "named_parameters": {name: p.detach() for name, p in trainer.parameters.items()},
        "points": points_of(trainer),
        "scaler": trainer.precision.state_dict(),
        "samplers": samplers,
        "terms": [term.name for term in trainer.terms],
        "processes": trainer.processes.count,
        "random": [one["random"] for one in each],
        "config": trainer.config,
        "versions": {"colloc": _C.build_info()["version"], "torch": str(torch.__version__)},
    }


def restore(trainer: Trainer, found: dict[str, Any]) -> None:
    """Make a run what it was when :func:`collect` was called.

    Raises:
        ValueError: the checkpoint is of another problem, or of no trainer.
    """
    if found.get("format") != FORMAT:
        got = f"one of format {found.get('format')!r}"
        fail("output", f"a checkpoint of a trainer, format {FORMAT}", got)
    names = [term.name for term in trainer.terms]
    if found["terms"] != names:
        fail("problem", f"the checkpoint's terms {found['terms']}", str(names))
    modules, saved = modules_of(trainer), found.get("modules", {})
    if set(saved) != set(modules) and "modules" in found:
        got = f"{sorted(modules) or 'none'}"
        fail("problem", f"terms with the checkpoint's modules, {sorted(saved) or 'none'}", got)
    _check_stages(trainer, found)
    _parameters.check_found(trainer, found)
    for name, x in points_of(trainer).items():
        theirs = found.get("points", {}).get(name, x).to(x)
        if theirs.shape != x.shape or not torch.allclose(theirs, x, rtol=1e-5, atol=1e-6):
            wanted = f"the checkpoint's points in term {name!r}, as each has a weight"
            fail("problem", wanted, "others", "Seed them: torch.manual_seed, or a sampler's seed.")
    try:
        trainer.net.load_state_dict(found["net"])
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()]
        fail("net", "the checkpoint's network", "; ".join(lines[1:3]) or lines[0])
    for name, state in saved.items():
        modules[name][0].load_state_dict(state, strict=False)  # the rest is the network's
    _parameters.load_found(trainer, found)
    # Stages behind those of the checkpoint begin as they were made.
    for stage, state in zip(trainer.stages, found["stages"], strict=False):
        stage.load_state_dict(state)
    trainer.fit_rates()
    trainer.balancer.load_state_dict(found["balancer"])
    trainer.precision.load_state_dict(found["scaler"])
    for name, state in found["samplers"].items():
        sampler: Any = trainer.samplers.get(name)
        if callable(getattr(sampler, "load_state_dict", None)):
            sampler.load_state_dict(state)
    _restore_state(trainer, found)
    if found["processes"] == trainer.processes.count:
        set_random_state(found["random"][trainer.processes.rank])
    else:
        warnings.warn(
            f"resume: the checkpoint is of {found['processes']} processes, this run has "
            f"{trainer.processes.count}: random numbers go on differently.",
            stacklevel=4,
        )
    if _plain(found["config"]) != _plain(trainer.config):
        warnings.warn(
            f"resume: the checkpoint has another config: {found['config']!r}, now "
            f"{trainer.config!r}.",
            stacklevel=4,
        )


def _check_stages(trainer: Trainer, found: dict[str, Any]) -> None:
    """Stages are those of the checkpoint, and others behind them; what is over stays as it was.

    Raises:
        ValueError: fewer stages, or steps that do not fit those that were made.
    """
    saved, stages = found["stages"], trainer.stages
    if len(stages) < len(saved):
        fail("optimizer", f"the checkpoint's {len(saved)} stages, or more", str(len(stages)),
             "Give those that it has; new ones may follow them.")  # fmt: skip
    for stage, state in zip(stages, saved, strict=False):
        stage.check_state_dict(state)
    at, start = found["stage"]
    step = found["step"]
    for k, (stage, state) in enumerate(zip(stages[: at + 1], saved, strict=False)):
        steps = state.get("steps", stage.steps)  # older checkpoints do not say
        if stage.steps == steps:
            continue
        name = "steps" if len(stages) == 1 else f"optimizer[{k}].steps"
        if k < at:
            fail(name, f"the checkpoint's {steps}, as that stage is over", str(stage.steps),
                 f"Change those of optimizer[{at}], in which the run is, or of one behind "
                 "it.")  # fmt: skip
        # One that began early, as the last, may have made more than its steps.
        if stage.steps < steps and stage.steps < step - start:
            fail(name, f"at least the checkpoint's {step - start}", str(stage.steps),
                 "They are made already.")  # fmt: skip
    if step > trainer.total_steps:
        fail("steps", f"at least the checkpoint's {step}", f"{trainer.total_steps} in all",
             "They are made already.")  # fmt: skip


def _restore_state(trainer: Trainer, found: dict[str, Any]) -> None:
    """What a loop sees."""
    state, count = trainer.state, trainer.processes.count
    state.step = found["step"]
    state.seconds = trainer._own_seconds = found["seconds"]
    state.stage, state.stage_start = found["stage"]
    state.errors = dict(found["errors"])
    state.errors_step = int(found.get("errors_step", 0))
    state.ended = str(found.get("ended", ""))
    if "last" not in found:  # an older checkpoint
        return
    state.learning_rate = found["learning_rate"]
    last = found["last"]
    if found["processes"] == count:
        mine: Mapping[str, Any] = last[trainer.processes.rank]
    else:  # each has other points: their mean
        mine = {
            "losses": {
                name: torch.stack([one["losses"][name] for one in last]).mean(0)
                for name in last[0]["losses"]
            },
            "total": torch.stack([one["total"] for one in last]).mean(0),
        }
    state.losses = {name: loss.to(trainer.device) for name, loss in mine["losses"].items()}
    state.total = mine["total"].to(trainer.device)


def _kept(value: Tensor) -> Tensor:
    return value.detach().to("cpu", copy=True)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
