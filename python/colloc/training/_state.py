"""What a run is at one moment: what its loop shows, and the parts of it that are looked for."""

from __future__ import annotations

import os
import random
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from colloc.balancing.rows import PointRule

if TYPE_CHECKING:
    from colloc.training.trainer import Trainer


class State:
    """What a loop over a trainer sees; one object, changed from step to step.

    ``losses`` and ``total`` are the last step's, as tensors: reading a number from them waits for
    a GPU. In several processes they are of this one's points alone, and differ from process to
    process (``total`` of an L-BFGS stage is the mean); ``trainer.processes.average(state.total)``
    is the mean, where all processes call it, and so are the numbers in ``metrics.jsonl``. A
    process that leaves the loop by them leaves the others waiting: ``trainer.stop()`` ends the
    run in all.
    """

    def __init__(self, balancer: nn.Module) -> None:
        self.step = 0
        """Steps made."""
        self.stage = 0
        """The number of the stage that made the last one."""
        self.stage_start = 0
        """The steps that were made before it."""
        self.losses: dict[str, Tensor] = {}
        """Of each term, before the last step."""
        self.total = torch.zeros(())
        """The balancer's total of them."""
        self.errors: dict[str, float] = {}
        """What ``evaluate`` found last."""
        self.errors_step = 0
        """The step after which it did; 0 before the first time."""
        self.seconds = 0.0
        """Spent in training, those of the runs that were resumed counted in."""
        self.learning_rate: float | Tensor = 0.0
        """Of the last step."""
        self.ended = ""
        """Why the run is over, or why an earlier one was that it resumes: "steps", "target",
        "seconds" (the limit of time), "interrupted" (SIGINT, SIGTERM), "stopped"
        (``trainer.stop()``), "not finite", "evaluate failed"; "" while it goes on, and after a loop
        was left."""
        self._balancer = balancer

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each term."""
        found = getattr(self._balancer, "weights", None)
        return dict(found) if isinstance(found, dict) else {}

    def __repr__(self) -> str:
        return f"State(step={self.step}, total={float(self.total):.4g}, errors={self.errors})"


def random_state() -> dict[str, Any]:
    """Of torch, of Python, and of NumPy where it is in use."""
    found: dict[str, Any] = {"torch": torch.get_rng_state(), "python": _listed(random.getstate())}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        found["cuda"] = torch.cuda.get_rng_state_all()
    if "numpy" in sys.modules:
        name, keys, *rest = sys.modules["numpy"].random.get_state()
        found["numpy"] = [name, torch.tensor(keys.astype("int64")), *rest]
    return found


def set_random_state(state: dict[str, Any]) -> None:
    """Go on with what :func:`random_state` gave."""
    torch.set_rng_state(state["torch"].cpu())
    version, numbers, rest = state["python"]
    random.setstate((version, tuple(numbers), rest))
    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if cards and len(state.get("cuda", ())) == cards:
        torch.cuda.set_rng_state_all([one.cpu() for one in state["cuda"]])
    if "numpy" in state and "numpy" in sys.modules:
        name, keys, *rest = state["numpy"]
        sys.modules["numpy"].random.set_state((name, keys.numpy().astype("uint32"), *rest))


def memory(device: torch.device) -> int:
    """Bytes that the process has in use: of the GPU, or resident."""
    if device.type == "cuda":
        return int(torch.cuda.memory_allocated(device))
    with suppress(OSError, ValueError):
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return 0


def modules_of(trainer: Trainer) -> dict[str, tuple[nn.Module, dict[str, Any]]]:
    """Modules that terms have beside the network, and of their state what is not in it."""
    seen = {id(module) for module in trainer.net.modules()} | {id(trainer.balancer)}
    known = tensors_of(trainer.net) | tensors_of(trainer.balancer)
    found: dict[str, tuple[nn.Module, dict[str, Any]]] = {}
    for term in trainer.terms:
        rule = trainer.point_rules.get(term.name)
        # Coefficients of an equation may be modules.
        inner = {f"residual.{k}": v for k, v in getattr(term.residual, "__dict__", {}).items()}
        if isinstance(term.residual, nn.Module):
            inner = {}
        for part, module in (*vars(term).items(), *inner.items(), ("point_rule", rule)):
            if not isinstance(module, nn.Module) or id(module) in seen:
                continue
            seen.add(id(module))
            state = module.state_dict(keep_vars=True)
            mine = {key: one for key, one in state.items() if id(one) not in known}
            known |= tensors_of(module)
            mine = {k: v.detach() if isinstance(v, Tensor) else v for k, v in mine.items()}
            if mine:
                found[f"{term.name}.{part.strip('_')}"] = module, mine
    return found


def points_of(trainer: Trainer) -> dict[str, Tensor]:
    """Points that have a weight each, by the names of their terms."""
    rules = trainer.point_rules
    return {
        term.name: term.x.detach()
        for term in trainer.terms
        if isinstance(rules.get(term.name), PointRule)
    }


def tensors_of(module: nn.Module) -> set[int]:
    """The ids of a module's parameters and buffers."""
    return {id(one) for one in (*module.parameters(), *module.buffers())}


def _listed(state: Any) -> list[Any]:
    version, numbers, rest = state
    return [version, list(numbers), rest]
