"""A plain field's graph as a Python file."""

from __future__ import annotations

import base64
import io
import re
import textwrap

import torch
from torch import Tensor, fx

from colloc._checks import fail

#: How a file that was written here is known.
MARK = "Written by colloc.training.export."
_HEAD = '''"""A trained field: plain torch, with its weights. Written by colloc.training.export.

    from NAME_OF_THIS_FILE import Field
    u = Field()(x)  # x: points (N, {inputs}) of {dtype}
"""

import base64
import io
from math import inf, nan

import torch
from torch import device

INPUTS, DTYPE = {inputs}, {dtype}


class Field(torch.nn.Module):
    """From points (N, {inputs}) to values (N, {outputs})."""

    def __init__(self):
        super().__init__()
        data = io.BytesIO(base64.b64decode(WEIGHTS))
        for name, value in torch.load(data, map_location="cpu", weights_only=True).items():
            self.register_buffer(name, value)

{code}

WEIGHTS = """
{weights}
"""
'''


def module_source(graph: fx.GraphModule, x: Tensor) -> str:
    """The text of a file with a class ``Field``, its code and its weights.

    Args:
        graph: of :func:`colloc.training.plain`.
        x: points as it takes them.
    """
    source = graph.graph.python_code("self")
    for name, value in source.globals.items():
        known = name in ("torch", "device", "inf", "nan")
        if not known and re.search(rf"\b{name}\b", source.src):
            fail("field", "torch operations alone", f"{name} = {value!r}")
    data = io.BytesIO()
    torch.save({name: value.cpu() for name, value in graph.named_buffers()}, data)
    text = base64.b64encode(data.getvalue()).decode()
    return _HEAD.format(
        inputs=x.shape[1],
        outputs=graph(x).shape[1],
        dtype=x.dtype,
        code=textwrap.indent(source.src.strip(), " " * 4),
        weights="\n".join(textwrap.wrap(text, 96)),
    )
