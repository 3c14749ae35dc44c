"""Pictures without pyplot, which would pick a window system and keep every figure alive."""

from __future__ import annotations

from typing import Any


def new_figure(width: float, height: float) -> Any:
    """An empty matplotlib Figure of that size in inches.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "plotting needs the package matplotlib: pip install matplotlib, or all that examples "
            f"use by pip install 'colloc[examples]' (in a checkout '.[examples]') ({error})"
        ) from error
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
