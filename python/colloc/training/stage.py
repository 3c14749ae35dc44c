"""One stretch of a run: an optimiser with its steps, its schedule and its clipping."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from colloc._checks import check_float, check_int, describe, fail, fail_type


@dataclass
class Stage:
    """An optimiser and for how long it is used; a run is a list of them.

    Adam, then L-BFGS::

        [Stage(torch.optim.Adam(net.parameters(), 1e-3), 5000, clip=1.0),
         Stage(torch.optim.LBFGS(net.parameters(), line_search_fn="strong_wolfe"), 100)]

    Args:
        optimizer: any of torch's, or one with the same interface. One whose ``step`` needs a
            closure (L-BFGS) evaluates the loss as often as it likes in a step: it gets points and
            weights of losses that stay the same from the beginning of the stage to its end.
        steps: how often ``optimizer.step`` is called, >= 1.
        schedule: of the learning rate, moved once a step; see :mod:`colloc.training.schedules`.
        clip: largest norm of all gradients together; None: as they are.
        resample: whether every step has new points; None: where no closure is needed.
        until: share of the run, by steps or by seconds, in (0, 1], at which the stage ends even
            before its steps are made; the last stage goes on to the end.
        log_every, evaluate_every: as of the trainer, within this stage; None: as there. A step of
            L-BFGS is many iterations: log_every=1 has a line of metrics for each.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range; a schedule of
            another optimiser; clipping with a closure (it would break the line search).
    """

    optimizer: Optimizer
    steps: int
    schedule: LRScheduler | None = None
    clip: float | None = None
    resample: bool | None = None
    until: float = 1.0
    log_every: int | None = None
    evaluate_every: int | None = None
    _asked: tuple[Optimizer, bool] | None = field(
        default=None, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if not callable(getattr(self.optimizer, "step", None)) or not hasattr(
            self.optimizer, "param_groups"
        ):
            made = getattr(self.optimizer, "__name__", "torch.optim.Adam")
            fail_type("optimizer", "a torch optimiser", describe(self.optimizer),
                      f"Make one: {made}(net.parameters(), lr=1e-3).")  # fmt: skip
        self.steps = check_int("steps", self.steps, minimum=1)
        optimizer = getattr(self.schedule, "optimizer", None)
        if self.schedule is not None and optimizer is not self.optimizer:
            got = f"{type(self.schedule).__name__} of another optimiser"
            fail("schedule", "None or a schedule of this stage's optimiser", got)
        if isinstance(self.schedule, ReduceLROnPlateau):
            fail("schedule", "one that goes by steps", "ReduceLROnPlateau",
                 "See colloc.training.schedules.")  # fmt: skip
        if self.clip is not None:
            self.clip = check_float("clip", self.clip, positive=True)
            if self.needs_closure:
                name = type(self.optimizer).__name__
                fail("clip", f"None with {name}", str(self.clip), "Its line search needs the "
                     "gradients as they are.")  # fmt: skip
        self.until = check_float("until", self.until, positive=True)
        if self.until > 1.0:
            fail("until", "a share of the run, in (0, 1]", f"{self.until:g}",
                 "A number of steps is steps; of seconds, seconds of the Trainer.")  # fmt: skip
        for name in ("log_every", "evaluate_every"):
            if getattr(self, name) is not None:
                setattr(self, name, check_int(name, getattr(self, name), minimum=1))
        if self.resample is None:
            self.resample = not self.needs_closure
        if not isinstance(self.resample, bool):
            fail_type("resample", "True, False or None", describe(self.resample))

    @property
    def needs_closure(self) -> bool:
        """Whether ``optimizer.step`` has a closure that it cannot do without."""
        if self._asked is None or self._asked[0] is not self.optimizer:
            self._asked = self.optimizer, _needs_closure(self.optimizer)  # looking takes long
        return self._asked[1]

    def parameters(self) -> list[torch.Tensor]:
        """All that the optimiser changes."""
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def move_rate(self, scaled: bool) -> None:
        """A step of the schedule, if there is one."""
        if self.schedule is None:
            return
        with warnings.catch_warnings():
            if scaled:  # float16 may have left out the optimiser's first step
                warnings.simplefilter("ignore", UserWarning)
            self.schedule.step()

    def state_dict(self) -> dict[str, Any]:
        """The optimiser's state and the schedule's, and the steps."""
        schedule = None if self.schedule is None else self.schedule.state_dict()
        found = {"optimizer": self.optimizer.state_dict(), "schedule": schedule}
        return found | {"kinds": self._kinds, "steps": self.steps, "dtypes": self._dtypes}

    def check_state_dict(self, state: dict[str, Any]) -> None:
        """Whether a state is of this kind of optimiser and schedule.

        Raises:
            ValueError: it is of another one.
        """
        kinds = state.get("kinds", self._kinds)
        for name, mine, saved in zip(("optimizer", "schedule"), self._kinds, kinds, strict=True):
            if None not in (mine, saved) and mine != saved:
                fail(name, f"the checkpoint's {saved}", str(mine))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken; a schedule that was not there begins.

        Raises:
            ValueError: it is of another kind of optimiser or schedule.
        """
        self.check_state_dict(state)
        self.optimizer.load_state_dict(state["optimizer"])
        saved = state["optimizer"].get("state", {})
        # torch gives all tensors the parameter's dtype (NAdam's product, L-BFGS's vectors of
        # several parameters): not the same bits. Of parameters in another dtype it is right.
        if state.get("dtypes", self._dtypes) == self._dtypes and (
            "dtypes" in state or self._may_be_of(saved)
        ):
            for k, p in enumerate(self.parameters()):
                if k in saved and p in self.optimizer.state:
                    self.optimizer.state[p] = _as_saved(self.optimizer.state[p], saved[k])
        if self.schedule is not None and state["schedule"] is not None:
            self.schedule.load_state_dict(state["schedule"])

    def kept(self) -> Callable[[], None]:
        """What puts the optimiser's state back as it is now."""
        state, groups = getattr(self.optimizer, "state", {}), self.optimizer.param_groups
        # L-BFGS lengthens and shortens its history, and never changes a vector in it.
        deep = type(self.optimizer) is not torch.optim.LBFGS
        before = {p: _copied(mine, deep) for p, mine in state.items()}
        options = [_copied({k: v for k, v in g.items() if k != "params"}, deep) for g in groups]

        def put_back() -> None:
            state.clear()
            state.update(before)
            for group, mine in zip(groups, options, strict=True):
                group.update(mine)

        return put_back

    def _may_be_of(self, saved: Any) -> bool:
        """Whether an optimiser's state, of a checkpoint that says no dtypes, is of parameters
        like these."""
        known = {p.dtype for p in self.parameters()}
        return all(t.dtype in known for t in _tensors(saved) if t.ndim and t.is_floating_point())

    @property
    def _dtypes(self) -> list[str]:
        return [str(p.dtype).removeprefix("torch.") for p in self.parameters()]

    @property
    def _kinds(self) -> list[str | None]:
        schedule = None if self.schedule is None else type(self.schedule).__name__
        return [type(self.optimizer).__name__, schedule]


