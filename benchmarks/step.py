"""One complete training step: residual, mean square, backward, Adam; against plain torch.

``python -m benchmarks step`` times all cases, ``step:NAME`` one of them, ``step:memory`` measures
peak memory and the time of many points. Every contender has a copy of the same network and the
same points, and is compared with nested autograd before it is timed: in float64 on few points
(compiled ones by the backend "aot_eager"), in float32 on all points as it is timed.
"""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import colloc as cc
import torch
from torch import Tensor, nn

from benchmarks.harness import Comparison, compare
from benchmarks.peers import autograd, taylor
from benchmarks.peers.products import MatrixProducts

OURS = "colloc"
EAGER = "nested autograd"
COMPILED = "nested autograd, compiled"
COMPILED_WHOLE = "nested autograd, compiled with its backward"
TAYLOR = "Taylor mode"
COMPILED_TAYLOR = "Taylor mode, compiled"
PRODUCTS = "sgemm alone"

#: What each contender is, for the record.
NOTES = {
    OURS: "residual in torch from cc.jet(net, x, order=...), net a cc.nn.MLP; backward(), Adam",
    EAGER: "nested torch.autograd.grad with create_graph=True, only the derivatives that the "
    "residual needs; backward by the parameters alone (nn.Sequential, as all that follow)",
    COMPILED: "torch.compile(fullgraph=True, dynamic=False) of that loss, "
    "torch._dynamo.config.trace_autograd_ops = True, x an input that requires grad; backward()",
    COMPILED_WHOLE: "the same with backward(inputs=parameters) inside of the compiled function; "
    "no bar, since few would write it",
    TAYLOR: "forward Taylor mode in torch: value, gradient, Laplacian (collapsed) through each "
    "layer as one (K N, W) product; ordinary backward; no bar",
    COMPILED_TAYLOR: "torch.compile(fullgraph=True, dynamic=False) of that loss; backward()",
    PRODUCTS: "torch.mm(out=) of the hidden layers' forward, input-gradient and weight-gradient "
    "products and nothing else; its ratio is the share of a step that they would take",
}

Loss = Callable[..., Tensor]


# ---- the problems ------------------------------------------------------------------------------


def _our_helmholtz(net: nn.Module, x: Tensor, f: Tensor) -> Tensor:
    u = cc.jet(net, x, order="laplacian")
    return (u.laplacian + u.value - f).square().mean()


def _our_navier_stokes(net: nn.Module, x: Tensor, nu: Tensor) -> Tensor:
    jet = cc.jet(net, x, order="laplacian")
    value, by_x, by_y = jet.value, jet.d(0), jet.d(1)
    u, v = value[:, :1], value[:, 1:2]
    grad_p = torch.cat([by_x[:, 2:], by_y[:, 2:]], dim=1)
    momentum = u * by_x[:, :2] + v * by_y[:, :2] + grad_p - nu * jet.laplacian[:, :2]
    continuity = by_x[:, 0] + by_y[:, 1]
    return (momentum.square().sum(1) + continuity.square()).mean()


def _our_gradient_enhanced(net: nn.Module, x: Tensor, f: Tensor, grad_f: Tensor) -> Tensor:
    u = cc.jet(net, x, order="grad_laplacian")
    by_x = (u.grad_laplacian + u.grad).squeeze(1) - grad_f
    return (u.laplacian + u.value - f).square().mean() + by_x.square().sum(1).mean()


def _source(x: Tensor) -> Tensor:
    """f of u = product of sin(pi x_i)."""
    d = x.shape[1]
    return (1 - d * torch.pi**2) * torch.sin(torch.pi * x).prod(dim=1, keepdim=True)


def _source_and_gradient(x: Tensor) -> tuple[Tensor, Tensor]:
    y = x.detach().clone().requires_grad_()
    f = _source(y)
    (grad,) = torch.autograd.grad(f.sum(), y)
    return f.detach(), grad


@dataclass(frozen=True)
class Problem:
    """A residual, written three times, and the data it needs at the points."""

    ours: Loss
    autograd: Loss
    taylor: Loss
    data: Callable[[Tensor], tuple[Tensor, ...]]
    outputs: int
    components: Callable[[int], int]
    """K by the number of inputs."""


