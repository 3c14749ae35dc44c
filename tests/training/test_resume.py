"""Checkpoints of a trainer: what is resumed is bit for bit what was never stopped."""

from __future__ import annotations

import warnings

import colloc as cc
import pytest
import torch
from colloc.training import RunFolder, load_checkpoint, read_metrics
from training.problems import stages
from training.problems import trainer as make


def alike(one, other):
    assert one.state.step == other.state.step
    assert one.state.weights == other.state.weights
    for p, q in zip(one.net.parameters(), other.net.parameters(), strict=True):
        assert torch.equal(p, q)


def stopped(at, folder, **options):
    trainer = make(output=folder, **options)
    for state in trainer:
        if state.step == at:
            break
    return trainer


@pytest.mark.parametrize("rule", ["ReLoBRaLo", "LRAnnealing", "NTK"])
@pytest.mark.parametrize("at", [3, 7, 14])
def test_resuming_is_bit_equal(rule, at, tmp_path):
    options = {"rule": rule, "optimizer": stages, "importance": True}
    alone = make(**options)
    alone.run()
    stopped(at, tmp_path, **options)
    torch.manual_seed(99)  # random numbers are in the checkpoint
    resumed = make(output=tmp_path, resume=True, **options)
    assert resumed.state.step == at
    resumed.run()
    alike(resumed, alone)
    steps = [row["step"] for row in read_metrics(tmp_path / "metrics.jsonl")]
    assert steps == sorted(set(steps)) and steps[-1] == 16


def test_random_numbers_go_on(tmp_path):
    stopped(3, tmp_path)
    expected = torch.rand(3)
    torch.manual_seed(5)
    make(output=tmp_path, resume=True)
    assert torch.equal(torch.rand(3), expected)


def test_everything_is_in_a_checkpoint(tmp_path):
    stopped(5, tmp_path, config={"width": 16})
    _, path = RunFolder(tmp_path).checkpoints()[0]
    state = torch.load(path, weights_only=True)
    wanted = {"net", "stages", "balancer", "samplers", "random", "step", "config", "versions"}
    assert wanted <= set(state) and state["config"] == {"width": 16} and state["step"] == 5
    with pytest.warns(UserWarning, match="another config"):
        make(output=tmp_path, resume=True, config={"width": 17})


def test_some_are_kept(tmp_path):
    make(output=tmp_path, save_every=2, keep=2).run()
    assert [step for step, _ in RunFolder(tmp_path).checkpoints()] == [12, 10]


@pytest.mark.parametrize("damage", ["cut", "bit", "empty"])
def test_a_damaged_checkpoint_is_passed_over_loudly(damage, tmp_path, capsys):
    stopped(9, tmp_path)
    newest, before = RunFolder(tmp_path).checkpoints()[:2]
    data = bytearray(newest[1].read_bytes())
    if damage == "bit":
        data[len(data) // 2] ^= 4
    newest[1].write_bytes(
        b"" if damage == "empty" else bytes(data[: -1 if damage == "bit" else 99])
    )
    if damage == "bit":
        newest[1].write_bytes(bytes(data))
    with pytest.warns(UserWarning, match="is damaged and is not used"):
        resumed = make(output=tmp_path, resume=True)
    assert resumed.state.step == before[0] == 8
    assert "WARNING: checkpoint" in capsys.readouterr().err
    resumed.run()
    alone = make()
    alone.run()
    alike(resumed, alone)


def test_without_a_whole_one(tmp_path):
    stopped(3, tmp_path, save_every=100)
    for _, path in RunFolder(tmp_path).checkpoints():
        path.write_bytes(b"no")
    with warnings.catch_warnings(), pytest.raises(ValueError, match="got 1 damaged ones"):
        warnings.simplefilter("ignore")
        make(output=tmp_path, resume=True)


def test_a_folder_with_checkpoints_is_not_overwritten(tmp_path):
    stopped(3, tmp_path)
    with pytest.raises(ValueError, match="a folder without checkpoints, or resume=True"):
        make(output=tmp_path)
    assert make(output=tmp_path / "new", resume=True).state.step == 0  # nothing there yet


def test_another_problem_is_refused(tmp_path):
    stopped(3, tmp_path)
    with pytest.raises(ValueError, match="optimizer: expected the checkpoint's Adam, got LBFGS"):
        make(output=tmp_path, resume=True, optimizer=lambda net: stages(net)[::-1])
    with pytest.raises(ValueError, match="steps: expected at least the checkpoint's 3"):
        make(output=tmp_path, resume=True, steps=2)


def test_a_full_disk_loses_nothing(tmp_path, monkeypatch):
    trainer = make(output=tmp_path, save_every=2, steps=20)
    plain = cc.training.run_folder.save_checkpoint

    def full(path, state):
        if 5 < trainer.state.step < 15:
            raise OSError(28, "No space left on device")
        plain(path, state)

    monkeypatch.setattr(cc.training.run_folder, "save_checkpoint", full)
    with pytest.warns(UserWarning, match="could not be written.*still there"):
        for state in trainer:
            if state.step == 13:
                assert load_checkpoint(trainer.folder.checkpoints()[0][1])["step"] == 4
    assert trainer.folder.checkpoints()[0][0] == 20


def test_metrics_with_a_line_cut_off(tmp_path):
    folder = RunFolder(tmp_path)
    folder.log({"step": 1, "loss": float("nan")})
    folder.log({"step": 2})
    with folder.metrics_path.open("a") as file:
        file.write('{"step": 3, "lo')
    assert [row["step"] for row in folder.rows()] == [1, 2] and folder.rows()[0]["loss"] is None
    folder.forget_after(1)
    assert [row["step"] for row in folder.rows()] == [1]
    folder.metrics_path.write_text('{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.warns(UserWarning, match="line 2 is no JSON"):
        assert [row["step"] for row in folder.rows()] == [1, 3]
