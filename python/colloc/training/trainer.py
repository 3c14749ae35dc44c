"""An optional training loop: small, open, and safe to stop at any moment."""

from __future__ import annotations

import copy
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from colloc._checks import check_choice, check_float, check_int, describe, fail, fail_type
from colloc.balancing import Sum
from colloc.pde import Term
from colloc.training import _trainer_checks as checks
from colloc.training._ends import over_before, over_now, stage_over
from colloc.training._looks import broken, intervals, log, look_again, look_for_errors, owed
from colloc.training._losses import Losses, fit_rates
from colloc.training._nonfinite import stop_or_go_back
from colloc.training._output import Output
from colloc.training._parameters import check_parameters
from colloc.training._points import NewPoints, own_points
from colloc.training._saved import check_saved, collect, restore
from colloc.training._state import State
from colloc.training._steps import Steps
from colloc.training.interrupt import Interrupt
from colloc.training.precision import Precision
from colloc.training.processes import ProcessError, Processes
from colloc.training.progress import Progress
from colloc.training.run_folder import RunFolder, complaining
from colloc.training.stage import Stage, end_of, stages_of


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
    not finite stops the run before the optimiser's step; SIGINT and SIGTERM, :meth:`stop`, a limit
    of time and a reached target stop it after one, and ``state.ended`` says which. Whatever ends
    it, what was saved before is still there.

    Args:
        problem: terms with different names.
        net: the network that is trained; its state is in the checkpoints, as is that of all else
            that an optimiser changes, and of modules that are attributes of terms.
        optimizer: one of torch's, or a list of :class:`Stage` (Adam, then L-BFGS).
        sampler: for the names of terms a ``sampler(step) -> points``; other terms keep theirs.
            One with a state needs ``state_dict`` and ``load_state_dict``.
        balancer: None is the plain sum. One with parameters of its own needs them in the
            optimiser.
        point_rules: for the names of terms a rule of points (:class:`colloc.balancing.Causal`,
            ``SelfAdaptive``), called in place of ``term.loss()``.
        parameters: unknown coefficients, by name, of those that an optimiser changes: saved and
            restored by name, and in the metrics where they have one element. Those without a name
            are resumed in the optimisers' order.
        steps, schedule, clip: as of :class:`Stage`, where ``optimizer`` is no list of them.
        precision: "float64", "float32", "bfloat16" or "float16", see :class:`Precision`; None:
            as the network is.
        compile: whether losses are computed through torch.compile(fullgraph=True).
        graph: whether a whole step is captured as a CUDA graph (a GPU; Adam and the like).
        evaluate: called without gradients every ``evaluate_every`` steps; a number or a dict of
            them (errors). In all processes, with the same parameters.
        evaluate_every, log_every, save_every: steps between evaluations, lines of
            ``metrics.jsonl`` and checkpoints; evaluate_every None is log_every. The first step
            and the last one of each stage have a line, too.
        target: the run ends when the (first) error is at most this.
        seconds: the run ends after so much training, earlier runs that it resumes counted in.
        output: folder of checkpoints and metrics, of one run at a time; None: nothing is written.
        keep: checkpoints that stay.
        resume: whether to go on from the newest whole checkpoint in ``output``, if there is one:
            the run is then bit for bit the one that was never stopped. It may have more stages
            behind those of the checkpoint, and more steps in the one that it is in. Without it a
            folder that holds checkpoints or metrics is refused.
        tensorboard: whether lines of metrics go to ``output/tensorboard``, too.
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
        point_rules: Mapping[str, nn.Module] | None = None,
        parameters: Mapping[str, nn.Parameter] | None = None,
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
        tensorboard: bool = False,
        config: Any = None,
        on_nonfinite: str = "stop",
        progress: bool = True,
        process_group: Any = None,
    ) -> None:
        self.terms = checks.check_terms(problem)
        self.net = checks.check_net(net)
        self.stages = stages_of(optimizer, steps, schedule, clip)
        checks.check_net_trained(net, self.stages)
        self.parameters = check_parameters(parameters, self.stages)
        self.samplers = checks.check_samplers(sampler, self.terms)
        names = [term.name for term in self.terms]
        self.balancer = Sum(dict.fromkeys(names, 1.0)) if balancer is None else balancer
        self.device = next(iter(net.parameters())).device
        checks.check_trained("balancer", self.balancer, self.stages)
        self.balancer.to(self.device)
        self.processes = Processes(process_group)
        self.point_rules = checks.check_point_rules(
            point_rules, self.terms, self.samplers, self.stages, self.processes
        )
        for rule in self.point_rules.values():
            rule.to(self.device)
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
        self._losses = Losses(self.terms, self.balancer, self.precision, bool(compile),
                              self.point_rules)  # fmt: skip
        if evaluate is not None and not callable(evaluate):
            fail_type("evaluate", "a callable without arguments", describe(evaluate))
        self.evaluate = evaluate
        self.log_every = check_int("log_every", log_every, minimum=1)
        self.save_every = check_int("save_every", save_every, minimum=1)
        every = self.log_every if evaluate_every is None else evaluate_every
        self.evaluate_every = check_int("evaluate_every", every, minimum=1)
        self._evaluates_apart = evaluate_every is not None
        self.target = None if target is None else check_float("target", target, nonnegative=True)
        if target is not None and evaluate is None:
            fail("target", "None without evaluate", str(target))
        self.seconds = None if seconds is None else check_float("seconds", seconds, positive=True)
        self.on_nonfinite = check_choice("on_nonfinite", on_nonfinite, ("stop", "rollback"))
        self.config, self.show = config, bool(progress)
        self.total_steps = sum(stage.steps for stage in self.stages)
        self.state = State(self.balancer)
        trained = checks.unique(p for stage in self.stages for p in stage.parameters())
        self._steps = Steps(self._losses, self.processes, trained, self.device)
        self.interrupted = self._out_of_time = self._asked = self._stopped = False
        self.rollbacks, self._saved, self._own_seconds = 0, -1, 0.0
        self._points_of: tuple[int, int] | None = None
        self._unplaced: Exception | None = None
        self._new_points = NewPoints(self.terms, self.fixed)
        mine = [*net.parameters(), *net.buffers(), *self.balancer.parameters(), *trained]
        self.processes.same_start(checks.unique(mine))
        self._output = Output(checks.check_output(output), keep, bool(tensorboard), self.processes)
        found = self._output.open(bool(resume))
        if found is not None:
            restore(self, found)
            self._saved, self.rollbacks = self.state.step, int(found["rollbacks"])
            if self.show and self.processes.first:
                print(f"going on after step {self._saved} of {output}", file=sys.stderr, flush=True)
        first = collect(self)
        if self.folder is not None:
            check_saved(first)  # now, and not after the first thousand steps
        # Where to go back to without a checkpoint.
        keeps = on_nonfinite == "rollback" or self._steps.deferred
        self._first = copy.deepcopy(first) if keeps else {}

    @property
    def folder(self) -> RunFolder | None:
        """What is written, in the first process."""
        return self._output.folder

    # ---- the loop --------------------------------------------------------------------------------

    def run(self) -> State:
        """All steps; the state after the last one."""
        for _ in self:
            pass
        return self.state

    def __iter__(self) -> Iterator[State]:
        """The state after each step. Leaving the loop early saves a checkpoint, too; of several
        processes all must leave it at the same step, or else one of them calls :meth:`stop`.

        Raises:
            ValueError: another run uses the folder, or has used it since.
            NonFiniteError: a loss or gradient is inf or NaN.
            ProcessError: another process is gone.
            OSError: the last checkpoint could not be written.
        """
        late = owed(self)
        self.state.ended = "" if late else over_before(self)
        claim = nullcontext() if self.state.ended else self._output.claimed()
        with claim, self.processes.watched():
            yield from self._loop(late)

    def stop(self) -> None:
        """End the run after the next step, with a checkpoint. In several processes one of them
        may ask alone: its request goes along with the gradients, and all end together."""
        self._asked = True

    def _loop(self, late: bool) -> Iterator[State]:
        bar = Progress() if self.show and self.processes.first else None
        done = self.state.ended != ""
        try:
            with Interrupt() as interrupt:
                if late:
                    done = look_again(self, bar)
                    yield self.state
                while not done:
                    if self._one(interrupt.requested):
                        done = self._look(bar)
                        yield self.state
                self.interrupted = self.interrupted or interrupt.requested
        finally:
            self._asked = False
            if bar is not None:
                bar.__exit__(None, None, None)
            left = isinstance(sys.exc_info()[1], GeneratorExit)
            # By break: nobody would see an error. What a GPU has spoiled is not kept.
            if left and self._steps.first_bad() is None:
                with complaining("the checkpoint", ProcessError):
                    self._save()
        if self._output.path is not None and self._saved != self.state.step:
            self.save()

    @property
    def fraction(self) -> float:
        """How much of the run is done, by steps or by seconds, whichever is more."""
        by_time = 0.0 if self.seconds is None else self.state.seconds / self.seconds
        return min(1.0, max(self.state.step / self.total_steps, by_time))

    @property
    def stage(self) -> Stage:
        """The one that makes the next step."""
        state = self.state
        while stage_over(self):
            state.stage, state.stage_start = state.stage + 1, state.step
        return self.stages[state.stage]

    def _one(self, stop: bool) -> bool:
        """A step; False where the run has gone back instead."""
        begin = time.perf_counter()
        state, steps = self.state, self._steps
        stage = self.stage
        self._place(stage)
        unplaced, self._unplaced = self._unplaced, None
        out_of_time = self.seconds is not None and state.seconds >= self.seconds
        flags = [0.0, float(stop), float(self._asked), float(out_of_time), self._own_seconds]
        if stage.needs_closure:
            found = steps.closure(stage, state.step, flags)
        elif self.graph:
            found = steps.captured(state.stage, stage, state.step, flags)
        else:
            found = steps.plain(stage, state.step, flags)
        if found is None:
            stop_or_go_back(self, state.step)
            return False
        if unplaced is not None:  # a GPU notes what is not finite
            bad = steps.first_bad()
            if bad is None:
                raise unplaced
            stop_or_go_back(self, bad)
            return False
        stage.move_rate(self.precision.scaler is not None)
        state.losses, state.total = found
        state.step += 1
        state.learning_rate = stage.optimizer.param_groups[0]["lr"]
        self._own_seconds += time.perf_counter() - begin
        # In several processes what they agreed on, so that they leave a stage together.
        count = self.processes.count
        state.seconds = self._own_seconds if count == 1 else flags[4] / count
        self.interrupted, self._stopped, self._out_of_time = (flag > 0 for flag in flags[1:4])
        return True

    def _place(self, stage: Stage) -> None:
        """The points of this step, or of the stage's beginning where they stay."""
        state = self.state
        now = state.stage, state.step if stage.resample else state.stage_start
        if self._points_of == now:
            return
        begins = self._points_of is None or self._points_of[0] != state.stage
        left = end_of(self.stages, state, self.total_steps) - state.step if stage.resample else 1
        try:
            if self._new_points.place(self.samplers, now[1], left, begins) and self.graph:
                self._steps.forget_graphs()  # it would read the memory of the old ones
        except Exception as error:
            if not broken(self):
                raise
            self._unplaced = error  # the step itself shows what is not finite, on old points
        if begins:
            self._losses.train(True)
            if stage.needs_closure:
                if state.step == 0:  # weights move once, or they would never have been looked at
                    self._losses.plainly(0)
                self._losses.train(False)  # a line search needs weights that stay
        self._points_of = now

    def _look(self, bar: Progress | None) -> bool:
        """Evaluate, log and save where it is time to; whether the run is over."""
        state, step = self.state, self.state.step
        why = over_now(self)
        over = why != ""
        log_every, evaluate_every = intervals(self)
        logs = step % log_every == 0 or step == 1 or over or stage_over(self)
        if logs or step % self.save_every == 0:
            bad = self._steps.first_bad()
            if bad is not None:
                stop_or_go_back(self, bad)
                return False
        if self.evaluate is not None and (step % evaluate_every == 0 or over):
            look_for_errors(self, step % evaluate_every != 0)
            first = next(iter(state.errors.values()))
            if self.target is not None and first <= self.target:
                why, over, logs = "target", True, True
        state.ended = why
        if logs:
            log(self, bar)
        if step % self.save_every == 0 and not over:
            self._save()
        return over

    def fit_rates(self) -> None:
        """Learning rates as the steps need them, also after a state was loaded."""
        for stage in self.stages:
            fit_rates(stage.optimizer, self.graph and not stage.needs_closure)

    # ---- what is kept ----------------------------------------------------------------------------

    def save(self) -> Path | None:
        """Write a checkpoint now, in all processes together; its path where it was written.

        Raises:
            OSError: the disk is full or the folder not writable; older checkpoints are there.
            ValueError: another run uses the folder, or has used it since.
        """
        found = collect(self)
        self._saved = self.state.step
        try:
            return self._output.save(self.state.step, found)
        except (OSError, ValueError):
            if self.processes.count == 1:  # it may be tried again
                self._saved = -1
            raise

    def _save(self) -> None:
        if self._output.path is not None and self._saved != self.state.step:
            with complaining("the checkpoint"):
                self.save()
