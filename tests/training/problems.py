"""A small problem for the trainer's tests."""

from __future__ import annotations

import math

import colloc as cc
import torch

F64 = torch.float64
NAMES = ["interior", "walls"]
SQUARE = cc.geometry.Rectangle((-1, -1), (1, 1))


def source(x):
    return torch.sin(math.pi * x[:, :1]) * torch.sin(math.pi * x[:, 1:])


def network(dtype=F64, outputs=1):
    torch.manual_seed(0)
    return cc.nn.MLP(2, outputs, 16, 2, "tanh", dtype=dtype)


def samplers(points=63, dtype=F64, **options):
    return {
        "interior": cc.sampling.Halton(SQUARE, points, dtype=dtype, seed=1, **options),
        "walls": cc.sampling.Halton(SQUARE.boundary, points // 3, dtype=dtype, seed=2, **options),
    }


def terms(net, dtype=F64):
    made = samplers(dtype=dtype, rank=0, world_size=1)
    return [
        cc.Term("interior", net, made["interior"](0), cc.pde.poisson(source)),
        cc.Term("walls", net, made["walls"](0), lambda u, x: u.value, order=0, weight=5.0),
    ]


def adam(net, *others):
    return torch.optim.Adam([*net.parameters(), *others], 1e-3)


def stages(net, first=12, second=4):
    lbfgs = torch.optim.LBFGS(net.parameters(), max_iter=3, line_search_fn="strong_wolfe")
    return [cc.training.Stage(adam(net), first), cc.training.Stage(lbfgs, second)]


def rules(net):
    b = cc.balancing
    return {
        "Sum": b.Sum({"interior": 1.0, "walls": 2.0}),
        "ReLoBRaLo": b.ReLoBRaLo(NAMES, beta=0.5),
        "SoftAdapt": b.SoftAdapt(NAMES),
        "LRAnnealing": b.LRAnnealing(NAMES, "interior", net.parameters(), update_every=3),
        "NTK": b.NTK(NAMES, update_every=3),
        "HomoscedasticUncertainty": b.HomoscedasticUncertainty(NAMES),
    }


def trainer(rule="ReLoBRaLo", optimizer=None, importance=False, **options):
    """A trainer with all the parts; its own network."""
    net = network()
    balancer = rules(net)[rule]
    chosen, problem = samplers(), terms(net)
    if importance:
        chosen["interior"] = cc.sampling.ImportanceSampler(
            SQUARE, problem[0], 63, 200, refresh_every=5, seed=3, dtype=F64
        )
    options = {"log_every": 5, "save_every": 4, "progress": False} | options
    if optimizer is None:
        optimizer = adam(net, *balancer.parameters())
        options.setdefault("steps", 12)
    else:
        optimizer = optimizer(net)
    return cc.training.Trainer(problem, net, optimizer, chosen, balancer, **options)
