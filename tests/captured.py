"""What has no place in a step that a trainer captures as a CUDA graph, seen without a GPU."""

from __future__ import annotations

import sys
import traceback

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Waits(TorchDispatchMode):
    """Notes what would wait for a GPU or copy from the host: no place for it in a captured step."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = str(func)
        one = name.startswith("aten.copy_.") and args[0].ndim == args[1].ndim == 0  # t[0, 1] = 2
        if one or any(part in name for part in ("_local_scalar", "lift_fresh", "nonzero")):
            self.found.append(f"{name}: {traceback.format_stack(limit=4)[0]}")
        return func(*args, **(kwargs or {}))


def waits_of(trainer, monkeypatch) -> list[str]:
    """What the captured part of a trainer's first two steps would wait for."""
    steps, stage, waits = trainer._steps, trainer.stages[0], Waits()
    steps.deferred = True
    for name, module in list(sys.modules.items()):  # a GPU is not waited for to check entries
        if name.startswith("colloc.") and hasattr(module, "concrete"):
            monkeypatch.setattr(module, "concrete", lambda value: False)
    monkeypatch.setattr(stage.optimizer, "step", lambda: None)  # another one there, fused
    monkeypatch.setattr(stage.optimizer, "_step_supports_amp_scaling", True, raising=False)
    for k in range(2):
        trainer._place(stage)
        trainer.state.step += 1
        steps.losses.update(k)
        number = torch.tensor(k)
        with waits:
            steps._still_body(stage, number)
    return waits.found
