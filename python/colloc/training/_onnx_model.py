"""A plain field's graph as an ONNX model.

Written here operation by operation: torch's own exporter takes a hundred times as long, and gets
shapes wrong where parts that are put together are empty.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, fx

from colloc._checks import fail
from colloc.training._onnx_table import BUILTIN, RULES
from colloc.training._onnx_writer import Writer, numpy_dtype

_OPSET = 18


def model_of(graph: fx.GraphModule, onnx: Any) -> Any:
    """The ONNX model of a graph from ``x`` (points, d) to ``u`` (points, m).

    Raises:
        ValueError: an operation that has no counterpart here.
    """
    writer = Writer(onnx)
    names: dict[fx.Node, Any] = {}
    ends = []
    for node in graph.graph.nodes:
        if node.op == "placeholder":
            names[node] = "x"
            ends.append(_end(writer, "x", node.meta["val"]))
        elif node.op == "get_attr":
            value = getattr(graph, str(node.target)).detach().cpu()
            names[node] = writer.constant(value.numpy(), numpy_dtype(value.dtype))
        elif node.op == "output":
            result = node.args[0]
            writer.nodes.append(onnx.helper.make_node("Identity", [names[result]], ["u"]))
            ends.append(_end(writer, "u", result.meta["val"]))
        else:
            key = BUILTIN.get(node.target, str(node.target))
            rule = RULES.get(key)
            if rule is None:
                fix = "Export to a .pt2 or .py file, or write that part with other operations."
                fail("field", "operations that the ONNX export knows", key, fix)
            names[node] = rule(writer, node, [_named(one, names) for one in node.args])
    made = onnx.helper.make_graph(writer.nodes, "field", ends[:1], ends[1:], writer.constants)
    opset = [onnx.helper.make_opsetid("", _OPSET)]
    model = onnx.helper.make_model(made, opset_imports=opset, producer_name="colloc")
    model.ir_version = 9  # what runtimes of 2024 read, too
    onnx.checker.check_model(model)
    return model


def _end(writer: Writer, name: str, value: Tensor) -> Any:
    shape = ["points", int(value.shape[1])]
    element = writer.element(value.dtype)
    return writer.onnx.helper.make_tensor_value_info(name, element, shape)


def _named(value: Any, names: dict[fx.Node, Any]) -> Any:
    if isinstance(value, fx.Node):
        return names[value]
    if isinstance(value, (list, tuple)):
        return [_named(one, names) for one in value]
    return value
