"""What a run is at one moment: what its loop shows, and what its checkpoints hold."""

from __future__ import annotations

import os
import random
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from colloc import _C
from colloc._checks import fail
from colloc.balancing.rows import PointRule
from colloc.training.checkpoint import serialised

if TYPE_CHECKING:
    from colloc.training.trainer import Trainer

FORMAT = 1


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
        self.seconds = 0.0
        """Spent in training, those of the runs that were resumed counted in."""
        self.learning_rate: float | Tensor = 0.0
        """Of the last step."""
        self.ended = ""
        """Why the run is over, or why an earlier one was that it resumes: "steps", "target",
        "seconds" (the limit of time), "interrupted" (SIGINT, SIGTERM), "stopped"
        (``trainer.stop()``), "not finite"; "" while it goes on, and after a loop was left."""
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
    known = _tensors_of(trainer.net) | _tensors_of(trainer.balancer)
    found: dict[str, tuple[nn.Module, dict[str, Any]]] = {}
    for term in trainer.terms:
        rule = trainer.point_rules.get(term.name)
        for part, module in (*vars(term).items(), ("point_rule", rule)):
            if not isinstance(module, nn.Module) or id(module) in seen:
                continue
            seen.add(id(module))
            state = module.state_dict(keep_vars=True)
            mine = {key: one for key, one in state.items() if id(one) not in known}
            known |= _tensors_of(module)
            mine = {k: v.detach() if isinstance(v, Tensor) else v for k, v in mine.items()}
            if mine:
                found[f"{term.name}.{part.strip('_')}"] = module, mine
    return found


def parameters_of(trainer: Trainer) -> list[Tensor]:
    """What optimisers change beside the network and the balancer, as an unknown coefficient."""
    known = _tensors_of(trainer.net) | _tensors_of(trainer.balancer)
    for module, _ in modules_of(trainer).values():
        known |= _tensors_of(module)
    return [p for p in trainer._steps.parameters if id(p) not in known]


def points_of(trainer: Trainer) -> dict[str, Tensor]:
    """Points that have a weight each, by the names of their terms."""
    rules = trainer.point_rules
    return {
        term.name: term.x.detach()
        for term in trainer.terms
        if isinstance(rules.get(term.name), PointRule)
    }


def _tensors_of(module: nn.Module) -> set[int]:
    return {id(one) for one in (*module.parameters(), *module.buffers())}


def check_saved(state: dict[str, Any]) -> None:
    """Whether a checkpoint of this will load.

    Raises:
        TypeError: it will not; the message names the part.
    """
    for name, part in state.items():
        serialised({name: part}, name)


def collect(trainer: Trainer) -> dict[str, Any]:
    """All of a run, as a checkpoint holds it; in all processes, as each has random numbers."""
    state = trainer.state
    samplers = {}
    for name, sampler in trainer.samplers.items():
        state_dict = getattr(sampler, "state_dict", None)
        if callable(state_dict):
            samplers[name] = state_dict()
    return {
        "format": FORMAT,
        "step": state.step,
        "seconds": state.seconds,
        "stage": [state.stage, state.stage_start],
        "errors": dict(state.errors),
        "ended": state.ended,
        "rollbacks": trainer.rollbacks,
        "net": trainer.net.state_dict(),
        "stages": [stage.state_dict() for stage in trainer.stages],
        "balancer": trainer.balancer.state_dict(),
        "modules": {name: mine for name, (_, mine) in modules_of(trainer).items()},
        "parameters": [p.detach() for p in parameters_of(trainer)],
        "points": points_of(trainer),
        "scaler": trainer.precision.state_dict(),
        "samplers": samplers,
        "terms": [term.name for term in trainer.terms],
        "processes": trainer.processes.count,
        "random": trainer.processes.gather(random_state()),
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
    if len(found["stages"]) != len(trainer.stages):
        got = str(len(trainer.stages))
        fail("optimizer", f"the checkpoint's {len(found['stages'])} stages", got)
    if found["step"] > trainer.total_steps:
        got = f"{trainer.total_steps} in all"
        fail("steps", f"at least the checkpoint's {found['step']}", got)
    modules, others = modules_of(trainer), parameters_of(trainer)
    saved = found.get("modules", {})
    if set(saved) != set(modules) and "modules" in found:
        got = f"{sorted(modules) or 'none'}"
        fail("problem", f"terms with the checkpoint's modules, {sorted(saved) or 'none'}", got)
    values = found.get("parameters", [])
    shapes = [tuple(p.shape) for p in others], [tuple(p.shape) for p in values]
    if shapes[0] != shapes[1] and "parameters" in found:
        wanted = f"one with the checkpoint's parameters beside the network, {shapes[1]}"
        fail("optimizer", wanted, f"shapes {shapes[0]}")
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
    with torch.no_grad():
        for p, value in zip(others, values, strict=False):
            p.copy_(value)
    for stage, state in zip(trainer.stages, found["stages"], strict=True):
        stage.load_state_dict(state)
    trainer.fit_rates()
    trainer.balancer.load_state_dict(found["balancer"])
    trainer.precision.load_state_dict(found["scaler"])
    for name, state in found["samplers"].items():
        sampler: Any = trainer.samplers.get(name)
        if callable(getattr(sampler, "load_state_dict", None)):
            sampler.load_state_dict(state)
    trainer.state.step = found["step"]
    trainer.state.seconds = trainer._own_seconds = found["seconds"]
    trainer.state.stage, trainer.state.stage_start = found["stage"]
    trainer.state.errors = dict(found["errors"])
    trainer.state.ended = str(found.get("ended", ""))
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


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _listed(state: Any) -> list[Any]:
    version, numbers, rest = state
    return [version, list(numbers), rest]