PROBLEMS = {
    "Helmholtz": Problem(
        _our_helmholtz,
        autograd.helmholtz,
        taylor.helmholtz,
        lambda x: (_source(x),),
        outputs=1,
        components=lambda d: d + 2,
    ),
    "steady Navier-Stokes (u, v, p)": Problem(
        _our_navier_stokes,
        autograd.navier_stokes,
        taylor.navier_stokes,
        lambda x: (x.new_tensor(0.01),),
        outputs=3,
        components=lambda d: d + 2,
    ),
    "gradient-enhanced Helmholtz": Problem(
        _our_gradient_enhanced,
        autograd.gradient_enhanced,
        taylor.gradient_enhanced,
        _source_and_gradient,
        outputs=1,
        components=lambda d: 1 + 2 * d + d * (d + 1) // 2,
    ),
}


@dataclass(frozen=True)
class Case:
    """A problem with its network, its points and the bars of this comparison (on the CPU)."""

    problem: str
    inputs: int
    layers: int
    width: int
    activation: str
    points: int
    bars: dict[str, float]
    refused: dict[str, str] = field(default_factory=dict)
    """Contenders that are left out, and why."""

    @property
    def work(self) -> str:
        """What every contender computes."""
        return (
            f"{self.problem} {self.inputs}D, {self.layers} x {self.width} {self.activation}, "
            f"N = {self.points}, float32, one step with Adam (fused=True)"
        )


def _bars(eager: float, compiled: float, taylor: float, share: float) -> dict[str, float]:
    return {EAGER: eager, COMPILED: compiled, COMPILED_TAYLOR: taylor, PRODUCTS: share}


CASES = {
    "helmholtz-2d-128": Case("Helmholtz", 2, 4, 128, "tanh", 4096, _bars(4.0, 2.4, 1.75, 0.80)),
    "helmholtz-2d-64": Case("Helmholtz", 2, 6, 64, "silu", 4096, _bars(8.0, 3.0, 1.5, 0.60)),
    "helmholtz-2d-512": Case("Helmholtz", 2, 6, 512, "silu", 2000, _bars(2.3, 1.65, 1.08, 0.90)),
    "helmholtz-3d-128": Case("Helmholtz", 3, 4, 128, "silu", 4096, _bars(4.4, 2.3, 1.6, 0.80)),
    "navier-stokes-2d-128": Case(
        "steady Navier-Stokes (u, v, p)", 2, 4, 128, "tanh", 4096, _bars(6.5, 4.0, 1.6, 0.78)
    ),
    "helmholtz-2d-64-n500": Case("Helmholtz", 2, 6, 64, "silu", 500, {EAGER: 8.0}),
    "helmholtz-2d-64-n128": Case("Helmholtz", 2, 6, 64, "silu", 128, {EAGER: 9.0}),
    "gradient-helmholtz-2d-128": Case(
        "gradient-enhanced Helmholtz", 2, 4, 128, "tanh", 4096, {EAGER: 3.3}
    ),
}

#: What `python -m benchmarks step:NAME` knows; without a name the timed ones.
PARTS = (*CASES, "memory")


# ---- the contenders ----------------------------------------------------------------------------


class Step:
    """A training step: gradients to zero, loss, backward, Adam.

    Args:
        loss: of (net, x, *data).
        net: trained by it.
        x: points.
        data: what else the loss takes.
        inputs: backward by the parameters alone, where x requires grad.
        whole: the loss has its backward inside.
    """

    def __init__(
        self,
        loss: Loss,
        net: nn.Module,
        x: Tensor,
        data: Sequence[Tensor],
        *,
        inputs: bool = False,
        whole: bool = False,
    ) -> None:
        self.loss, self.net, self.x, self.data = loss, net, x, data
        self.parameters = list(net.parameters())
        self.inputs = self.parameters if inputs else None
        self.whole = whole
        self.optimizer = torch.optim.Adam(
            self.parameters,
            lr=1e-3,
            fused=True,
            capturable=x.is_cuda,  # a step may become a CUDA graph
        )

    def gradients(self) -> Tensor:
        """The loss, with the parameters' gradients left in them."""
        self.optimizer.zero_grad()
        self.x.grad = None
        loss = self.loss(self.net, self.x, *self.data)
        if not self.whole:
            loss.backward(inputs=self.inputs)
        return loss.detach()

    def __call__(self) -> None:
        self.gradients()
        self.optimizer.step()


