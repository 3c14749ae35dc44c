"""SoftAdapt, ReLoBRaLo and ResNorm: golden values, draws, the peer's arithmetic, torch.compile."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path

import pytest
import torch
from balancing.rules import NAMES, PEERS, RULES, Model
from colloc import balancing
from colloc.balancing.relobralo import ReLoBRaLoState, bernoulli, relobralo
from colloc.balancing.resnorm import ResNormState, resnorm
from colloc.balancing.softadapt import SoftAdaptState, softadapt
from colloc.ops.sequences import mixed
from torch import nn
from torch._dynamo.utils import counters

F64 = torch.float64
GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "balancers.json").read_text())


def tensor(values):
    return torch.tensor(values, dtype=F64)


def close(found, expected):
    torch.testing.assert_close(found, tensor(expected), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("case", GOLDEN["softadapt"], ids=lambda c: c["name"])
def test_softadapt_golden(case):
    state = SoftAdaptState(torch.ones(3, dtype=F64), tensor(case["L_prev"]), torch.tensor(1))
    weights, after = softadapt(tensor(case["L"]), state, eps=case["eps"])
    close(weights, case["w"])
    assert torch.equal(after.previous, tensor(case["L"])) and int(after.updates) == 2
    theirs, _ = softadapt(tensor(case["L"]), state, eps=case["eps"], peer=True)
    close(theirs / 3, case["w"])


def test_softadapt_starts_even_and_as_the_peer_at_one():
    losses = {"a": torch.tensor(3.0), "b": torch.tensor(1.0)}
    assert balancing.SoftAdapt(["a", "b"])(losses).item() == 2.0
    rule = balancing.SoftAdapt(["a", "b"], peer=True)
    assert rule(losses).item() == 4.0
    assert sum(rule.weights.values()) == pytest.approx(2.0)


@pytest.mark.parametrize("case", GOLDEN["relobralo"], ids=lambda c: c["name"])
def test_relobralo_golden(case):
    state = ReLoBRaLoState(
        tensor(case["w_prev"]), tensor(case["L_prev"]), tensor(case["L0"]), torch.tensor(1)
    )
    draw = torch.tensor(bool(case["beta_draw"]))
    weights, after = relobralo(tensor(case["L"]), state, draw, alpha=case["alpha"], tau=case["tau"])
    close(weights, case["w"])
    assert torch.equal(after.initial, state.initial)


def test_draws_are_splitmix64():
    mask = 2**64 - 1

    def reference(state):
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        return z ^ (z >> 31)

    number = torch.arange(20000)
    for key in (0, mixed(5, 0), 2**63 - 1):
        for probability in (0.0, 0.3, 0.99, 1.0):
            found = bernoulli(torch.tensor(key), number, probability)
            limit = probability * 2**64
            for i in range(0, 20000, 997):
                word = reference((key + i * 0x9E3779B97F4A7C15) & mask)
                signed = word - 2**64 if word >= 2**63 else word
                assert bool(found[i]) == (signed + 2**63 < limit), (key, i, probability)
            share = found.double().mean().item()
            spread = math.sqrt(probability * (1 - probability) / 20000)
            assert abs(share - probability) <= 5 * spread


def test_draws_differ_by_seed_and_go_on_after_resuming():
    def run(seed, steps, rule=None):
        rule = rule or balancing.ReLoBRaLo(NAMES, beta=0.5, seed=seed)
        model = Model()
        for k in range(steps):
            rule(model.losses(k))
        return rule

    assert run(0, 6).weights == run(0, 6).weights != run(1, 6).weights
    other = balancing.ReLoBRaLo(NAMES, beta=0.5, seed=9)
    other.load_state_dict(run(0, 6).state_dict())
    assert run(9, 5, other).weights == run(0, 5, run(0, 6)).weights


def plain_resnorm(losses, z, initial, alpha, lr):
    n = len(losses)
    ratios = [1.0 if l0 == 0 else x / l0 for x, l0 in zip(losses, initial, strict=True)]
    mean = sum(ratios) / n
    target = [sum(losses) / n * (r / mean) ** alpha for r in ratios]
    moved = []
    for x, t, before in zip(losses, target, z, strict=True):
        off = math.exp(before) * x - t
        slope = math.exp(before) * x * ((off > 0) - (off < 0))
        moved.append(before - max(-1.0, min(1.0, lr * slope)))
    shift = math.log(sum(map(math.exp, moved)) / n)
    return [value - shift for value in moved]


@pytest.mark.parametrize("alpha", [0.0, 1.0, 1.5])
@pytest.mark.parametrize("lr", [0.01, 5.0])
def test_resnorm_against_plain_numbers(alpha, lr):
    losses, initial, z = [0.5, 2.0, 0.1], [1.0, 2.5, 0.0], [0.1, -0.4, 0.2]
    state = ResNormState(tensor(z), tensor(initial), torch.tensor(3))
    weights, after = resnorm(tensor(losses), state, alpha=alpha, lr=lr)
    expected = plain_resnorm(losses, z, initial, alpha, lr)
    close(after.z, expected)
    close(weights, [math.exp(value) for value in expected])
    assert weights.sum().item() == pytest.approx(3.0)


def test_resnorm_uses_the_weights_before_and_never_falls_to_0():
    rule = balancing.ResNorm(["a", "b"], lr=1e3)
    losses = {"a": tensor(1.0), "b": tensor(1e8)}
    assert rule(losses, 0).item() == 1.0 + 1e8
    assert min(rule.weights.values()) < 0.9
    for k in range(1, 100):
        rule(losses, k)
    assert min(rule.weights.values()) >= math.exp(-30) * 0.999
    assert sum(rule.weights.values()) == pytest.approx(2.0)


def test_resnorm_as_the_peer():
    rule = balancing.ResNorm(["a", "b"], alpha=1.0, peer=True)
    optimiser = torch.optim.SGD(rule.parameters(), lr=0.1)
    for k, (a, b) in enumerate(((1.0, 2.0), (0.5, 1.9), (0.4, 1.0))):
        z = rule.z.detach().clone()
        z -= z.exp().mean().log()
        total = rule({"a": tensor(a), "b": tensor(b)}, k)
        w, losses, ratios = z.exp(), tensor([a, b]), tensor([a / 1.0, b / 2.0])
        target = losses.mean() * ratios / ratios.mean()
        objective = (w * losses - target).abs().sum()
        torch.testing.assert_close(total, (w * losses).sum() + objective)
        optimiser.zero_grad()
        total.backward()
        torch.testing.assert_close(rule.z.grad, w * losses * (w * losses - target).sign())
        optimiser.step()
    with pytest.raises(RuntimeError, match="peer=True the weights move in your optimiser"):
        rule.update({"a": tensor(1.0), "b": tensor(1.0)})


def make_rule(name, model):
    options = {"update_every": 3} if name == "SoftAdapt" else {}
    return {**RULES, **PEERS}[name](model, **options)


def compiled_run(backend, step_of, names):
    """Ten steps of some rules in one compiled function against those outside of it; how often
    it was compiled."""
    torch._dynamo.reset()
    model = Model()
    plain = nn.ModuleDict({name: make_rule(name, model) for name in names})
    compiled = copy.deepcopy(plain)
    places = {name: buffer.data_ptr() for name, buffer in compiled.named_buffers()}
    counters["stats"].clear()

    @torch.compile(fullgraph=True, backend=backend)
    def run(k, step):
        losses = model.losses(k)
        return [rule(losses, step) for rule in compiled.values()]

    for step in range(10):
        k = torch.tensor(float(step), dtype=F64)
        found = run(k, step_of(step))
        expected = [rule(model.losses(k), step) for rule in plain.values()]
        gradients = [
            torch.autograd.grad(sum(totals), [*model.parameters(), *rules.parameters()])
            for totals, rules in ((found, compiled), (expected, plain))
        ]
        for x, y in zip([*found, *gradients[0]], [*expected, *gradients[1]], strict=True):
            torch.testing.assert_close(x, y, rtol=1e-12, atol=1e-12)
        for rules in (compiled, plain):
            for p, g in zip(rules.parameters(), gradients[0][2:], strict=True):
                p.data -= 0.1 * g
    for name, buffer in compiled.named_buffers():
        assert buffer.data_ptr() == places[name]
        if not name.endswith(("calls", "last_step")):
            torch.testing.assert_close(buffer, dict(plain.named_buffers())[name])
    for name, rule in compiled.items():
        assert len(set(rule.weights.values())) == 3, f"the weights of {name} did not move"
    return counters["stats"]["unique_graphs"]


def test_compiled_steps():
    """Whole graphs in which weights move, one for all steps. This backend computes parts of
    the forward again in its backward, as the default one does, and must not do so from buffers
    that have changed."""
    number = torch.zeros((), dtype=torch.int64)
    names = ("ResNorm", "HomoscedasticUncertainty")
    assert compiled_run("aot_eager_decomp_partition", number.fill_, names) == 1


def test_compiled_steps_with_integers():
    """Torch specialises the integers 0 and 1, and compiles once for all others."""
    assert compiled_run("eager", int, ("SoftAdapt", "ReLoBRaLo")) <= 3


def test_losses_must_be_where_the_balancer_is():
    with pytest.raises(ValueError, match=r"Move the balancer: balancer.to\('meta'\)"):
        balancing.SoftAdapt(["a"])({"a": torch.zeros((), device="meta")})


@pytest.mark.parametrize(
    "call,message",
    [
        (lambda: balancing.SoftAdapt(["a"], eps=0), "eps: expected a number > 0"),
        (lambda: balancing.ReLoBRaLo(["a"], alpha=1.1), "alpha: expected a number from 0 to 1"),
        (lambda: balancing.ReLoBRaLo(["a"], beta=-0.1), "beta: expected a number from 0 to 1"),
        (lambda: balancing.ReLoBRaLo(["a"], tau=0), "tau: expected a number > 0"),
        (lambda: balancing.ReLoBRaLo(["a"], seed=0.5), "seed: expected an integer"),
        (lambda: balancing.ResNorm(["a"], alpha=-1), "alpha: expected a number >= 0"),
        (lambda: balancing.ResNorm(["a"], lr=0), "lr: expected a number > 0"),
    ],
)
def test_errors(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()
