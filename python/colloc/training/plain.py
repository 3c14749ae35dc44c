"""A trained field as a graph of torch's own operations, which needs nothing of this package."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx, nn

from colloc._checks import check_float_dtype, check_int, check_points, describe, fail, fail_type
from colloc.ops._registration import plain_formulas

_aten = torch.ops.aten
#: Operations that are taken apart: what only derivatives are made of.
_SPLIT = [
    _aten._softmax_backward_data,
    _aten.addcmul,
    _aten.addcdiv,
    _aten.tanh_backward,
    _aten.sigmoid_backward,
    _aten.silu,
    _aten.silu_backward,
    _aten.gelu_backward,
    _aten.softplus_backward,
    _aten.rsub,
]
#: Points that are traced with: a prime number, which is the size of nothing else.
_TRACED = 1009


def plain(field: nn.Module, example: Tensor | int) -> fx.GraphModule:
    """The field as an ``nn.Module`` made of torch's own operations: no kernels, no classes of
    this package, whatever depends on weights alone computed once.

    Traced at points of any number. Weights, slopes and tables become buffers: the module is
    fixed, but ``torch.autograd`` differentiates it by its points, and it may be put into
    ``torch.compile``. It stays on its device.

    Example::

        u = cc.training.plain(field, 2)(torch.rand(100, 2))

    Args:
        field: any module from points (N, d) to (N, m), row by row: a network, a
            :class:`colloc.boundary.Ansatz`, a module of one's own. It is evaluated as in
            ``field.eval()``, and left as it was.
        example: points (N, d), N >= 1, in the dtype, on the device and in the domain that the
            field is for; or the number d of inputs, for a field with parameters.

    Raises:
        TypeError, ValueError: not a module, points that do not fit, values that are not (N, m),
            rows that depend on other rows or change from call to call.
        RuntimeError: the field looks at values (an ``if`` on a tensor, NumPy, ``.item()``),
            which no graph can hold.
    """
    field, x = checked(field, example)
    if isinstance(field, fx.GraphModule) and field.meta.get("plain"):
        return field
    with _evaluated(field):
        expected = check_values(field(x), x)
        again = field(x.clone())
        if not torch.equal(expected, again):
            fail("field", "a module with the same values at every call", "others at a second call")
        graph = _traced(field, x)
    problem = difference(graph, field, x)
    if problem:
        fail(
            "field",
            "a module whose values at a point depend on that point alone, by torch's operations",
            problem,
            "Is a size of the example, or a random number, part of its code?",
        )
    graph.meta["plain"] = True
    return graph


def checked(field: Any, example: Any) -> tuple[nn.Module, Tensor]:
    """The module itself and points (N, d) to trace with."""
    if not isinstance(field, nn.Module):
        fix = "Wrap a function in a module whose forward calls it." if callable(field) else ""
        fail_type("field", "an nn.Module from (N, d) to (N, m)", describe(field), fix)
    for wrapper in ("_orig_mod", "module"):  # of torch.compile and of DistributedDataParallel
        inner = field._modules.get(wrapper)
        wraps = wrapper == "_orig_mod" or isinstance(field, nn.parallel.DistributedDataParallel)
        if isinstance(inner, nn.Module) and wraps:
            field = inner
    if not isinstance(example, Tensor):
        inputs = check_int("example", example, minimum=1)
        tensors = itertools.chain(field.parameters(), field.buffers())
        first = next((one for one in tensors if one.is_floating_point()), None)
        if first is None:
            fail("example", "points for a field without parameters", describe(example))
        generator = torch.Generator().manual_seed(0)
        example = torch.rand(64, inputs, generator=generator, dtype=torch.float64).to(first)
    x = check_points("example", example).detach()
    check_float_dtype("example", x.dtype)
    if x.shape[0] == 0 or x.shape[1] == 0:
        fail("example", "at least one point with one coordinate", x)
    return field, x.clone()


def check_values(value: Any, x: Tensor) -> Tensor:
    """The field's values, if they are a floating tensor (N, m)."""
    wanted = f"a floating tensor of shape ({x.shape[0]}, m)"
    if not isinstance(value, Tensor) or not value.is_floating_point():
        fail_type("field(example)", wanted, describe(value))
    if value.ndim != 2 or value.shape[0] != x.shape[0]:
        fail("field(example)", wanted, value)
    if not bool(torch.isfinite(value).all()):
        fail("field(example)", "finite values", f"{describe(value)} with NaN or infinity")
    return value