def _with_backward(loss: Loss, parameters: list[nn.Parameter]) -> Loss:
    def whole(net: nn.Module, x: Tensor, *data: Tensor) -> Tensor:
        value = loss(net, x, *data)
        value.backward(inputs=parameters)
        return value.detach()

    return whole


def plain_network(ours: cc.nn.MLP) -> nn.Sequential:
    """nn.Sequential with copies of the same layers and weights."""
    kind = {"tanh": nn.Tanh, "silu": nn.SiLU}[ours.activation]
    widths = [ours.in_features, *[ours.hidden_features] * ours.hidden_layers]
    modules: list[nn.Module] = []
    for before, after in pairwise(widths):
        modules += [nn.Linear(before, after), kind()]
    net = nn.Sequential(*modules, nn.Linear(ours.hidden_features, ours.out_features))
    net.to(ours[0].weight).load_state_dict(ours.state_dict())
    return net


class Contenders:
    """Training steps of a case, all from the same weights at the same points."""

    def __init__(self, case: Case, dtype: torch.dtype, device: str = "cpu") -> None:
        self.case, self.problem = case, PROBLEMS[case.problem]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            net = cc.nn.MLP(
                case.inputs,
                self.problem.outputs,
                hidden_features=case.width,
                hidden_layers=case.layers,
                activation=case.activation,
                dtype=torch.float64,
            )
            for layer in list(net)[::2]:
                nn.init.uniform_(layer.bias, -0.1, 0.1)
            x = 2 * torch.rand(case.points, case.inputs, dtype=torch.float64) - 1
        self.net = net.to(device, dtype)
        data = self.problem.data(x)
        self.x = x.to(device, dtype)
        self.data = tuple(tensor.to(device, dtype) for tensor in data)

    def make(self, label: str, backend: str = "inductor") -> Step:
        """The contender ``label``, not yet warmed up."""
        if label == OURS:
            net = cc.nn.MLP(
                self.case.inputs,
                self.problem.outputs,
                hidden_features=self.case.width,
                hidden_layers=self.case.layers,
                activation=self.case.activation,
            )
            net.to(self.x).load_state_dict(self.net.state_dict())
            return Step(self.problem.ours, net, self.x, self.data)
        net = plain_network(self.net)
        if label in (TAYLOR, COMPILED_TAYLOR):
            loss = self.problem.taylor
            if label == COMPILED_TAYLOR:
                loss = _compile(loss, backend)
            return Step(loss, net, self.x, self.data)
        x = self.x.clone().requires_grad_()
        loss = self.problem.autograd
        if label == EAGER:
            return Step(loss, net, x, self.data, inputs=True)
        if label == COMPILED:
            return Step(_compile(loss, backend), net, x, self.data)
        if label == COMPILED_WHOLE:
            whole = _with_backward(loss, list(net.parameters()))
            return Step(_compile(whole, backend), net, x, self.data, whole=True)
        raise ValueError(f"label: expected a contender, got {label!r}.")

    def products(self) -> MatrixProducts:
        """The matrix products of a step."""
        case = self.case
        rows = self.problem.components(case.inputs) * case.points
        device = str(self.x.device)
        return MatrixProducts(rows, case.width, case.layers - 1, self.x.dtype, device)


#: Those that are checked, in the order of the tables; ours comes first.
STEPS = (OURS, EAGER, COMPILED, COMPILED_WHOLE, TAYLOR, COMPILED_TAYLOR)


def _compile(loss: Loss, backend: str) -> Loss:
    return torch.compile(loss, fullgraph=True, dynamic=False, backend=backend)


@contextlib.contextmanager
def compiler(threads: int) -> Iterator[None]:
    """A compiler without memory of other cases, for so many threads (inductor writes their
    number into its loops), and one that follows torch.autograd.grad."""
    import torch._dynamo

    torch._dynamo.reset()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        if hasattr(torch._dynamo.config, "trace_autograd_ops"):
            with torch._dynamo.config.patch(trace_autograd_ops=True):
                yield
        else:  # an older torch: its refusal is recorded
            yield
    finally:
        torch.set_num_threads(before)
        torch._dynamo.reset()


