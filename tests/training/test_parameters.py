"""Unknown coefficients by name: in checkpoints, in metrics, in pictures."""

from __future__ import annotations

import colloc as cc
import pytest
import torch
from colloc import cli, training
from colloc.training import RunFolder, Stage, Trainer, curves, load_checkpoint, save_checkpoint
from training.problems import F64, network, samplers


def unknown(value):
    return torch.nn.Parameter(torch.tensor(value, dtype=F64))


def inverse(order="kc", named="kc", first="net", kind=torch.optim.Adam, **options):
    """A trainer with the unknowns k and c and a vector v; which is in the optimiser, in order."""
    net, known = network(), {"k": unknown(1.0), "c": unknown(5.0), "v": unknown([1.0, 2.0])}
    k, c, v = known.values()
    x = samplers(20)["interior"](0)
    problem = [
        cc.Term("a", net, x, lambda u, x: k * u.value - 1 + v.sum(), order=0),
        cc.Term("b", net, x, lambda u, x: u.value - c.square() + 30, order=0),
    ]
    listed = [known[name] for name in order]
    groups = [*net.parameters(), *listed] if first == "net" else [*listed, *net.parameters()]
    options = {"steps": 12, "log_every": 5, "progress": False} | options
    parameters = {name: known[name] for name in named} if named is not None else None
    made = Trainer(problem, net, kind(groups, 1e-2), parameters=parameters, **options)
    return made, known


def stopped(at, **options):
    trainer, known = inverse(**options)
    for state in trainer:
        if state.step == at:
            break
    return {name: p.detach().clone() for name, p in known.items()}


def test_names_are_saved_and_restored(tmp_path):
    alone, known = inverse("kcv", "ck")
    alone.run()
    at = stopped(7, order="kcv", named="ck", output=tmp_path)
    resumed, others = inverse("kcv", "kc", output=tmp_path, resume=True)
    for name in "kcv":  # v has no name
        assert torch.equal(others[name], at[name]), name
    resumed.run()
    for name in "kcv":
        assert torch.equal(others[name], known[name]) and not torch.equal(known[name], at[name])
    saved = RunFolder(tmp_path).newest()[1]
    assert saved["named_parameters"]["k"].item() == known["k"].item()
    assert [tuple(p.shape) for p in saved["parameters"]] == [(2,)]


@pytest.mark.parametrize("changed", [{"order": "ck"}, {"first": "unknowns"}])
@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
def test_another_order_in_the_optimizer_is_refused(changed, kind, tmp_path):
    at = stopped(7, output=tmp_path, kind=kind)
    assert at["k"] != at["c"]
    match = (
        r"optimizer: expected parameters at the checkpoint's places, 'k': 6, 'c': 7, got .*as the"
    )
    with pytest.raises(ValueError, match=match):
        inverse(output=tmp_path, resume=True, kind=kind, **changed)


def test_other_names_are_refused(tmp_path):
    stopped(3, output=tmp_path)
    for order, named, got in (("kc", None, "none"), ("kc", "k", r"'k': \(\)"),
                              ("kv", "kv", r"'k': \(\), 'v': \(2,\)")):  # fmt: skip
        match = rf"parameters: expected the checkpoint's 'c': \(\), 'k': \(\), got {got}\. Name"
        with pytest.raises(ValueError, match=match):
            inverse(order, named, output=tmp_path, resume=True)
    with pytest.raises(ValueError, match=r"network that have no name, \[\], got shapes \[\(2,\)\]"):
        inverse("kcv", "kc", output=tmp_path, resume=True)


@pytest.mark.parametrize("old", [False, True])
def test_a_checkpoint_without_names_goes_by_order(old, tmp_path):
    at = stopped(5, named=None, output=tmp_path)
    path, saved = RunFolder(tmp_path).newest()
    if old:  # what the code before wrote
        for key in ("learning_rate", "last", "errors_step", "named_parameters"):
            del saved[key]
        for stage in saved["stages"]:
            del stage["places"], stage["steps"]
        save_checkpoint(path, saved)
    assert len(saved["parameters"]) == 2 and saved["format"] == 1
    trainer, known = inverse(named="ck", output=tmp_path, resume=True)
    assert known["k"] == at["k"] and known["c"] == at["c"]
    assert trainer.run().step == 12
    assert set(load_checkpoint(RunFolder(tmp_path).checkpoints()[0][1])["named_parameters"]) == {
        "k", "c"
    }  # fmt: skip
    with pytest.raises(ValueError, match="parameters beside the network"):
        RunFolder(tmp_path).checkpoints()[0][1].unlink()
        inverse("k", "k", output=tmp_path, resume=True)


def test_a_later_stage_without_the_parameters(tmp_path):
    def made(**options):
        net, k = network(), unknown(1.0)
        x = samplers(20)["interior"](0)
        term = cc.Term("a", net, x, lambda u, x: k * u.value - 1, order=0)
        stages = [
            Stage(torch.optim.Adam([*net.parameters(), k], 1e-2), 4),
            Stage(torch.optim.LBFGS(net.parameters(), max_iter=2), 3),
        ]
        options |= {"output": tmp_path, "progress": False, "parameters": {"k": k}}
        return Trainer([term], net, stages, save_every=5, **options), k

    trainer, k = made()
    trainer.run()
    RunFolder(tmp_path).checkpoints()[0][1].unlink()
    again, other = made(resume=True)
    assert again.run().step == 7 and torch.equal(k, other)


