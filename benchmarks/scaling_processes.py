"""The processes of ``benchmarks.scaling``: groups that torchrun starts, and what each one does."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, fields
from multiprocessing.connection import Client, Connection, wait
from pathlib import Path
from typing import Any

import colloc as cc
import torch
from torch import Tensor, distributed

#: Seconds that a group has to start, on a machine that is busy with starting others.
START = 120.0


class FailedProcess(RuntimeError):
    """A process of a group has failed, does not answer, or computes something else."""


@dataclass(frozen=True)
class Settings:
    """What every process must know."""

    device: str
    points: int
    walls: int
    layers: int
    width: int
    graph: bool
    timeout: float

    def arguments(self) -> list[str]:
        """For the command line of ``benchmarks.scaling``, which makes the walls from the points."""
        named = [f for f in fields(self) if f.name not in ("walls", "graph")]
        given = [text for f in named for text in (f"--{f.name}", str(getattr(self, f.name)))]
        return [*given, "--graph"] if self.graph else given


# ---- one process ---------------------------------------------------------------------------------


def source(x: Tensor) -> Tensor:
    """f of u = sin(pi x) sin(pi y)."""
    return (1 - 2 * math.pi**2) * torch.sin(math.pi * x).prod(dim=1, keepdim=True)


class Member:
    """What a process can be asked for; the methods that are no orders begin with ``_``."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._rank, self._count = distributed.get_rank(), distributed.get_world_size()
        self._own, _ = distributed.new_subgroups(1)  # for copies, which exchange nothing
        self._trainers: dict[tuple[bool, bool], cc.training.Trainer] = {}

    def _trainer(self, weak: bool, copy: bool) -> cc.training.Trainer:
        """Of all processes, or of this one alone with the points of one process."""
        if (weak, copy) in self._trainers:
            return self._trainers[weak, copy]
        s = self._settings
        torch.manual_seed(0)
        square = cc.geometry.Rectangle((-1, -1), (1, 1))
        net = cc.nn.MLP(2, 1, s.width, s.layers, "tanh", dtype=torch.float32, device=s.device)

        def sampler(shape: Any, points: int) -> cc.sampling.Halton:
            options: dict[str, Any] = {"dtype": torch.float32, "device": s.device}
            if copy:
                mine = points if weak else -(-points // self._count)
                return cc.sampling.Halton(shape, mine, rank=0, world_size=1, **options)
            return cc.sampling.Halton(shape, points * (self._count if weak else 1), **options)

        samplers = {
            "interior": sampler(square, s.points),
            "walls": sampler(square.boundary, s.walls),
        }
        equation = cc.pde.helmholtz(1.0, source)
        terms = [
            cc.Term("interior", net, samplers["interior"](0), equation),
            cc.Term("walls", net, samplers["walls"](0), lambda u, x: u.value, order=0),
        ]
        self._trainers[weak, copy] = cc.training.Trainer(
            terms,
            net,
            torch.optim.Adam(net.parameters(), 1e-3, fused=True, capturable=s.graph),
            samplers,
            steps=10**9,
            log_every=10**9,
            save_every=10**9,
            graph=s.graph,
            progress=False,
            process_group=self._own if copy else None,
        )
        return self._trainers[weak, copy]

    def _wait(self) -> None:
        if self._settings.device == "cuda":
            torch.cuda.synchronize()

    def _timed(self, call: Any) -> dict[str, float]:
        """From the moment when all processes are here."""
        distributed.barrier()
        self._wait()
        cpu, begin = time.process_time(), time.perf_counter()  # the same clock in all processes
        call()
        self._wait()
        return {"begin": begin, "end": time.perf_counter(), "cpu": time.process_time() - cpu}

    def _steps(self, trainer: cc.training.Trainer, count: int) -> None:
        end = trainer.state.step + count
        for state in trainer:
            if state.step == end:
                break

    def warm_up(self, weak: bool, copy: bool, count: int) -> float:
        """Some steps; the loss of the last one. Another one is timed, as later ones are."""
        trainer = self._trainer(weak, copy)
        self._steps(trainer, count)
        loss = float(trainer.state.total)
        self.steps(weak, copy, 1)
        return loss

    def steps(self, weak: bool, copy: bool, count: int) -> dict[str, float]:
        """Seconds of so many steps."""
        trainer = self._trainer(weak, copy)
        return self._timed(lambda: self._steps(trainer, count))

    def exchange(self, weak: bool, count: int) -> dict[str, float]:
        """Seconds of so many exchanges, of the gradients that the last step has left."""
        trainer = self._trainer(weak, False)
        parameters = list(trainer.net.parameters())
        flags = None if self._settings.graph else torch.zeros(cc.training.processes.FLAGS)

        def call() -> None:
            for _ in range(count):
                trainer.processes.average_gradients(parameters, flags)

        return self._timed(call)

    def points(self, weak: bool, count: int) -> dict[str, float]:
        """Seconds to make the points of so many steps."""
        trainer = self._trainer(weak, False)
        step = trainer.state.step

        def call() -> None:
            for k in range(count):
                for sampler in trainer.samplers.values():
                    sampler(step + k)

        return self._timed(call)

    def digest(self, weak: bool) -> float:
        """The sum of all parameters."""
        parameters = self._trainer(weak, False).net.parameters()
        return float(torch.cat([p.detach().reshape(-1).double() for p in parameters]).sum())


def serve(address: str, settings: Settings) -> int:
    """Do what the main process asks for, until it says None or is gone."""
    torch.set_num_threads(1)
    with Client(address, "AF_UNIX") as main:
        try:
            main.send(("here", (int(os.environ["RANK"]), os.getpid())))
            cc.training.start_processes(settings.device, settings.timeout)
            member = Member(settings)
            while (order := main.recv()) is not None:
                main.send(("done", getattr(member, order[0])(*order[1:])))
        except (EOFError, ConnectionError):
            os._exit(1)  # the main process has ended
        except BaseException as error:
            with contextlib.suppress(OSError):
                main.send(("failed", f"{type(error).__name__}: {error}"))
            raise
        distributed.destroy_process_group()
    return 0


# ---- a group, from outside -----------------------------------------------------------------------


def command(count: int, address: str, settings: Settings) -> list[str]:
    """What starts a group."""
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    member = ["-m", "benchmarks.scaling", "--member", address, *settings.arguments()]
    return [*start, "--nproc-per-node", str(count), *member]


class Group:
    """Processes that torchrun has started, and that wait for orders.

    Args:
        count: of them.
        folder: for the socket and for what they print.
        settings: theirs.
        start: the command; None is torchrun.
    """

    def __init__(
        self, count: int, folder: Path, settings: Settings, start: list[str] | None = None
    ) -> None:
        self.count, self.timeout = count, settings.timeout
        self.members: dict[Connection, int] = {}
        self.pids: list[int] = []
        address = str(folder / f"{count}.socket")
        self.door = socket.socket(socket.AF_UNIX)
        self.door.bind(address)
        self.door.listen(count)
        self.log = folder / f"{count}.log"
        with self.log.open("w") as file:
            self.run = subprocess.Popen(
                start or command(count, address, settings),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )

    def join(self) -> None:
        """Wait until all processes are here.

        Raises:
            FailedProcess: they end, or it takes longer than START.
        """
        end = time.monotonic() + START
        self.door.settimeout(0.2)
        while len(self.members) < self.count:
            code = self.run.poll()
            if code is not None or time.monotonic() > end:
                why = f"in {START:g} s" if code is None else f"before exit code {code}"
                self._fail([f"processes {sorted(self.members.values())} alone have started {why}"])
            with contextlib.suppress(TimeoutError):
                accepted, _ = self.door.accept()
                accepted.setblocking(True)
                connection = Connection(accepted.detach())
                _, (rank, pid) = connection.recv()
                self.members[connection] = rank
                self.pids.append(pid)
        self.door.close()

    def ask(self, *order: Any) -> list[Any]:
        """The answers of all processes, in their order.

        Raises:
            FailedProcess: one has failed, ended, or does not answer within the timeout.
        """
        for connection in self.members:
            with contextlib.suppress(OSError):  # it has ended: seen below
                connection.send(order)
        waiting, answers = dict(self.members), {}
        bad: list[str] = []
        end = time.monotonic() + self.timeout
        while waiting:
            ready: list[Any] = wait(list(waiting), timeout=max(0.0, end - time.monotonic()))
            if not ready:
                if not bad:
                    bad = [f"no answer in {self.timeout:g} s: {sorted(waiting.values())}"]
                break
            for connection in ready:
                rank = waiting.pop(connection)
                try:
                    said, answers[rank] = connection.recv()
                except (EOFError, OSError):
                    said, answers[rank] = "failed", "ended without a word"
                if said == "failed":
                    if not bad:  # others may know more about it
                        end = min(end, time.monotonic() + 3.0)
                    bad.append(f"process {rank}: {answers[rank]}")
        if bad:
            self._fail(bad)
        return [answers[rank] for rank in sorted(answers)]

    def _fail(self, reasons: list[str]) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.run.wait(min(2.0, self.timeout))  # torchrun says how a process has ended
        self.kill()
        printed = self.log.read_text(errors="replace")[-3000:]
        what = "\n".join(reasons)
        raise FailedProcess(f"group of {self.count}: {what}\nlast lines it printed:\n{printed}")

    def leave(self) -> None:
        """Let all processes end."""
        for connection in self.members:
            connection.send(None)
        try:
            code = self.run.wait(self.timeout)
        except subprocess.TimeoutExpired:
            self._fail([f"does not end in {self.timeout:g} s"])
        if code != 0:
            self._fail([f"exit code {code}"])
        self.pids = []

    def kill(self) -> None:
        """End all that is left of it."""
        self.door.close()
        if self.run.poll() is None:
            self.run.kill()
            self.run.wait()
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.pids = []
        for connection in self.members:
            connection.close()
        self.members = {}
