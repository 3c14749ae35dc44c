"""Two processes train as one does that has all points, and resume as if never stopped."""

from __future__ import annotations

import os
import warnings
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

import colloc as cc
import pytest
import torch
from colloc.training import ProcessError, Processes, RunFolder
from colloc.training.folder_lock import FolderLock
from training.problems import SQUARE, network, stages, terms
from training.problems import trainer as make

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available(), reason="this torch has no distributed package"
)
STEPS = 20


def steps_of(folder):
    return [step for step, _ in RunFolder(folder).checkpoints()]


def run(folder=None, resume=False, at=None, rule="ReLoBRaLo"):
    """The mean losses of every step, the weights, the parameters."""
    trainer = make(
        rule, lambda net: stages(net, 16, STEPS - 16), True, output=folder, resume=resume,
        log_every=7, save_every=50,
    )  # fmt: skip
    trainer.terms[1].weight = lambda points: points.measure.new_full((len(points), 1), 3.0)
    found = []
    for state in trainer:
        values = torch.stack([*(loss.detach() for loss in state.losses.values())])
        found.append(trainer.processes.average(values).tolist())
        if state.step == at:
            break
    parameters = [p.detach().clone() for p in trainer.net.parameters()]
    return {"losses": found, "weights": state.weights, "parameters": parameters}


def work(rank, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/init", rank=rank, world_size=2,
        timeout=timedelta(seconds=60),
    )  # fmt: skip
    found = {rule: run(rule=rule) for rule in ("ReLoBRaLo", "NTK", "LRAnnealing")}
    for at in (9, 18):
        run(f"{folder}/{at}", at=at)
        found[f"resumed at {at}"] = run(f"{folder}/{at}", resume=True)
    try:
        net = network()
        flux = cc.Term("flux", net, SQUARE.sample(9), lambda u, x: u.value, order=0,
                       reduce=lambda rows: rows.sum(0, keepdim=True))  # fmt: skip
        cc.training.Trainer(
            [flux], net, torch.optim.Adam(net.parameters()),
            {"flux": cc.sampling.Halton(SQUARE, 9)}, steps=1,
        )  # fmt: skip
    except ValueError as error:
        found["refused"] = str(error)
    found |= ends(rank, folder)
    torch.save(found, f"{folder}/{rank}.pt")
    # One goes, the other one notices.
    if rank == 1:
        os._exit(0)
    try:
        Processes().average(torch.zeros(3))
        said = "nothing"
    except ProcessError as error:
        said = str(error)
    torch.save(said, f"{folder}/said.pt")
    os._exit(0)  # destroying a group whose other process is gone can wait for it


def ends(rank, folder):
    """A request of one process, a folder in use, and a process that leaves the loop alone."""
    trainer = make("Sum", output=f"{folder}/stopped")
    for state in trainer:
        if rank == 1 and state.step == 3:
            trainer.stop()
    found = {"stopped": [state.step, state.ended]}
    path = Path(folder, "stopped", "checkpoints", "run.lock")
    with FolderLock(path, folder) if rank == 0 else nullcontext():
        try:
            make("Sum", output=f"{folder}/stopped", resume=True)
        except ValueError as error:
            found["in use"] = str(error)
    group = torch.distributed.new_group(timeout=timedelta(seconds=2))
    trainer = make("Sum", output=f"{folder}/alone", process_group=group)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            for state in trainer:
                if rank == 1 and state.step == 5:
                    break
            found["alone"] = [str(one.message) for one in caught]
        except ProcessError as error:
            found["alone"] = [str(error)]
    return found


def test_two_processes(tmp_path):
    started = torch.multiprocessing.spawn(work, (str(tmp_path),), nprocs=2, join=False)
    while not started.join(timeout=120):
        pass
    found = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    for rule in ("ReLoBRaLo", "NTK", "LRAnnealing"):
        alone = run(rule=rule)
        for mine in found:  # the number of points is odd: the shares differ
            torch.testing.assert_close(
                torch.tensor(mine[rule]["losses"]), torch.tensor(alone["losses"]), rtol=1e-11,
                atol=1e-13, msg=lambda text, rule=rule: f"{rule}: {text}",
            )  # fmt: skip
            assert mine[rule]["weights"] == pytest.approx(alone["weights"], rel=1e-9)
        assert found[0][rule]["losses"] == found[1][rule]["losses"]
    for at in (9, 18):
        for mine in found:
            resumed, whole = mine[f"resumed at {at}"], mine["ReLoBRaLo"]
            assert resumed["losses"] == whole["losses"][at:]
            pairs = zip(resumed["parameters"], whole["parameters"], strict=True)
            assert all(torch.equal(p, q) for p, q in pairs)
    assert "rank=0, world_size=1" in found[0]["refused"]
    assert [one["stopped"] for one in found] == [[4, "stopped"]] * 2
    assert steps_of(tmp_path / "stopped") == [4]
    assert all("expected a folder that no other run uses" in one["in use"] for one in found)
    for one in found:
        assert len(one["alone"]) == 1 and "does not answer" in one["alone"][0]
        assert "use trainer.stop() there" in one["alone"][0]
    assert "the checkpoint could not be written" in found[1]["alone"][0]
    assert steps_of(tmp_path / "alone") == [4]
    said = torch.load(tmp_path / "said.pt", weights_only=True)
    assert "another process of the run has ended" in said and "resume=True" in said


def test_errors_in_exchanges_of_others_are_named():
    processes = Processes()
    processes.count = 2  # as if
    with (
        pytest.raises(ProcessError, match=r"Connection closed.*trainer\.stop"),
        processes.watched(),
    ):
        raise RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer")
    with pytest.raises(ProcessError, match="unhandled"), processes.watched():
        raise torch.distributed.DistBackendError("unhandled system error")
    with pytest.raises(RuntimeError, match=r"^shape$"), processes.watched():
        raise RuntimeError("shape")


def test_a_checkpoint_of_more_processes(tmp_path):
    trainer = make(output=tmp_path, steps=4)
    trainer.run()
    trainer.processes.count = 3  # as if
    trainer.processes.gather = lambda value: [value] * 3
    trainer.save()
    with pytest.warns(UserWarning, match="of 3 processes, this run has 1"):
        make(output=tmp_path, resume=True, steps=4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(terms(network())) == 2
