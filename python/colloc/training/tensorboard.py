"""Curves of a training in TensorBoard."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import TracebackType

from torch import Tensor

from colloc._checks import check_int, describe, fail_type
from colloc.training._extras import require


class TensorBoard:
    """Writes losses, weights and errors as scalars, to be looked at by ``tensorboard --logdir``.

    Example::

        with cc.training.TensorBoard("runs/demo/tensorboard") as board:
            for step in range(5000):
                ...
                if step % 100 == 0:
                    board.log(step, loss=losses, weight=balancer.weights, error={"u": error})

    Args:
        folder: where the event files go; made if it is not there.
        first: the first step that this one writes: curves that are in the folder already end
            before it, so that those of a resumed run go on where its checkpoint was. None: they
            stay as they are.

    Raises:
        ImportError: the package tensorboard is not installed.
        OSError: the folder cannot be written.
        TypeError, ValueError: ``first`` is no step.
    """

    def __init__(self, folder: str | os.PathLike[str], first: int | None = None) -> None:
        first = None if first is None else check_int("first", first, minimum=0)
        require("tensorboard", "TensorBoard", "tensorboard")
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(os.fspath(folder), purge_step=first)

    def log(self, step: int, **groups: Mapping[str, float | Tensor]) -> None:
        """Numbers of a step: each goes to the curve ``group/name``.

        Args:
            step: the abscissa, an integer >= 0.
            groups: by the group's name a dictionary of numbers (or tensors of one entry,
                which a GPU is waited for).

        Raises:
            TypeError, ValueError: no such step, or no such dictionary.
            OSError: what was logged before could not be written.
        """
        step = check_int("step", step, minimum=0)
        for group, numbers in groups.items():
            if not isinstance(numbers, Mapping):
                fail_type(group, "a dictionary of numbers by name", describe(numbers))
            for name, number in numbers.items():
                value = number.detach() if isinstance(number, Tensor) else number
                self._writer.add_scalar(f"{group}/{name}", float(value), step)

    def flush(self) -> None:
        """Write what is left now, and not within two minutes.

        Raises:
            OSError: it could not be written.
        """
        self._writer.flush()

    def close(self) -> None:
        """Write what is left; done at the end of a ``with`` block."""
        self._writer.close()

    def __enter__(self) -> TensorBoard:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