def _needs_closure(optimizer: Optimizer) -> bool:
    if isinstance(optimizer, torch.optim.LBFGS):
        return True
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty


def _tensors(value: Any) -> Iterable[torch.Tensor]:
    """All in nested dicts, lists and tuples."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (dict, list, tuple)):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _tensors(one)


def _as_saved(mine: Any, saved: Any) -> Any:
    """What an optimiser has loaded, in the dtypes in which it was saved."""
    if isinstance(saved, torch.Tensor) and isinstance(mine, torch.Tensor):
        return mine if mine.dtype == saved.dtype else saved.to(mine.device, copy=True)
    if isinstance(saved, dict) and isinstance(mine, dict):
        # The count's dtype goes by where it is (fused, capturable).
        return {k: _as_saved(v, saved[k]) if k in saved and k != "step" else v
                for k, v in mine.items()}  # fmt: skip
    if type(saved) in (list, tuple) and type(mine) is type(saved) and len(mine) == len(saved):
        return type(saved)(map(_as_saved, mine, saved))
    return mine


def _copied(value: Any, deep: bool) -> Any:
    """Tensors copied, and what holds them; those in lists only where ``deep``."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {k: _copied(v, deep) for k, v in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_copied(v, deep) if deep else v for v in value)
    return value


def slow_down(stages: Sequence[Stage], factor: float) -> None:
    """All rates, and those that schedules go by, times ``factor``."""
    for optimizer in {id(stage.optimizer): stage.optimizer for stage in stages}.values():
        for group in optimizer.param_groups:
            for name in {"lr", "initial_lr", "max_lr", "min_lr"} & set(group):
                group[name] = group[name] * factor
    schedules: list[Any] = [stage.schedule for stage in stages]
    for one in schedules:  # those of SequentialLR and the like come behind
        schedules += getattr(one, "_schedulers", [])
    for one in {id(one): one for one in schedules}.values():
        for name in ("base_lrs", "max_lrs"):
            if hasattr(one, name):
                setattr(one, name, [rate * factor for rate in getattr(one, name)])


def stages_of(
    optimizer: Any, steps: int | None, schedule: LRScheduler | None, clip: float | None
) -> list[Stage]:
    """The stages of a run from what a trainer is given.

    Raises:
        TypeError, ValueError: steps, schedule or clip beside stages, or no steps without them.
    """
    if isinstance(optimizer, Stage):
        optimizer = [optimizer]
    if not isinstance(optimizer, Sequence):
        if steps is None:
            fail("steps", "a number, as the optimizer is no list of stages", "None")
        return [Stage(optimizer, steps, schedule, clip)]
    stages = list(optimizer)
    if not stages:
        fail("optimizer", "an optimiser or at least one stage", "an empty list")
    for k, stage in enumerate(stages):
        if not isinstance(stage, Stage):
            fail_type(f"optimizer[{k}]", "a Stage", describe(stage))
    for name, value in (("steps", steps), ("schedule", schedule), ("clip", clip)):
        if value is not None:
            fail(name, "None, as each stage has its own", describe(value))
    return stages


def end_of(stages: Sequence[Stage], state: Any, total: int) -> int:
    """The step before which the stage that a run is in ends.

    The last one goes on to the end of the run, however early it began.

    Args:
        stages: of the run.
        state: the run's, with ``stage`` and ``stage_start``.
        total: the run's steps.
    """
    if state.stage + 1 == len(stages):
        return total
    return int(state.stage_start + stages[state.stage].steps)
