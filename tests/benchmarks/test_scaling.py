"""The scale test: its ratios, what it says of processes that fail, and the arithmetic."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import colloc as cc
import pytest
import torch

from benchmarks import scaling
from benchmarks import scaling_arithmetic as arithmetic
from benchmarks.scaling import COPIES, TOGETHER, Contender, FailedProcess, Found
from benchmarks.scaling_processes import Group, Member, Settings, command

SETTINGS = Settings("cpu", 40, 5, 2, 8, False, 0.5)
RECORD = Path(scaling.__file__).parent / "results/nvidia-h100/campaign.json"

#: Two processes' ends of the line in one, which do what the argument says.
STUB = """
import os, sys, time
from multiprocessing.connection import Client
address, kind = sys.argv[1:]
if kind == "no start":
    sys.exit("no such device")
ends = [Client(address, "AF_UNIX") for _ in range(2)]
for rank, end in enumerate(ends):
    end.send(("here", (rank, os.getpid())))
order = [end.recv() for end in ends]
if kind == "works":
    for rank in (1, 0):
        ends[rank].send(("done", (rank, order[rank])))
    assert [end.recv() for end in ends] == [None, None]
    sys.exit()
if kind == "fails":
    ends[1].send(("failed", "ValueError: a bad number"))
if kind == "dies":
    ends[1].close()