def difference(found: Any, field: nn.Module, x: Tensor) -> str:
    """Where values of a module differ from the field's, at several numbers of points; "" if they
    do so by rounding alone."""
    count = len(x)
    with _evaluated(field):
        for rows in ([0], range(count), [0, count - 1, count // 2], range(2 * count + 1), []):
            at = x[[i % count for i in rows]]
            wanted, got = field(at), found(at)
            if got.shape != wanted.shape:
                return f"shape {tuple(got.shape)} for {tuple(wanted.shape)} at {len(at)} points"
            close = 1e-12 if wanted.dtype == torch.float64 else 1e-5
            off = float((got - wanted).abs().max()) if wanted.numel() else 0.0
            size = max(1.0, float(wanted.abs().max())) if wanted.numel() else 1.0
            if not off <= close * size:
                return f"values that are {off:.2g} off at {len(at)} points"
    return ""


@contextmanager
def _evaluated(field: nn.Module) -> Iterator[None]:
    """In evaluation mode, without gradients."""
    training = [module for module in field.modules() if module.training]
    try:
        for module in training:
            module.training = False
        with torch.no_grad(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="colloc.jet: no kernel")
            yield
    finally:
        for module in training:
            module.training = True


def _traced(field: nn.Module, x: Tensor) -> fx.GraphModule:
    """The graph of the field's values, with a number of points that is a symbol."""
    from torch._decomp import get_decompositions
    from torch._dynamo.source import ConstantSource
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.proxy_tensor import make_fx
    from torch.fx.experimental.symbolic_shapes import (
        DimDynamic,
        ShapeEnv,
        StatelessSymbolicContext,
    )

    x = x[torch.arange(_TRACED, device=x.device) % len(x)]

    def trace(function: Any, symbolic: Tensor) -> fx.GraphModule:
        table: Any = get_decompositions(_SPLIT)
        found: fx.GraphModule = make_fx(
            function, table, tracing_mode="symbolic", _allow_non_fake_inputs=True
        )(symbolic)
        return found

    mode = FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True)
    sizes: Any = StatelessSymbolicContext([DimDynamic.DYNAMIC, DimDynamic.STATIC])
    symbolic = mode.from_tensor(x, symbolic_context=sizes, source=ConstantSource("x"))
    with plain_formulas():
        field(x)  # what is looked at or kept once, is so with values
        try:
            graph = fold(trace(lambda x: field(x), symbolic))
        except Exception as error:
            first = str(error).strip().split("\n")[0]
            raise RuntimeError(
                "field: expected a module of torch operations whose course does not depend on "
                f"values, got one that cannot be traced: {type(error).__name__}: {first}. Take "
                "`if` on tensors, `.item()`, NumPy and functions of other libraries out of it and "
                "of its conditions' data (torch.where chooses by values)."
            ) from error
    if any(_writes(node) for node in graph.graph.nodes):
        graph = fold(trace(torch.func.functionalize(graph, remove="mutations"), symbolic))
    for node in graph.graph.nodes:
        if str(node.target).startswith("colloc"):
            raise RuntimeError(
                f"field: expected torch's own operations, got {node.target}, which has no plain "
                "formula for an export."
            )
    return graph


def _writes(node: fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is not None and bool(schema.is_mutable)


def fold(graph: fx.GraphModule) -> fx.GraphModule:
    """The same graph with what depends on constants alone computed, in buffers.

    Nothing is detached: where jets are made, points are cut off from gradients, but the graph is
    differentiated by its points as a whole.

    Operations in place on constants are carried out in their order, on copies.
    """
    constants: dict[fx.Node, Any] = {}
    for node in graph.graph.nodes:
        if node.op == "get_attr":
            value = getattr(graph, node.target)
            constants[node] = value.detach().clone() if isinstance(value, Tensor) else value
        elif node.op == "call_function":
            args, kwargs = node.args, node.kwargs
            inputs = node.all_input_nodes
            if (
                str(node.target) in _NEW and len(inputs) == 1
            ):  # new_zeros(x, (2, 3)): not x's values
                given = node.args[0].meta["val"]
                args = (torch.empty(0, dtype=given.dtype, device=given.device), *args[1:])
                inputs = []
            if all(one in constants for one in inputs):
                args, kwargs = fx.node.map_arg((args, kwargs), constants.__getitem__)
                constants[node] = node.target(*args, **kwargs)
    module = nn.Module()
    kept = fx.Graph()
    copies: dict[fx.Node, Any] = {}

    def copied(node: fx.Node) -> Any:
        if node not in copies:
            value = constants[node]
            if isinstance(value, Tensor):
                name = f"constant_{len(list(module.buffers()))}"
                module.register_buffer(name, value.clone(memory_format=torch.contiguous_format))
                with kept.inserting_before(first):
                    value = kept.get_attr(name)
                value.meta["val"] = constants[node]
            copies[node] = value
        return copies[node]

    first: Any = None
    for node in graph.graph.nodes:
        if node in constants:
            continue
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), copied)
        if node.target is _aten.detach.default:
            copies[node] = args[0]
            continue
        made = kept.create_node(node.op, node.target, args, kwargs)
        made.meta["val"] = node.meta.get("val")
        copies[node] = made
        if node.op == "placeholder":
            first = made.next
    kept.eliminate_dead_code()
    return fx.GraphModule(module, kept, "PlainField")


_NEW = {f"aten.new_{name}.default" for name in ("zeros", "ones", "full")}
