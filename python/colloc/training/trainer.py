"""An optional training loop: small, open, and safe to stop at any moment."""

from __future__ import annotations

import copy
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from colloc._checks import check_choice, check_float, check_int, describe, fail, fail_type
from colloc.balancing import Sum
from colloc.pde import Term
from colloc.training import _trainer_checks as checks
from colloc.training._losses import Losses, fit_rates, own_points, place
from colloc.training._state import (
    State,
    check_saved,
    collect,
    memory,
    random_state,
    restore,
    set_random_state,
)
from colloc.training._steps import Steps
from colloc.training.interrupt import Interrupt
from colloc.training.precision import Precision
from colloc.training.processes import Processes
from colloc.training.progress import Progress
from colloc.training.run_folder import RunFolder, complaining
from colloc.training.stage import Stage, slow_down, stages_of


class NonFiniteError(RuntimeError):
    """A loss or a gradient was inf or NaN; the run stopped before the step that it spoils."""


class Trainer:
    """Steps of an optimiser on the terms of a problem, with all that a long run needs.

    A problem is a list of terms; nothing here is needed to use them::

        terms = [cc.Term("interior", net, square.sample(1024), equation),
                 cc.Term("walls", net, square.boundary.sample(256), lambda u, x: u.value, order=0)]
        trainer = cc.training.Trainer(
            terms, net, torch.optim.Adam(net.parameters(), 1e-3),
            {"interior": cc.sampling.Halton(square, 1024)}, cc.balancing.NTK(["interior", "walls"]),
            steps=5000, output="runs/first", resume=True)
        for state in trainer:                 # or trainer.run()
            if state.step % 1000 == 0:
                print(state.step, state.total, state.losses, state.weights)

    Every step: new points, the losses, the balancer's total, its gradient (the mean of all
    processes', see :mod:`colloc.training.processes`), the optimiser. A loss or gradient that is
    not finite stops the run before the optimiser's step; SIGINT and SIGTERM, a limit of time and
    a reached target stop it after one. Whatever ends it, what was saved before is still there.

    Args:
        problem: terms with different names.
        net: the network that is trained; its state is in the checkpoints, as is that of all else
            that an optimiser changes, and of modules that are attributes of terms.
        optimizer: one of torch's, or a list of :class:`Stage` (Adam, then L-BFGS).
        sampler: for the names of terms a ``sampler(step) -> points``; other terms keep theirs.
            One with a state needs ``state_dict`` and ``load_state_dict``.
        balancer: None is the plain sum. One with parameters of its own needs them in the
            optimiser.
        steps, schedule, clip: as of :class:`Stage`, where ``optimizer`` is no list of them.
        precision: "float64", "float32", "bfloat16" or "float16", see :class:`Precision`; None:
            as the network is.
        compile: whether losses are computed through torch.compile(fullgraph=True).
        graph: whether a whole step is captured as a CUDA graph (a GPU; Adam and the like).
        evaluate: called without gradients every ``evaluate_every`` steps; a number or a dict of
            them (errors). In all processes, with the same parameters.
        evaluate_every, log_every, save_every: steps between evaluations, lines of
            ``metrics.jsonl`` and checkpoints; evaluate_every None is log_every.
        target: the run ends when the (first) error is at most this.
        seconds: the run ends after so much training, earlier runs that it resumes counted in.
        output: folder of checkpoints and metrics; None: nothing is written.
        keep: checkpoints that stay.
        resume: whether to go on from the newest whole checkpoint in ``output``, if there is one:
            the run is then bit for bit the one that was never stopped. Without it a folder that
            holds checkpoints is refused.
        config: anything of numbers and strings that is to stand in the checkpoints.
        on_nonfinite: "stop" raises :class:`NonFiniteError`; "rollback" goes back to the last
            checkpoint of this run, or its beginning, and halves the learning rate, three times
            at most.
        progress: whether to show progress (a bar in a terminal).
        process_group: of torch.distributed; None is the default one.

    Raises:
        TypeError, ValueError: an argument of the wrong type or one that does not fit the others.
    """

    def __init__(
        self,
        problem: Iterable[Term],
        net: nn.Module,
        optimizer: torch.optim.Optimizer | Stage | Sequence[Stage],
        sampler: Mapping[str, Callable[[int], Any]] | None = None,
        balancer: nn.Module | None = None,
        *,
        steps: int | None = None,
        schedule: Any = None,
        clip: float | None = None,
        precision: str | None = None,
        compile: bool = False,
        graph: bool = False,
        evaluate: Callable[[], float | Mapping[str, float]] | None = None,
        evaluate_every: int | None = None,
        log_every: int = 100,
        save_every: int = 1000,
        target: float | None = None,
        seconds: float | None = None,
        output: str | os.PathLike[str] | None = None,
        keep: int = 3,
        resume: bool = False,
        config: Any = None,
        on_nonfinite: str = "stop",
        progress: bool = True,
        process_group: Any = None,
    ) -> None:
        self.terms = checks.check_terms(problem)
        self.net = checks.check_net(net)
        self.stages = stages_of(optimizer, steps, schedule, clip)
        self.samplers = checks.check_samplers(sampler, self.terms)
        names = [term.name for term in self.terms]
        self.balancer = Sum(dict.fromkeys(names, 1.0)) if balancer is None else balancer
        self.device = next(iter(net.parameters())).device
        self.balancer.to(self.device)
        checks.check_trained(self.balancer, self.stages)
        self.processes = Processes(process_group)
        checks.check_integrals(self.terms, self.samplers, self.processes)
        self.precision = Precision(precision, net, self.terms, self.device)
        checks.check_scaled(self.stages, self.precision)
        self.graph = bool(graph)
        if graph:
            checks.check_graph(self.device, self.stages, self.precision)
        self.fit_rates()
        self.fixed = bool(compile or graph)
        if self.fixed:
            own_points(self.terms)
        self._losses = Losses(self.terms, self.balancer, self.precision, bool(compile))
        if evaluate is not None and not callable(evaluate):
            fail_type("evaluate", "a callable without arguments", describe(evaluate))
        self.evaluate = evaluate
        self.log_every = check_int("log_every", log_every, minimum=1)
        self.save_every = check_int("save_every", save_every, minimum=1)
        every = self.log_every if evaluate_every is None else evaluate_every
        self.evaluate_every = check_int("evaluate_every", every, minimum=1)
        self.target = None if target is None else check_float("target", target, nonnegative=True)
        if target is not None and evaluate is None:
            fail("target", "None without evaluate", str(target))
        self.seconds = None if seconds is None else check_float("seconds", seconds, positive=True)
        self.on_nonfinite = check_choice("on_nonfinite", on_nonfinite, ("stop", "rollback"))
        self.config, self.show = config, bool(progress)
        self.total_steps = sum(stage.steps for stage in self.stages)
        self.state = State(self.balancer)
        parameters = checks.unique(p for stage in self.stages for p in stage.parameters())
        self._steps = Steps(self._losses, self.processes, parameters, self.device)
        self.interrupted = self._out_of_time = False
        self.rollbacks, self._saved, self._own_seconds = 0, -1, 0.0
        self._points_of: tuple[int, int] | None = None
        mine = [*net.parameters(), *net.buffers(), *self.balancer.parameters(), *parameters]
        self.processes.same_start(checks.unique(mine))
        self.folder: RunFolder | None = None
        self._writes = output is not None
        if output is None and resume:
            fail("output", "a folder, since resume=True", "None")
        if output is not None:
            self.folder = RunFolder(output, keep)
            self._open(resume)
        first = collect(self)
        if self.folder is not None and self.processes.first:
            check_saved(first)  # now, and not after the first thousand steps
        # Where to go back to without a checkpoint.
        keeps = on_nonfinite == "rollback" or self._steps.deferred
        self._first = copy.deepcopy(first) if keeps else {}

    # ---- the loop --------------------------------------------------------------------------------

    def run(self) -> State:
        """All steps; the state after the last one."""
        for _ in self:
            pass
        return self.state

    def __iter__(self) -> Iterator[State]:
        """The state after each step. Leaving the loop early saves a checkpoint, too."""
        bar = Progress() if self.show and self.processes.first else None
        done = False
        try:
            with Interrupt() as interrupt:
                while not done and self.state.step < self.total_steps:
                    if self._one(interrupt.requested):
                        done = self._look(bar)
                        yield self.state
                self.interrupted = self.interrupted or interrupt.requested
        finally:
            if bar is not None:
                bar.__exit__(None, None, None)
            left = isinstance(sys.exc_info()[1], GeneratorExit)
            # By break: nobody would see an error. What a GPU has spoiled is not kept.
            if left and self._steps.first_bad() is None:
                self._save()
        if self._writes and self._saved != self.state.step:
            self.save()

    @property
    def fraction(self) -> float:
        """How much of the run is done, by steps or by seconds, whichever is more."""
        by_time = 0.0 if self.seconds is None else self.state.seconds / self.seconds
        return min(1.0, max(self.state.step / self.total_steps, by_time))

    @property
    def stage(self) -> Stage:
        """The one that makes the next step."""
        state, last = self.state, len(self.stages) - 1
        while state.stage < last:
            now = self.stages[state.stage]
            # A run that is out of time ends in the stage where it is.
            early = now.until < 1.0 and self.fraction >= now.until
            if state.step - state.stage_start < now.steps and not early:
                break
            state.stage, state.stage_start = state.stage + 1, state.step
        return self.stages[state.stage]

    def _one(self, stop: bool) -> bool:
        """A step; False where the run has gone back instead."""
        begin = time.perf_counter()
        state, steps = self.state, self._steps
        stage = self.stage
        self._place(stage)
        out_of_time = self.seconds is not None and state.seconds >= self.seconds
        flags = [0.0, float(stop), float(out_of_time), self._own_seconds]
        if stage.needs_closure:
            found = steps.closure(stage, state.step, flags)
        elif self.graph:
            found = steps.captured(state.stage, stage, state.step, flags)
        else:
            found = steps.plain(stage, state.step, flags)
        if found is None:
            self._nonfinite(state.step)
            return False
        stage.move_rate(self.precision.scaler is not None)
        state.losses, state.total = found
        state.step += 1
        state.learning_rate = stage.optimizer.param_groups[0]["lr"]
        self._own_seconds += time.perf_counter() - begin
        # In several processes what they agreed on, so that they leave a stage together.
        count = self.processes.count
        state.seconds = self._own_seconds if count == 1 else flags[3] / count
        self.interrupted, self._out_of_time = flags[1] > 0, flags[2] > 0
        return True

    def _place(self, stage: Stage) -> None:
        """The points of this step, or of the stage's beginning where they stay."""
        state = self.state
        now = state.stage, state.step if stage.resample else state.stage_start
        if self._points_of == now:
            return
        if self._points_of is None or self._points_of[0] != state.stage:
            # A line search needs weights that stay.
            self.balancer.train(not stage.needs_closure)
        for term in self.terms:
            sampler = self.samplers.get(term.name)
            if sampler is not None:
                place(term, sampler(now[1]), self.fixed)
        self._points_of = now

    def _look(self, bar: Progress | None) -> bool:
        """Evaluate, log and save where it is time to; whether the run is over."""
        state = self.state
        step, last = state.step, state.step >= self.total_steps
        over = last or self.interrupted or self._out_of_time
        logs = step % self.log_every == 0 or step == 1 or over
        if logs or step % self.save_every == 0:
            bad = self._steps.first_bad()
            if bad is not None:
                self._nonfinite(bad)
                return False
        if self.evaluate is not None and (step % self.evaluate_every == 0 or over):
            state.errors = self._errors(self.evaluate, step % self.evaluate_every != 0)
            first = next(iter(state.errors.values()))
            over = over or (self.target is not None and first <= self.target)
            logs = logs or over
        if logs:
            self._log(bar)
        if step % self.save_every == 0 and not over:
            self._save()
        return over

    @torch.no_grad()
    def _errors(self, evaluate: Callable[[], Any], extra: bool) -> dict[str, float]:
        """What ``evaluate`` finds; one that is extra, as the run stops, leaves random numbers."""
        kept = random_state() if extra else None
        try:
            errors = checks.check_errors(evaluate())
        except Exception:
            if self.processes.count == 1 and self._steps.first_bad() is None:
                self._save()  # the step is whole
            raise
        if kept is not None:
            set_random_state(kept)
        return errors

    def _log(self, bar: Progress | None) -> None:
        """A line of metrics, with the means of all processes."""
        state = self.state
        stacked = torch.stack([*state.losses.values(), state.total]).to(torch.float64)
        *losses, total = self.processes.average(stacked).tolist()
        row: dict[str, Any] = {
            "step": state.step,
            "seconds": round(state.seconds, 4),
            "learning_rate": float(state.learning_rate),
            "loss": total,
            "losses": dict(zip(state.losses, losses, strict=True)),
            "weights": state.weights,
            "errors": state.errors,
            "memory": memory(self.device),
        }
        if self.processes.first and self.folder is not None:
            with complaining("the line of metrics"):
                self.folder.log(row)
        if bar is not None:
            shown = dict(list(state.errors.items())[:2])
            bar.update(self.fraction, state.step, loss=total, **shown)

    def fit_rates(self) -> None:
        """Learning rates as the steps need them, also after a state was loaded."""
        for stage in self.stages:
            fit_rates(stage.optimizer, self.graph and not stage.needs_closure)

    # ---- what is kept ----------------------------------------------------------------------------

    def save(self) -> Path | None:
        """Write a checkpoint now, in all processes together; its path where it was written.

        Raises:
            OSError: the disk is full or the folder not writable; older checkpoints are there.
        """
        found = collect(self)
        self._saved = self.state.step
        if self.folder is None or not self.processes.first:
            return None
        try:
            return self.folder.save(self.state.step, found)
        except OSError:
            if self.processes.count == 1:  # it may be tried again
                self._saved = -1
            raise

    def _save(self) -> None:
        if self._writes and self._saved != self.state.step:
            with complaining("the checkpoint"):
                self.save()

    def _open(self, resume: bool) -> None:
        assert self.folder is not None
        newest = self.folder.newest() if self.processes.first and resume else None
        found = self.processes.from_first(None if newest is None else newest[1])
        if found is not None:
            restore(self, found)
            self._saved, self.rollbacks = self.state.step, int(found["rollbacks"])
        if not self.processes.first:
            return
        if not resume and self.folder.checkpoints():
            count = len(self.folder.checkpoints())
            fail("output", "a folder without checkpoints, or resume=True",
                 f"{self.folder.path} with {count} of them")  # fmt: skip
        self.folder.forget_after(self.state.step)

    def _nonfinite(self, step: int) -> None:
        """Stop before a step that is not finite, or go back."""
        what = f"step {step + 1}: not finite: {self._steps.problem}"
        again = self.on_nonfinite == "rollback" and self.rollbacks < 3
        if again or self._steps.deferred:  # a GPU's parameters are spoiled by now
            saved = self._back()
        if again:
            self.rollbacks += 1
            slow_down(self.stages, 0.5 ** (self.rollbacks - saved))
            warnings.warn(
                f"{what}. Back to step {self.state.step}, with {0.5**self.rollbacks:g} of the "
                "learning rate.",
                stacklevel=2,
            )
            return
        self._save()
        where = "" if self.folder is None else f" A checkpoint of step {self.state.step} is kept."
        raise NonFiniteError(
            f"{what}.{where} Try a smaller learning rate, clip=1.0, or look at that term."
        )

    def _back(self) -> int:
        """To the last checkpoint, or to the beginning; how often the rate was halved there."""
        newest = self.folder.newest() if self.folder is not None and self.processes.first else None
        found = self.processes.from_first(None if newest is None else newest[1])
        # A copy, for what is loaded may become the optimiser's own.
        found = copy.deepcopy(self._first) if found is None else found
        restore(self, found)
        if self.folder is not None and self.processes.first:
            with complaining("the file of metrics"):
                self.folder.forget_after(self.state.step)
        self._points_of = None
        self._steps.forget_graphs()
        return int(found["rollbacks"])