time.sleep(30)
"""


def group(tmp_path, kind, timeout=0.5):
    start = [sys.executable, "-c", STUB, str(tmp_path / "2.socket"), kind]
    return Group(2, tmp_path, replace(SETTINGS, timeout=timeout), start)


def test_a_group_that_works(tmp_path):
    made = group(tmp_path, "works", 30.0)
    made.join()
    assert made.ask("steps", True) == [(0, ("steps", True)), (1, ("steps", True))]
    made.leave()
    assert made.run.poll() == 0


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("fails", "process 1: ValueError: a bad number"),
        ("dies", "process 1: ended without a word"),
        ("hangs", r"no answer in 0.5 s: \[0, 1\]"),
        ("no start", r"processes \[\] alone have started before exit code 1(.|\n)*no such device"),
    ],
)
def test_a_process_that_fails_ends_the_whole(tmp_path, kind, said):
    made = group(tmp_path, kind)
    with pytest.raises(FailedProcess, match=said):
        made.join()
        made.ask("steps")
    assert made.run.poll() is not None


def test_torchrun_hands_the_settings_on(monkeypatch):
    for settings in (SETTINGS, replace(SETTINGS, graph=True)):
        made = command(2, "there", settings)
        assert made[1:6] == ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        served = []
        monkeypatch.setattr(scaling, "serve", lambda *given, to=served: to.append(given) or 0)
        monkeypatch.setattr(sys, "argv", made[made.index("benchmarks.scaling") :])
        assert scaling.main() == 0 and served == [("there", settings)]


def test_efficiency_and_ceiling():
    chosen = scaling.contenders([1, 2])
    seconds = {
        Contender(1, False, TOGETHER): 8.0,
        Contender(2, False, TOGETHER): 5.0,
        Contender(2, False, COPIES): 4.0,
        Contender(2, True, TOGETHER): 16.0,
        Contender(2, True, COPIES): 10.0,
    }
    found = {c: [Found(k * seconds.get(c, 0.5), 1.0) for k in (1, 2, 3)] for c in chosen}
    _, strong, weak = scaling.rows(found)
    assert [strong["processes"], strong["weak"], weak["weak"]] == [2, False, True]
    assert strong["efficiency"] == pytest.approx([0.8] * 3)
    assert strong["ceiling"] == pytest.approx([1.0] * 3)
    assert strong["of ceiling"] == pytest.approx([0.8] * 3)
    assert weak["efficiency"] == pytest.approx([0.5] * 3)
    assert weak["ceiling"] == pytest.approx([0.8] * 3)
    assert weak["of ceiling"] == pytest.approx([0.625] * 3)
    assert strong["step"] == pytest.approx([10.0, 7.5, 12.5])
    text = scaling.table([*scaling.rows(found)], 40, 8)
    assert "| 2 | 1e+04 ms (7.5e+03 to 1.25e+04) |" in text and "80% (80% to 80%)" in text


def test_what_a_process_does(tmp_path):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/init", rank=0, world_size=1
    )
    threads = torch.get_num_threads()
    try:
        member = Member(SETTINGS)
        loss = member.warm_up(False, False, 3)
        assert math.isfinite(loss) and loss > 0
        assert member.warm_up(True, True, 3) == loss  # of one process all are the same
        before = member.digest(False)
        for order in (member.exchange(False, 2), member.points(False, 2)):
            assert order["end"] > order["begin"] and order["cpu"] >= 0
        assert member.digest(False) == before
        took = member.steps(False, False, 2)
        assert took["end"] > took["begin"] and member.digest(False) != before
    finally:
        torch.set_num_threads(threads)
        torch.distributed.destroy_process_group()


def test_wrong_options_are_refused(monkeypatch, capsys):
    for given, said in (
        (["--rounds", "0"], "--rounds: expected more than 0, got 0"),
        (["--points", "16", "--processes", "4"], "--points: expected at least 32, got 16"),
    ):
        monkeypatch.setattr(sys, "argv", ["scaling", *given])
        with pytest.raises(SystemExit):
            scaling.main()
        assert said in capsys.readouterr().err


# ---- the arithmetic ------------------------------------------------------------------------------


def test_parameters_are_those_of_a_network():
    for layers, width in arithmetic.NETWORKS:
        net = cc.nn.MLP(2, 1, width, layers, "tanh")
        assert arithmetic.parameters(layers, width) == sum(p.numel() for p in net.parameters())


def test_latencies_and_bytes_of_an_exchange():
    machine = arithmetic.Machine(node=8, inside=1e30, between=1e30)  # latencies alone
    assert arithmetic.exchange(10, 1, machine) == {"ring": 0.0, "tree": 0.0}
    eight = arithmetic.exchange(10, 8, machine)
    assert eight["ring"] == pytest.approx(6.6e-6 + 14 * 0.6e-6, rel=1e-3)
    assert eight["tree"] == pytest.approx(6.8e-6 + 14 * 0.6e-6, rel=1e-3)
    many = arithmetic.exchange(10, 1024, machine)
    assert many["ring"] == pytest.approx(6.6e-6 + (2046 - 254) * 1e-6 + 254 * 2.7e-6, rel=1e-3)
    assert many["tree"] == pytest.approx(6.8e-6 + 2 * (7 * 0.6e-6 + 7 * 5e-6), rel=1e-3)
    # So many parameters that the bytes alone count: by the protocol that leaves most.
    slow = arithmetic.Machine(node=8, inside=100e9, between=10e9, latencies=0.0)
    size = 4 * (10**9 + arithmetic.FLAGS)
    assert arithmetic.exchange(10**9, 8, slow)["ring"] == pytest.approx(14 / 8 * size / 100e9)
    assert arithmetic.exchange(10**9, 16, slow)["ring"] == pytest.approx(30 / 16 * size / 80e9)


def test_efficiencies_of_the_arithmetic():
    machine = arithmetic.Machine()
    cost = min(arithmetic.exchange(arithmetic.parameters(4, 128), 64, machine).values())
    weak = arithmetic.estimate(4, 128, 64, 1e5, machine, weak=True)
    one = weak.compute + arithmetic.making(1e5)
    assert weak.efficiency == pytest.approx(one / (weak.compute + cost + weak.making))
    strong = arithmetic.estimate(4, 128, 64, 64e5, machine, weak=False)
    assert strong.step == pytest.approx(weak.step)
    alone = arithmetic.compute(4, 128, 64e5) + arithmetic.making(64e5)
    assert strong.efficiency == pytest.approx(alone / (64 * strong.step))
    fewest = arithmetic.points_for(4, 128, 64, machine, 0.9)
    assert arithmetic.compute(4, 128, fewest) == pytest.approx(9 * cost)
    assert arithmetic.compute(4, 64, 1e5, 30.0) == pytest.approx(24 * 1e5 * 12737 / 30e12)
    with pytest.raises(ValueError, match="width: expected one of"):
        arithmetic.compute(4, 96, 1e5)


@pytest.mark.skipif(not RECORD.exists(), reason="without the records")
def test_measured_steps_are_those_of_the_record():
    record = json.loads(RECORD.read_text())["comparisons"]
    for width, (layers, known) in arithmetic.MEASURED.items():
        for points, seconds in known.items():
            found = record[f"step helmholtz-2d-{width}@{points}"]
            assert found["seconds"]["colloc"] == pytest.approx(seconds, rel=1e-3)
            assert f"{layers} x {width}" in found["work"]
            assert arithmetic.compute(layers, width, points) == pytest.approx(seconds)
