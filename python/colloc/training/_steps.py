"""The three kinds of step: plain, captured, and with a closure."""

from __future__ import annotations

import functools
import math
from typing import Any

import torch
from torch import Tensor

from colloc._checks import fail
from colloc.training._losses import Captured, Found, Losses
from colloc.training.precision import LEAST_SCALE
from colloc.training.processes import FLAGS, Processes
from colloc.training.stage import Stage

GRADIENTS = "norm of the gradients"


class Steps:
    """Makes steps, and looks whether their losses and gradients are finite.

    On a CPU a step is looked at before the optimiser moves. A GPU is not waited for: the first
    step that was not finite is noted there, and :meth:`first_bad` reads the note. Gradients of
    float16 may overflow by their scale: they count where it cannot be the scale any more.

    Args:
        losses: of the problem.
        processes: whose gradients are averaged.
        parameters: all that any optimiser changes.
        device: where they are.
    """

    def __init__(
        self, losses: Losses, processes: Processes, parameters: list[Tensor], device: torch.device
    ) -> None:
        self.losses, self.processes, self.parameters = losses, processes, parameters
        self.scaler = losses.precision.scaler
        self.device = device
        self.deferred = device.type != "cpu"
        self.problem = ""
        names = [term.name for term in losses.terms]
        scaled = f" with losses scaled by {LEAST_SCALE:.0e}"
        self.labels = [*(f"loss of term {name!r}" for name in names), "total loss",
                       GRADIENTS + ("" if self.scaler is None else scaled)]  # fmt: skip
        self.note = torch.full((1 + len(self.labels),), -1.0, dtype=torch.float64, device=device)
        self._number = torch.zeros((), dtype=torch.int64, device=device)
        self._captured: dict[int, Captured] = {}
        self._of_stage: tuple[Stage, list[Tensor]] | None = None

    # ---- kinds of step ---------------------------------------------------------------------------

    def plain(self, stage: Stage, step: int, flags: list[float]) -> Found | None:
        """Losses, backward, and the optimiser; None where something is not finite."""
        if not self.losses.compiled:
            return self._body(stage, step, step, flags)
        self.losses.update(step)
        return self._body(stage, self._number.fill_(step), step, flags)

    def captured(self, number: int, stage: Stage, step: int, flags: list[float]) -> Found | None:
        """The same as the replay of a CUDA graph."""
        self.losses.update(step)
        if number not in self._captured:
            self._captured[number] = Captured(
                functools.partial(self._still_body, stage), self.device
            )
        found = self._captured[number](step)
        self._agree(flags)
        return found

    def _still_body(self, stage: Stage, number: Tensor) -> Found:
        with self.losses.still():
            found = self._body(stage, number, None, None)
        assert found is not None
        return found

    def forget_graphs(self) -> None:
        """Capture anew: what a graph reads has been replaced."""
        self._captured.clear()

    def closure(self, stage: Stage, step: int, flags: list[float]) -> Found | None:
        """One ``optimizer.step(closure)``; parameters that are not finite are taken back, and all
        that has moved where an error leaves the step."""
        before = [p.detach().clone() for p in self.parameters]
        put_back = stage.kept()
        seen: list[Found] = []

        def closure() -> Tensor:
            self._zero()
            losses, total = self.losses(self._number.fill_(step) if self.losses.compiled else step)
            self._backward(stage, total)
            self.processes.average_gradients(self.parameters)
            whole = self.processes.average(total.detach())
            seen.append(({name: loss.detach() for name, loss in losses.items()}, whole))
            return whole

        try:
            stage.optimizer.step(closure)  # type: ignore[arg-type]
            finite = torch.stack([torch.isfinite(p).all() for p in self.parameters]).all()
            first = seen[0]
            self.problem = self._bad(first, None) or (
                "" if bool(finite) else "parameters after the optimiser's step"
            )
            self._agree(flags, bad=bool(self.problem))
        except BaseException:  # of a residual, or Ctrl-C: the loop may be entered again
            self._move_back(before)
            put_back()
            raise
        if flags[0] > 0:
            self._move_back(before)
            stage.optimizer.state.clear()  # its history has what is not finite
            self.problem = self.problem or "a loss or gradient in another process"
            return None
        return first

    # ---- the parts -------------------------------------------------------------------------------

    @torch.no_grad()
    def _move_back(self, before: list[Tensor]) -> None:
        torch._foreach_copy_(self.parameters, before)

    def _zero(self) -> None:
        for p in self.parameters:
            p.grad = None

    def _body(
        self, stage: Stage, number: Any, step: int | None, flags: list[float] | None
    ) -> Found | None:
        self._zero()
        losses, total = self.losses(number)
        alone = self.processes.count == 1
        bad = ""
        if not self.deferred:
            bad = self._bad((losses, total), None)
            if bad and alone:
                self.problem = bad
                return None
        self._backward(stage, total)
        if not alone:
            self._average(flags, bad)
            if bad or (flags is not None and flags[0] > 0):  # before the scaler begins a step
                self.problem = bad or "a loss or gradient in another process"
                return None
        if self.scaler is not None:
            self.scaler.unscale_(stage.optimizer)
        norm = self._norm(stage)
        detached = {name: loss.detach() for name, loss in losses.items()}
        found = detached, self._unscaled(total.detach())
        if self.deferred:
            self._note(found, norm, number)
        else:
            bad = self._bad(None, norm)
        if self.scaler is None:
            if not bad:
                stage.optimizer.step()
        else:
            if bad and self.scaler.get_scale() > LEAST_SCALE:
                bad = ""  # it may have been the scale
            self.scaler.step(stage.optimizer)  # left out where gradients are not finite
            self.scaler.update()
        self.problem = bad or self.problem
        return None if bad else found

    def _backward(self, stage: Stage, total: Tensor) -> None:
        """Gradients of all parameters; the stage's must be among them."""
        name, wanted = type(stage.optimizer).__name__, "parameters that the losses depend on"
        if not total.requires_grad:
            off = "They are switched off (torch.no_grad, torch.inference_mode)."
            fix = "" if torch.is_grad_enabled() else off
            fail("optimizer", wanted, f"{name}, and losses without gradients", fix)
        total.backward()  # type: ignore[no-untyped-call]
        alone = self.processes.count == 1
        if alone and all(p.grad is None for p in self._trained(stage)):
            fail("optimizer", wanted, f"{name} with none of them")

    def _unscaled(self, total: Tensor) -> Tensor:
        # get_scale() would wait for a GPU.
        return total if self.scaler is None else total / self.scaler.scale(torch.ones_like(total))

    def _average(self, flags: list[float] | None, bad: str) -> None:
        """Gradients of all processes, and what they ask for, in one exchange."""
        if flags is None:  # in a graph
            return self.processes.average_gradients(self.parameters)
        flags[0] = float(bool(bad))
        shared = torch.tensor(flags)
        self.processes.average_gradients(self.parameters, shared)
        flags[:] = shared.tolist()

    def _agree(self, flags: list[float], bad: bool = False) -> None:
        """What the processes ask for, where no gradients carry it."""
        flags[0] = float(bad)
        if self.processes.count > 1:
            shared = torch.tensor(flags, device=self.device)
            flags[:] = (self.processes.average(shared) * self.processes.count).tolist()

    def _norm(self, stage: Stage) -> Tensor:
        """The norm of all gradients, clipped where the stage says so."""
        found = [p.grad for p in self._trained(stage) if p.grad is not None]
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(found)))
        if stage.clip is not None:
            torch.nn.utils.clip_grads_with_norm_(self._trained(stage), stage.clip, norm)
        return norm

    def _trained(self, stage: Stage) -> list[Tensor]:
        """The parameters of a stage; kept, since they are asked for at every step."""
        if self._of_stage is None or self._of_stage[0] is not stage:
            self._of_stage = stage, stage.parameters()
        return self._of_stage[1]

    # ---- what is not finite ----------------------------------------------------------------------

    def _bad(self, found: Found | None, norm: Tensor | None) -> str:
        """What is not finite, in words; nothing where all is."""
        if norm is not None:
            value = norm.item()
            return "" if math.isfinite(value) else f"{self.labels[-1]}, {value}"
        assert found is not None
        losses, total = found
        if math.isfinite(total.item()):  # most steps; losses that cancel are seen with the next
            return ""
        values = {f"loss of term {name!r}": loss.item() for name, loss in losses.items()}
        bad = [f"{name}, {value}" for name, value in values.items() if not math.isfinite(value)]
        return ", ".join(bad) or f"total loss, {total.item()}"

    def _note(self, found: Found, norm: Tensor, number: Any) -> None:
        """Keep the first values that are not finite on the device."""
        losses, total = found
        parts = [*losses.values(), total, norm]
        values = torch.stack([part.to(torch.float64) for part in parts])
        finite = torch.isfinite(values)
        if self.scaler is not None:
            high = self.scaler.scale(torch.ones_like(norm)) > LEAST_SCALE
            finite = torch.cat((finite[:-1], finite[-1:] | high.reshape(1)))
        step = number if isinstance(number, Tensor) else self._number.fill_(number)
        new = torch.cat((step.to(torch.float64).reshape(1), values))
        first = (self.note[0] < 0) & ~finite.all()
        self.note.copy_(torch.where(first, new, self.note))

    def first_bad(self) -> int | None:
        """The first step that was not finite on a GPU, with ``problem`` in words; it is waited
        for. None: all were."""
        if not self.deferred:
            return None
        at, *values = self.note.tolist()
        if at < 0:
            return None
        self.note.fill_(-1.0)
        pairs = zip(self.labels, values, strict=True)
        bad = [f"{label}, {value}" for label, value in pairs if not math.isfinite(value)]
        of_terms = [text for text in bad if text.startswith("loss of")]
        self.problem = ", ".join(of_terms or bad)
        return int(at)


# Not finite, interrupted, asked to stop, out of time, seconds (of all processes together).
assert FLAGS == 5
