"""The options of helmholtz.py."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from common import check_device

#: What options are where they are not given, by boundary and form.
DEFAULTS: dict[tuple[str, str], dict[str, float]] = {
    ("soft", "second"): {"slope": 3.0, "points": 1024, "learning_rate": 3e-3, "adam": 1.0},
    ("soft", "first"): {"slope": 3.0, "points": 512, "learning_rate": 1e-2, "adam": 0.3},
    ("hard", "second"): {"slope": 3.0, "points": 512, "learning_rate": 5e-3, "adam": 0.4},
    ("hard", "first"): {"slope": 3.0, "points": 512, "learning_rate": 1e-2, "adam": 0.3},
}

WARM_UP = 100  # steps in which the learning rate rises


@dataclass(frozen=True)
class Config:
    """Solve the Helmholtz problem with a physics-informed network."""

    output: Path = Path("runs/helmholtz")
    """folder of the results; checkpoints of a run that was there before move to its folders
    earlier-1, earlier-2, ..."""
    resume: bool = False
    """go on from the last checkpoint in the output folder"""
    boundary: Literal["soft", "hard"] = "soft"
    """how the walls enter: by a penalty, or exactly"""
    form: Literal["second", "first"] = "second"
    """order of the equation's derivatives; "first": the gradient is an output as well"""
    steps: int = 5000
    """steps of training at most; one of L-BFGS is ten of its iterations"""
    seconds: float = 150.0
    """seconds of training at most"""
    width: int = 64
    """neurons in a hidden layer"""
    depth: int = 3
    """hidden layers"""
    activation: Literal[
        "tanh", "sin", "silu", "gelu", "gelu_tanh", "sigmoid", "softplus", "stan"
    ] = "sin"
    """activation function"""
    adaptive: Literal["none", "global", "layer", "neuron"] = "layer"
    """trainable slopes of the activation"""
    slope: float | None = None
    """first value of the slopes; larger ones start with finer detail"""
    points: int | None = None
    """interior points a step of Adam, of all processes together"""
    fixed_points: int = 1024
    """interior points of L-BFGS, of all processes together"""
    boundary_points: int = 256
    """boundary points a step, of all processes together"""
    boundary_weight: float = 10.0
    """weight of the walls' loss"""
    balancer: Literal[
        "sum",
        "ntk",
        "lr-annealing",
        "gradient-norm",
        "gradnorm",
        "uncertainty",
        "softadapt",
        "relobralo",
        "resnorm",
    ] = "sum"
    """rule for the weights of the losses; "sum": fixed ones"""
    update_every: int = 10
    """steps between two updates of the rule's weights"""
    tensorboard: bool = False
    """curves of losses, weights and error for TensorBoard as well"""
    gradient_weight: float = 0.3
    """of the loss of q - grad u, in the first-order form"""
    adam: float | None = None
    """share of the run before L-BFGS, up to 1"""
    learning_rate: float | None = None
    """largest learning rate of Adam"""
    final_learning_rate: float = 1e-5
    """learning rate at the end"""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: the GPU where there is one"""
    dtype: Literal["float32", "float64"] = "float32"
    """precision"""
    graph: bool = False
    """Adam's steps as CUDA graphs (on a GPU)"""
    seed: int = 0
    """of the weights and of the points"""

    def __post_init__(self) -> None:
        for name, value in DEFAULTS[self.boundary, self.form].items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        sizes = ("steps", "width", "depth", "points", "fixed_points", "boundary_points")
        for name in (*sizes, "update_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}.")
        weights = ("boundary_weight", "gradient_weight")
        for name in ("seconds", "slope", *weights, "adam", "learning_rate", "final_learning_rate"):
            value = getattr(self, name)
            if not value > 0 or (math.isinf(value) and name != "seconds"):
                raise ValueError(f"{name}: expected a number > 0, got {value}.")
        if self.adam > 1:
            raise ValueError(f"adam: expected at most 1, got {self.adam}.")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed: expected 0 to 2^63 - 1, got {self.seed}.")
        check_device(self.device)

    @property
    def adam_steps(self) -> int:
        """Steps that Adam makes at most; what is left of ``steps`` is L-BFGS's."""
        return min(self.steps, math.ceil(self.adam * self.steps - 1e-9))

    def rate(self, step: int, fraction: float) -> float:
        """The learning rate of Adam: a linear warm-up, then a half cosine to the final one.

        Args:
            step: steps made before.
            fraction: how much of Adam's share of the run is done, 0 to 1.
        """
        high, low = self.learning_rate, self.final_learning_rate
        cosine = 0.5 * (1 + math.cos(math.pi * min(fraction, 1.0)))
        return min(1.0, (step + 1) / WARM_UP) * (low + (high - low) * cosine)

    def saved(self) -> dict[str, Any]:
        """As a checkpoint holds it: without what may differ in a run that goes on."""
        differ = ("output", "resume", "steps", "seconds", "tensorboard", "graph")
        return {k: v for k, v in asdict(self).items() if k not in differ}
