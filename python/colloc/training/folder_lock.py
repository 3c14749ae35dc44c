"""The claim of one run on its folder, which the kernel drops when the process dies."""

from __future__ import annotations

import errno
import json
import os
import secrets
import socket
import time
import weakref
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from colloc._checks import fail

try:
    import fcntl
except ImportError:  # not a POSIX system: runs go on without locks
    fcntl = None  # type: ignore[assignment]  # a module elsewhere

#: Seconds in which another one's look, or the end of a killed process, is waited for.
_PATIENCE = 0.5
_HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
_locks: weakref.WeakSet[FolderLock] = weakref.WeakSet()


class FolderLock:
    """One run at a time: ``with lock: ...`` around all that writes into a folder.

    An advisory lock (``flock``) on a file in which stands who has it. However a process ends, its
    lock is gone with it. A lock that is not held leaves the folder to others; :meth:`__enter__`
    notices whether one of them has used it since. Nested blocks of one lock are one.

    On platforms without ``fcntl`` and file systems without ``flock`` nothing is locked.

    Args:
        path: the file; made by the first block. Its folder must exist.
        name: of the folder, in errors.

    Raises:
        ValueError: another run holds it.
    """

    def __init__(self, path: str | os.PathLike[str], name: str | os.PathLike[str]) -> None:
        self.path, self.name = Path(path), os.fspath(name)
        self._file: Any = None
        self._depth = 0
        _locks.add(self)
        if fcntl is not None and self.path.exists():
            with suppress(OSError), self.path.open("rb") as file:
                self._wait(file, fcntl.LOCK_SH)
        self._seen = self._holder().get("mark")

    def __enter__(self) -> FolderLock:
        """Hold it.

        Raises:
            ValueError: another run holds it, or has held it since this one was made or let go.
        """
        if self._depth == 0:
            self._take()
        elif self._file is not None:
            self._check_there()
        self._depth += 1
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._depth = max(0, self._depth - 1)
        if self._depth == 0:
            self._drop()

    def _take(self) -> None:
        # A folder that is gone or full must not end a run that still computes.
        with suppress(OSError):
            number = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            self._file = os.fdopen(number, "rb+", buffering=0)
        if self._file is None:
            return
        try:
            if fcntl is not None:
                self._wait(self._file, fcntl.LOCK_EX)
            before = self._holder()
            if before.get("mark", self._seen) != self._seen:
                fail("output", "a folder that no other run has used since this trainer saw it",
                     f"{self.name}, used by {_who(before)}",
                     "Make a new Trainer with resume=True.")  # fmt: skip
        except BaseException:
            self._drop()
            raise
        self._seen = secrets.token_hex(8)
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
        with suppress(OSError):
            self._file.truncate(0)
            self._file.seek(0)
            self._file.write(json.dumps(holder | {"mark": self._seen}).encode())

    def _check_there(self) -> None:
        """The folder may have been removed, and made anew by another run."""
        with suppress(FileNotFoundError):
            if not os.path.samestat(os.fstat(self._file.fileno()), self.path.stat()):
                fail("output", "the folder that this run has begun in",
                     f"{self.name}, removed since and used by {_who(self._holder())}")  # fmt: skip

    def _wait(self, file: Any, kind: int) -> None:
        """Lock, unless another one holds it longer than a moment."""
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                return fcntl.flock(file, kind | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in _HELD:
                    return None  # a file system without it
            if time.monotonic() > end:
                break
            time.sleep(0.02)
        holder = self._holder()
        mine = (holder.get("pid"), holder.get("host")) == (os.getpid(), socket.gethostname())
        fix = "Leave its loop first." if mine else "Wait for its end, or choose another folder."
        fail("output", "a folder that no other run uses", f"{self.name}, in use by {_who(holder)}",
             fix)  # fmt: skip

    def _holder(self) -> dict[str, Any]:
        """Who had it last; empty where that is not known."""
        with suppress(OSError, ValueError):
            found = json.loads(self.path.read_text(encoding="utf-8"))
            if isinstance(found, dict):
                return found
        return {}

    def _drop(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _who(holder: dict[str, Any]) -> str:
    if not holder:
        return "another run"
    if (holder.get("pid"), holder.get("host")) == (os.getpid(), socket.gethostname()):
        return f"another Trainer of this process, since {holder.get('since')}"
    return "process {pid} on {host}, since {since}".format_map({"pid": "?", "host": "?",
                                                               "since": "?"} | holder)  # fmt: skip


def _after_fork() -> None:
    """A child must not keep its parent's lock when the parent is killed."""
    for lock in list(_locks):
        lock._depth = 0
        lock._drop()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
