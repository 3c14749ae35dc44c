"""What the processes of a run tell each other, through ``torch.distributed``.

Every process has all parameters and its own share of the points. Its losses stand for an R-th of
the whole each (``points.whole``), so that the mean of the processes' gradients is the gradient of
one process that has all points.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors

#: Gradients may be followed by numbers that every process adds to.
FLAGS = 5


class ProcessError(RuntimeError):
    """Another process of the run is gone, or does not answer."""


def start_processes(device: str | torch.device = "cpu", seconds: float = 600.0) -> bool:
    """Join the run that ``torchrun`` has started; whether there is one.

    Gloo for CPUs, NCCL for GPUs, each process on the GPU of its local number. Nothing happens
    where torch.distributed runs already, or in a process that ``torchrun`` has not started.

    Args:
        device: "cpu" or "cuda".
        seconds: how long one process waits for another before the run is given up with a
            :class:`ProcessError` (with NCCL torch ends the process).
    """
    if not distributed.is_available() or "RANK" not in os.environ:
        return False
    if distributed.is_initialized():
        return True
    on_gpu = torch.device(device).type == "cuda"
    if on_gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    distributed.init_process_group(
        "nccl" if on_gpu else "gloo", timeout=datetime.timedelta(seconds=seconds)
    )
    return True


class Processes:
    """The processes of a run, or the only one.

    Args:
        group: a torch.distributed group; None is the default one, where it is initialised.
    """

    def __init__(self, group: Any = None) -> None:
        self.group = group
        known = distributed.is_available() and distributed.is_initialized()
        self.rank = distributed.get_rank(group) if known else 0
        self.count = distributed.get_world_size(group) if known else 1

    @property
    def first(self) -> bool:
        """Whether this one writes files."""
        return self.rank == 0

    def _call(self, function: Any, *arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, group=self.group, **options)
        except RuntimeError as error:
            raise self._gone(error) from error

    def _gone(self, error: RuntimeError) -> ProcessError:
        return ProcessError(
            f"process {self.rank} of {self.count}: another process of the run has ended or does "
            f"not answer ({str(error).splitlines()[0]}). Look at its messages, then start all of "
            "them again with resume=True. If it has left the loop alone (break), use "
            "trainer.stop() there."
        )

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Exchanges of samplers, balancers and one's own functions raise ProcessError, too."""
        try:
            yield
        except RuntimeError as error:
            # Gloo's errors have no type of their own.
            if isinstance(error, ProcessError) or self.count == 1:
                raise
            if isinstance(error, distributed.DistError) or "gloo/" in str(error):
                raise self._gone(error) from error
            raise

    def average_gradients(self, parameters: Iterable[Tensor], flags: Tensor | None = None) -> None:
        """Give each ``.grad`` the mean of all processes, in one exchange; ``flags`` (FLAGS,) the
        sum. A parameter without a gradient here gets one of 0 where another process has one."""
        if self.count == 1:
            return
        chosen = list(parameters)
        for p in chosen:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
        by_dtype: dict[torch.dtype, list[Tensor]] = {}
        for p in chosen:
            assert p.grad is not None
            by_dtype.setdefault(p.grad.dtype, []).append(p.grad)
        for k, tensors in enumerate(by_dtype.values()):
            extra = [] if flags is None or k else [flags.to(tensors[0])]
            flat = _flatten_dense_tensors([*tensors, *extra])
            self._call(distributed.all_reduce, flat)
            parts = _unflatten_dense_tensors(flat, [*tensors, *extra])
            torch._foreach_copy_(tensors, list(parts[: len(tensors)]))
            torch._foreach_div_(tensors, float(self.count))
            if extra and flags is not None:
                flags.copy_(parts[-1])

    def average(self, values: Tensor) -> Tensor:
        """The mean of all processes' values."""
        if self.count == 1:
            return values
        total = values.detach().clone()
        self._call(distributed.all_reduce, total)
        return total / self.count

    def same_start(self, tensors: Iterable[Tensor]) -> None:
        """Give every process the first one's values."""
        if self.count > 1:
            with torch.no_grad():
                for tensor in tensors:
                    self._call(distributed.broadcast, tensor, src=0)

    def gather(self, value: Any) -> list[Any]:
        """Every process' value, in all of them."""
        if self.count == 1:
            return [value]
        found: list[Any] = [None] * self.count
        self._call(distributed.all_gather_object, found, value)
        return found

    def from_first(self, value: Any) -> Any:
        """The first process' value, in all of them."""
        if self.count == 1:
            return value
        box = [value]
        self._call(distributed.broadcast_object_list, box, src=0)
        return box[0]
