"""A progress bar in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType
from typing import Any, TextIO

from colloc.training._extras import require


class Progress:
    """Shows how far a training is, with loss, error, rate and time left.

    ``with Progress() as progress: progress.update(fraction, step, loss=..., error=...)``

    Args:
        stream: where to write; None is standard error.
        every: seconds between two lines where the stream is no terminal.
    """

    def __init__(self, stream: TextIO | None = None, every: float = 10.0) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._every = every
        self._started = self._last = time.monotonic()
        self._shown: dict[str, float] = {}
        self._bar: Any = None
        if self._stream.isatty():
            # A terminal that does not know its size says 0, and tqdm would show nothing.
            known = _size_known(self._stream)
            self._bar = require("tqdm", "the progress bar").tqdm(
                total=1.0,
                file=self._stream,
                bar_format="{percentage:3.0f}% |{bar}| {desc}",
                dynamic_ncols=known,
                ncols=None if known else 100,
                nrows=None if known else 24,
                mininterval=0.2,
            )

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, fraction: float, step: int, **values: float) -> None:
        """Show the state; cheap enough for every few steps.

        Args:
            fraction: how much is done, 0 to 1.
            step: steps done.
            values: what to show, e.g. loss=0.1; a value stays shown until it is replaced.
        """
        self._shown.update(values)
        now = time.monotonic()
        if self._bar is not None:
            self._bar.n = min(max(fraction, 0.0), 1.0)
            self._bar.set_description_str(self._line(fraction, step, now), refresh=False)
            if now - self._last >= 0.2 or fraction >= 1:
                self._last = now
                self._bar.refresh()
        elif now - self._last >= self._every or (fraction >= 1 and now > self._last):
            self._last = now
            print(f"{100 * fraction:3.0f}%  {self._line(fraction, step, now)}", file=self._stream)
            self._stream.flush()

    def _line(self, fraction: float, step: int, now: float) -> str:
        elapsed = now - self._started
        parts = [f"step {step}"]
        parts += [f"{name} {value:.3g}" for name, value in self._shown.items()]
        if elapsed > 0:
            parts.append(f"{step / elapsed:.3g} steps/s")
        if 0 < fraction < 1:
            parts.append(f"{_clock(elapsed * (1 - fraction) / fraction)} left")
        elif fraction >= 1:
            parts.append(f"{_clock(elapsed)} in all")
        return ", ".join(parts)


def _size_known(stream: TextIO) -> bool:
    try:
        return min(os.get_terminal_size(stream.fileno())) > 0
    except (OSError, ValueError):
        return False


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
