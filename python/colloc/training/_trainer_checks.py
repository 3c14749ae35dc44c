"""What a trainer refuses before its first step."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from colloc._checks import describe, fail, fail_type
from colloc.balancing.rows import PointRule
from colloc.pde import Term
from colloc.training._losses import check_optimizer
from colloc.training.precision import Precision
from colloc.training.processes import Processes
from colloc.training.stage import Stage

Samplers = dict[str, Callable[[int], Any]]


def check_terms(problem: Any) -> list[Term]:
    """Terms with different names."""
    wanted = "a list of terms (cc.Term)"
    if isinstance(problem, (Term, str)) or not isinstance(problem, Iterable):
        fail_type("problem", wanted, describe(problem))
    terms = list(problem)
    if not terms:
        fail("problem", "at least one term", "an empty list")
    for k, term in enumerate(terms):
        if not isinstance(term, Term):
            fail_type(f"problem[{k}]", "a cc.Term", describe(term))
    names = [term.name for term in terms]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        fail("problem", "terms with different names", f"two named {sorted(twice)[0]!r}")
    return terms


def check_net(net: Any) -> nn.Module:
    """A module with parameters."""
    if not isinstance(net, nn.Module):
        fail_type("net", "a torch module", describe(net))
    if next(iter(net.parameters()), None) is None:
        fail("net", "a module with parameters", f"{type(net).__name__} without any")
    return net


def check_output(output: Any) -> Any:
    """A path, or None."""
    if output is not None and not isinstance(output, (str, os.PathLike)):
        fail_type("output", "a folder's path (a str or a Path), or None", describe(output),
                  'Write output="runs/first".')  # fmt: skip
    return output


def check_net_trained(net: nn.Module, stages: Sequence[Stage]) -> None:
    """The network is one that an optimiser changes, or one that is to stay as it is."""
    free = {id(p) for p in net.parameters() if p.requires_grad}
    known = {id(p) for stage in stages for p in stage.parameters()}
    if free and not free & known:
        fail("net", "the network that the optimiser changes",
             f"{type(net).__name__}, of which no parameter is in an optimiser",
             "Pass the network that the terms and the optimiser were made with; one that is to "
             "stay as it is needs net.requires_grad_(False).")  # fmt: skip


def check_errors(found: Any) -> dict[str, float]:
    """What ``evaluate`` has returned, as numbers by name."""
    wanted = "to return a number or a dict of numbers"
    named = found if isinstance(found, Mapping) else {"error": found}
    if not named:
        fail("evaluate", wanted, "an empty dict")
    errors = {}
    for name, value in named.items():
        try:
            errors[str(name)] = float(value)
        except (TypeError, ValueError, RuntimeError):
            fail_type("evaluate", wanted, describe(found))
    return errors


def check_samplers(sampler: Any, terms: Sequence[Term]) -> Samplers:
    """Samplers by the names of terms."""
    if sampler is None:
        return {}
    names = [term.name for term in terms]
    if not isinstance(sampler, Mapping):
        example = "{" + f"{names[0]!r}: Halton(shape, 1024)" + "}"
        fail_type("sampler", "a dict of samplers by the names of terms", describe(sampler),
                  f"Write {example}.")  # fmt: skip
    for name, one in sampler.items():
        if name not in names:
            fail("sampler", f"names of terms, {', '.join(map(repr, names))}", repr(name))
        if not callable(one):
            fail_type(f"sampler[{name!r}]", "a callable sampler(step) -> points", describe(one))
    return dict(sampler)


def check_trained(name: str, rule: Any, stages: Sequence[Stage]) -> None:
    """A rule of weights is a module, and its parameters belong to the first optimiser."""
    if not callable(rule) or not isinstance(rule, nn.Module):
        fix = "Fixed weights are cc.balancing.Sum({...})." if isinstance(rule, dict) else ""
        fail_type(name, "None or a balancer (cc.balancing)", describe(rule), fix)
    known = {id(p) for p in stages[0].parameters()}
    missing = [parameter for parameter, p in rule.named_parameters() if id(p) not in known]
    if missing:
        kind, short = type(rule).__name__, name.split("[")[0]
        made = "balancer" if short == "balancer" else "rule"
        fail("optimizer", f"one that has the parameters of {kind}, {', '.join(missing)}",
             "one without them",
             f"Make it with [*net.parameters(), *{made}.parameters()].")  # fmt: skip


def check_point_rules(
    rules: Any, terms: Sequence[Term], samplers: Samplers, stages: Sequence[Stage],
    processes: Processes,
) -> dict[str, nn.Module]:  # fmt: skip
    """Rules of points by the names of terms; some keep a weight for every point."""
    if rules is None:
        return {}
    names = [term.name for term in terms]
    if not isinstance(rules, Mapping):
        fail_type("point_rules", "a dict of rules of points by the names of terms", describe(rules),
                  "Write {" + f"{names[0]!r}: cc.balancing.Causal(...)" + "}.")  # fmt: skip
    for name, rule in rules.items():
        label = f"point_rules[{name!r}]"
        if name not in names:
            fail("point_rules", f"names of terms, {', '.join(map(repr, names))}", repr(name))
        check_trained(label, rule, stages)
        kind = type(rule).__name__
        if isinstance(rule, PointRule) and name in samplers:
            fail(f"sampler[{name!r}]", f"none, as {kind} keeps a weight for each point",
                 describe(samplers[name]), "Leave it out: the term keeps its points.")  # fmt: skip
        if isinstance(rule, PointRule) and processes.count > 1:
            fail(label, "Causal, in several processes", kind,
                 "Its weights belong to points; train in one process.")  # fmt: skip
    return dict(rules)


def check_integrals(terms: Sequence[Term], samplers: Samplers, processes: Processes) -> None:
    """A sum of rows cannot be made from shares of the points."""
    for term in terms:
        shared = getattr(samplers.get(term.name), "world_size", 1)
        if term.reduce is not None and processes.count > 1 and shared > 1:
            fail(
                f"sampler[{term.name!r}]",
                f"a sampler that gives each of {processes.count} processes all points, since the "
                "term has reduce",
                "one that shares them out",
                "Make it with rank=0, world_size=1.",
            )


def check_scaled(stages: Sequence[Stage], precision: Precision) -> None:
    """A gradient scaler and a line search do not go together."""
    for stage in stages:
        if precision.scaler is not None and stage.needs_closure:
            name = type(stage.optimizer).__name__
            fail("precision", f"one without a gradient scaler, with {name}", "float16",
                 "Use bfloat16, float32 or float64.")  # fmt: skip


def check_graph(device: torch.device, stages: Sequence[Stage], precision: Precision) -> None:
    """A captured step runs on a GPU, with an optimiser that can be captured."""
    if device.type != "cuda":
        fail("graph", "a network on an NVIDIA GPU", f"one on {device}",
             "Use compile=True elsewhere.")  # fmt: skip
    for stage in stages:
        if stage.needs_closure:
            continue
        check_optimizer(stage.optimizer)
        if precision.scaler is not None and not stage.optimizer.defaults.get("fused"):
            name = type(stage.optimizer).__name__
            wanted = "an optimiser that leaves out a step on the GPU, with precision 'float16'"
            fail("graph", wanted, f"{name} without fused=True", "Use fused=True, or bfloat16.")


def unique(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Each tensor once, in order."""
    return list({id(tensor): tensor for tensor in tensors}.values())
