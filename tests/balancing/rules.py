"""Every rule of named losses, ready for the losses ``a``, ``b`` and ``c`` of one small model."""

from __future__ import annotations

import torch
from colloc import balancing
from torch import nn

F64 = torch.float64
NAMES = ["a", "b", "c"]


class Model(nn.Module):
    """Parameters with three losses whose values and gradients are easily set."""

    def __init__(self, dtype=F64):
        super().__init__()
        self.p = nn.Parameter(torch.tensor([0.7, -1.2, 2.0, 0.4], dtype=dtype))
        self.q = nn.Parameter(torch.tensor([0.3], dtype=dtype))

    def losses(self, k=0, scale=(1.0, 1.0, 1.0)):
        a = (self.p - 0.1 * k).square().mean() * scale[0]
        b = (self.p[:2] * self.q).sin().square().sum() * scale[1]
        c = (self.p.sum() - self.q + 0.2 * k).square().mean() * scale[2]
        return {"a": a, "b": b, "c": c}


#: By name: makes the rule for a model; keyword options are passed on.
RULES = {
    "LRAnnealing": lambda m, **k: balancing.LRAnnealing(NAMES, "a", m.parameters(), **k),
    "GradientNormBalance": lambda m, **k: balancing.GradientNormBalance(NAMES, m, **k),
    "GradNorm": lambda m, **k: balancing.GradNorm(NAMES, m.p, lr=0.1, **k),
    "NTK": lambda m, **k: balancing.NTK(NAMES, peer=True, **k),
    "SoftAdapt": lambda m, **k: balancing.SoftAdapt(NAMES, **k),
    "ReLoBRaLo": lambda m, **k: balancing.ReLoBRaLo(NAMES, beta=0.6, **k),
    "ResNorm": lambda m, **k: balancing.ResNorm(NAMES, lr=0.1, **k),
    "HomoscedasticUncertainty": lambda m, **k: balancing.HomoscedasticUncertainty(NAMES, **k),
}
#: The arithmetic of PhysicsNeMo-Sym, where a parameter of the rule is trained.
PEERS = {
    "ResNorm, peer": lambda m, **k: balancing.ResNorm(NAMES, peer=True, **k),
    "GradNorm, peer": lambda m, **k: balancing.GradNorm(NAMES, m.p, peer=True, **k),
}


def train(rule, model, steps, start=0, lr=0.05, **options):
    """Some steps of plain gradient descent, of the rule's own parameters too."""
    for k in range(start, start + steps):
        total = rule(model.losses(k), k, **options)
        parameters = [*model.parameters(), *rule.parameters()]
        gradients = torch.autograd.grad(total, parameters, allow_unused=True)
        with torch.no_grad():
            for p, g in zip(parameters, gradients, strict=True):
                if g is not None:
                    p.sub_(lr * g)
    return list(rule.weights.values())