def difference(step: Step, reference: Step) -> float:
    """The larger of the errors of the loss and of any parameter's gradient, relative to the
    norms in ``reference``."""
    found, expected = step.gradients(), reference.gradients()
    worst = abs(found.item() - expected.item()) / abs(expected.item())
    norms = [p.grad.norm().item() for p in reference.parameters]
    floor = 1e-3 * max(norms)
    for mine, theirs, norm in zip(step.parameters, reference.parameters, norms, strict=True):
        if mine.grad is None:
            return float("inf")
        error = (mine.grad.double() - theirs.grad.double()).norm().item()
        worst = max(worst, error / max(norm, floor))
    return float("inf") if math.isnan(worst) else worst


def _require(case: str, label: str, what: str, error: float, tolerance: float) -> None:
    if error > tolerance:
        raise RuntimeError(
            f"{case}, {label}: loss and gradients in {what} differ from nested autograd's by "
            f"{error:.2g}, expected at most {tolerance:g}."
        )


FLOAT64_TOLERANCE, FLOAT32_TOLERANCE = 1e-10, 2e-3


def say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def _reason(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines)[:300]}"


def prepare(
    name: str, case: Case, device: str
) -> tuple[dict[str, Callable[[], object]], dict[str, str]]:
    """Contenders that are checked and warmed up, and why others are missing.

    Raises:
        RuntimeError: one of them computes something else.
    """
    small = Contenders(replace(case, points=min(64, case.points)), torch.float64, device)
    full = Contenders(case, torch.float32, device)
    exact = Contenders(case, torch.float64, device).make(EAGER)
    ready: dict[str, Callable[[], object]] = {}
    missing = dict(case.refused)
    for label in STEPS:
        if label in missing:
            say(f"{name}: {label} left out: {missing[label]}")
            continue
        start = time.perf_counter()
        try:
            in_double = difference(small.make(label, "aot_eager"), small.make(EAGER))
            step = full.make(label)
            in_single = difference(step, exact)
            step()
            step()
        except Exception as error:
            if label not in (COMPILED, COMPILED_WHOLE, COMPILED_TAYLOR):
                raise
            missing[label] = _reason(error)
            say(f"{name}: {label} does not compile: {missing[label]}")
            continue
        _require(name, label, "float64", in_double, FLOAT64_TOLERANCE)
        _require(name, label, "float32", in_single, FLOAT32_TOLERANCE)
        took = time.perf_counter() - start
        say(f"{name}: {label} ready after {took:.1f} s, errors {in_double:.1g}, {in_single:.1g}")
        ready[label] = step
    ready[PRODUCTS] = full.products()
    return ready, missing


def time_case(name: str, rounds: int, device: str, threads: int) -> Comparison:
    """One row of the table."""
    case = CASES[name]
    with compiler(threads):
        contenders, missing = prepare(name, case, device)
        work = case.work
        for label, reason in missing.items():
            work += f"; {label}: NOT TIMED, {reason}"
        bars = {key: bar for key, bar in case.bars.items() if key in contenders}
        say(f"{name}: {rounds} rounds of {len(contenders)} contenders")
        notes: dict[str, Any] = {label: NOTES[label] for label in contenders}
        notes |= {label: f"not timed: {reason}" for label, reason in missing.items()}
        return compare(
            f"step:{name}",
            work,
            contenders,
            bars=bars if device == "cpu" else None,
            rounds=rounds,
            threads=threads,
            device=device,
            notes=notes,
        )


# ---- the entry -----------------------------------------------------------------------------------


def run(
    rounds: int, device: str = "cpu", parts: Sequence[str] | None = None, threads: int = 2
) -> Iterator[Comparison]:
    """The comparisons of ``parts`` (names in CASES, "memory"; None: all cases), one by one."""
    for name in CASES if parts is None else parts:
        if name == "memory":
            if device != "cpu":
                raise ValueError(f"device: expected 'cpu' for step:memory, got {device!r}.")
            from benchmarks.step_memory import measure_memory

            yield measure_memory(rounds, threads)
        else:
            yield time_case(name, rounds, device, threads)
