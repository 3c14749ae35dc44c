"""The neural tangent kernel of residuals: exact traces, diagonals and Gram matrices."""

from colloc.ntk.gram import gram
from colloc.ntk.trace import diagonal, term_trace, trace

__all__ = ["diagonal", "gram", "term_trace", "trace"]
