"""Ctrl-C as a request to stop between two steps."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class Interrupt:
    """While active, the first SIGINT or SIGTERM sets ``requested``; the second one acts as usual.

    ``with Interrupt() as interrupt: while not interrupt.requested: ...``. Of several at a time
    all are asked, and they may end in any order. Outside the main thread, where Python has no
    signal handlers, it does nothing.
    """

    def __init__(self) -> None:
        self.requested = False
        self._active = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            self._active = True
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._request)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        below = self._below(number)
        self._restore()
        owner = getattr(below, "__self__", None)
        if isinstance(owner, Interrupt):  # a run around this one ends, too
            owner._request(number, frame)

    def _restore(self) -> None:
        self._active = False
        for number in self._before:
            # Where another one is on top, it puts back what is below both.
            if signal.getsignal(number) == self._request:
                signal.signal(number, self._below(number))

    def _below(self, number: int) -> Any:
        """The handler from before, of those that still stand."""
        handler = self._before[number]
        owner = getattr(handler, "__self__", None)
        if isinstance(owner, Interrupt) and not owner._active:
            return owner._below(number)
        # None: a handler that was not set from Python, and can't be put back from here.
        return signal.SIG_DFL if handler is None else handler