def test_what_is_refused():
    net, k = network(), unknown(1.0)
    x = samplers(20)["interior"](0)
    term = cc.Term("a", net, x, lambda u, x: k * u.value - 1, order=0)
    both = torch.optim.Adam([*net.parameters(), k])
    for wrong, error, match in (
        ([k], TypeError, r"parameters: expected None or a dict [\s\S]* Write \{'k': k\}"),
        ({"": k}, ValueError, "parameters: expected names that are strings, not empty"),
        ({"k": 1.0}, TypeError, r"parameters\['k'\]: expected a torch.nn.Parameter"),
        ({"k": unknown(1.0)}, ValueError, r"parameters\['k'\]: .*\*parameters.values\(\)\]"),
        ({"k": k, "l": k}, ValueError, r"parameters\['l'\]: .* one name, got that of 'k'"),
    ):
        with pytest.raises(error, match=match):
            Trainer([term], net, both, steps=1, parameters=wrong)
    several = torch.nn.ParameterDict({"k": k})
    trainer = Trainer([term], net, both, steps=1, parameters=several, progress=False)
    assert trainer.parameters["k"] is k


# ---- metrics and pictures ------------------------------------------------------------------------


def test_metrics_and_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trainer, known = inverse("kcv", "kcv", output=tmp_path, tensorboard=True)
    trainer.run()
    rows = training.read_metrics(tmp_path / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 5, 10, 12]
    assert all(set(row["parameters"]) == {"k", "c"} for row in rows)  # v has two elements
    assert rows[-1]["parameters"]["k"] == known["k"].item() and rows[-1]["errors"] == {}
    found = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    read = [event.value for event in found.Scalars("parameter/k")]
    assert read == pytest.approx([row["parameters"]["k"] for row in rows])


def test_pictures(tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    seen = {}
    finish = curves._finish
    monkeypatch.setattr(
        curves, "_finish",
        lambda panel, by, label, *a, **k: (finish(panel, by, label, *a, **k),
                                           seen.update({label: panel.get_yscale()})),
    )  # fmt: skip
    for name in ("one", "two"):
        inverse(output=tmp_path / name)[0].run()
    assert cli.main(["plot", str(tmp_path / "one")]) == 0
    assert seen["unknown parameter"] == "linear" and seen["loss"] == "log"
    seen.clear()
    both = [str(tmp_path / name) for name in ("one", "two")]
    assert cli.main(["compare", *both, "--output", str(tmp_path / "both.png")]) == 0
    assert seen["unknown parameter: k"] == seen["unknown parameter: c"] == "linear"
    assert not any(label.startswith("error") for label in seen)
    run = curves.read_run(tmp_path / "one")
    assert run.errors == {} and set(run.parameters) == {"k", "c"}
    assert curves.table([run]).splitlines()[1].split()[-2:] == ["-", "-"]  # no error


def test_history_has_a_linear_panel(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    figures = []
    new = training.plots.new_figure
    monkeypatch.setattr(
        training.plots, "new_figure", lambda *a: (figures.append(new(*a)), figures[-1])[1]
    )
    training.plot_history(tmp_path / "a.png", [0, 1], {"loss": [1.0, 0.1]},
                          parameters={"k": [1.0, 3.0]})  # fmt: skip
    panels = figures[0].axes
    assert [panel.get_yscale() for panel in panels] == ["log", "linear"]
    assert panels[1].get_ylabel() == "unknown parameter"
    with pytest.raises(ValueError, match=r"curves\['k'\]: expected 2 values"):
        training.plot_history(tmp_path / "b.png", [0, 1], {}, parameters={"k": [1.0]})


class Positive(torch.nn.Module):
    """A coefficient with a number that is no parameter."""

    def __init__(self, offset):
        super().__init__()
        self.raw = torch.nn.Parameter(torch.tensor(-2.0))
        self.register_buffer("offset", torch.tensor(offset))

    def forward(self):
        return self.offset + self.raw.exp()


def test_a_module_as_coefficient_is_saved_whole(tmp_path):
    def run(steps, offset):
        torch.manual_seed(0)
        net, k = cc.nn.MLP(2, 1, 8, 1), Positive(offset)
        rod = cc.geometry.TimeDomain(cc.geometry.Interval(0, 1), 0, 1)
        inside = cc.Term("inside", net, rod.sample(16), cc.pde.heat(k))
        optimizer = torch.optim.Adam([*net.parameters(), *k.parameters()], 1e-2)
        cc.training.Trainer([inside], net, optimizer, steps=steps, output=tmp_path / "run",
                            resume=True, progress=False).run()  # fmt: skip
        return k

    first = run(3, 0.5)
    second = run(3, 0.0)  # nothing is left to do: what was saved
    assert torch.equal(second.offset, torch.tensor(0.5))
    assert torch.equal(second.raw, first.raw)
    assert not torch.equal(run(5, 0.0).raw, first.raw)
