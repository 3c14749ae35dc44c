"""Networks of every kind that a trace has to serve."""

from __future__ import annotations

import colloc as cc
import torch
from torch import nn

F64 = {"dtype": torch.float64}


def mlp(**options):
    return cc.nn.MLP(
        2, options.pop("outputs", 1), 6, 2, options.pop("kind", "tanh"), **options, **F64
    )


class Shared(nn.Module):
    """One hidden layer used twice, and a weight used in a linear layer and in a bias."""

    def __init__(self):
        super().__init__()
        hidden = nn.Linear(6, 6, **F64)
        act = cc.nn.AdaptiveActivation("tanh", 2.0, **F64)
        self.net = nn.Sequential(
            nn.Linear(2, 6, **F64), act, hidden, act, hidden, nn.Tanh(), nn.Linear(6, 1, **F64)
        )

    def field_jet(self, x, order, wrt, piece=None):
        return cc.jet(self.net, x, order, wrt)

    def forward(self, x):
        return self.net(x)


def shared_slopes():
    """One list of slopes, and one of betas, for two layers."""
    act = cc.nn.AdaptiveActivation("stan", 1.5, features=5, **F64)
    return nn.Sequential(
        nn.Linear(2, 5, **F64), act, nn.Linear(5, 5, **F64), act, nn.Linear(5, 1, **F64)
    )


def shared_tanh_slopes():
    act = cc.nn.AdaptiveActivation("tanh", features=5, **F64)
    return nn.Sequential(
        nn.Linear(2, 5, **F64), act, nn.Linear(5, 5, **F64), act, nn.Linear(5, 1, **F64)
    )


class TwoNetworks(nn.Module):
    """A product of networks, one of them used at two places."""

    def __init__(self):
        super().__init__()
        self.one, self.other = mlp(), mlp(kind="sin", adaptive="layer")

    def field_jet(self, x, order, wrt, piece=None):
        moved = cc.jet(self.one, x + 0.5, order, wrt)
        return cc.jet(self.one, x, order, wrt) * cc.jet(self.other, x, order, wrt) + moved

    def forward(self, x):
        return self.one(x) * self.other(x) + self.one(x + 0.5)


class Squared(nn.Linear):
    """A linear layer that no rule knows."""

    def forward(self, x):
        return super().forward(x) ** 2


class Doubling(nn.Module):
    """A parametrization: the weight is twice what is trained, plus its transpose's mean."""

    def forward(self, w):
        return 2 * w + w.mean()


def unknown_twice():
    """One module and one parameter at two places each, in a network that goes by torch.func."""
    hidden, other = nn.Linear(5, 5, **F64), nn.Linear(5, 5, **F64)
    other.bias = hidden.bias
    return nn.Sequential(
        nn.Linear(2, 5, **F64), hidden, nn.Softsign(), hidden, other, Squared(5, 1, **F64)
    )


def parametrised():
    net = mlp()
    nn.utils.parametrize.register_parametrization(net[2], "weight", Doubling())
    nn.utils.parametrize.register_parametrization(net[0], "bias", Doubling())
    return net


def tied():
    net = mlp()
    net[2].bias = net[0].bias
    return net


def zero_slope():
    net = mlp(adaptive="neuron")
    with torch.no_grad():
        net[1].a[2] = 0.0
        net[1].a[3] = -0.7
    return net


def scaled():
    act = lambda: cc.nn.AdaptiveActivation("silu", 5.0, **F64)  # noqa: E731
    return nn.Sequential(
        nn.Linear(2, 5, bias=False, **F64),
        act(),
        nn.Linear(5, 4, **F64),
        act(),
        nn.Linear(4, 1, bias=False, **F64),
    )


NETWORKS = {
    "plain": lambda: nn.Sequential(
        nn.Linear(2, 5, **F64), nn.Tanh(), nn.Linear(5, 4, **F64), nn.SiLU(), nn.Linear(4, 1, **F64)
    ),
    "global": lambda: mlp(adaptive=True, slope=1.5),
    "layer": lambda: mlp(adaptive="layer", kind="sin"),
    "neuron": lambda: mlp(adaptive="neuron", kind="silu"),
    "zero slope": zero_slope,
    "scale, no bias": scaled,
    "stan": lambda: mlp(kind="stan", adaptive="neuron"),
    "stan global": lambda: mlp(kind="stan", adaptive=True),
    "weight norm": lambda: mlp(weight_norm=True),
    "weight norm, slopes": lambda: mlp(weight_norm=True, adaptive=True),
    "parametrised": parametrised,
    "tied bias": tied,
    "modified": lambda: cc.nn.ModifiedMLP(2, 1, 6, 3, "tanh", adaptive="layer", **F64),
    "residual": lambda: nn.Sequential(
        nn.Linear(2, 6, **F64), nn.Tanh(),
        cc.nn.Residual(nn.Sequential(nn.Linear(6, 6, **F64), nn.Tanh())), nn.Linear(6, 1, **F64),
    ),
    "fourier": lambda: nn.Sequential(
        cc.nn.FourierFeatures(2, 4, seed=0, **F64), nn.Linear(8, 6, **F64), nn.Tanh(),
        nn.Linear(6, 1, **F64),
    ),
    "shared layer": Shared,
    "shared slopes": shared_slopes,
    "shared slopes of tanh": shared_tanh_slopes,
    "two networks": TwoNetworks,
    "one layer": lambda: nn.Linear(2, 1, **F64),
    "layer norm": lambda: nn.Sequential(
        nn.Linear(2, 5, **F64), nn.LayerNorm(5, **F64), nn.Linear(5, 1, **F64)
    ),
    "unknown, used twice": unknown_twice,
    "unknown": lambda: nn.Sequential(nn.Linear(2, 5, **F64), nn.Tanh(), Squared(5, 1, **F64)),
}  # fmt: skip
