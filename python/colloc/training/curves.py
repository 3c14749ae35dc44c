"""Curves of runs from their ``metrics.jsonl``: of one, or of several side by side."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from colloc._checks import check_choice, describe, fail, fail_type
from colloc._figure import new_figure
from colloc.training.atomic import atomic_path
from colloc.training.run_folder import read_metrics

#: Okabe and Ito's colours, told apart by colour-blind readers too; then again, dashed.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C6D1F", "#666666")
_DASHES = ("-", "--", ":", "-.")
_GROUPS = {
    "losses": "loss",
    "weights": "weight",
    "errors": "error",
    "parameters": "unknown parameter",
}
_AXES = {"step": "step", "seconds": "seconds of training"}
#: More panels than these are no picture any more, nor are more names in a legend.
_MOST, _MOST_NAMES = 12, 20
#: Sizes beyond these break the arithmetic of axes, of which they are the edge.
_SMALLEST, _LARGEST = 1e-200, 1e200  # with margins and ticks beyond, still floats
#: A larger step or time is none.
_LATEST = 1e18


class Run(NamedTuple):
    """The metrics of a run, by name; NaN where a line has none."""

    name: str
    step: list[float]
    seconds: list[float]
    loss: list[float]
    learning_rate: list[float]
    losses: dict[str, list[float]]
    weights: dict[str, list[float]]
    errors: dict[str, list[float]]
    parameters: Mapping[str, list[float]] = MappingProxyType({})


def read_run(path: str | os.PathLike[str]) -> Run:
    """The metrics of a trainer's folder, which may be one that is still written to: a last line
    that is not whole is left out.

    Raises:
        FileNotFoundError: no such folder, or no metrics in it.
        ValueError: no line with a step.
    """
    folder = Path(path)
    wanted = "run: expected the folder of a run, with a metrics.jsonl"
    if not folder.exists():
        raise FileNotFoundError(f"{wanted}, got {folder}, which does not exist.")
    file = folder / "metrics.jsonl" if folder.is_dir() else folder
    if not file.is_file():
        raise FileNotFoundError(
            f"{wanted}, got {folder}, which has none. Give a trainer's output; it writes the "
            "first line after its first step."
        )
    rows = [row for row in read_metrics(file) if abs(_number(row.get("step"))) <= _LATEST]
    if not rows:
        fail("run", "at least one line with a step", f"{file} without", "Has a step been made?")

    def column(name: str) -> list[float]:
        return [_number(row.get(name)) for row in rows]

    def group(name: str) -> dict[str, list[float]]:
        found = [row[name] if isinstance(row.get(name), dict) else {} for row in rows]
        names = dict.fromkeys(key for one in found for key in one)
        return {key: [_number(one.get(key)) for one in found] for key in names}

    return Run(
        folder.resolve().name if folder.is_dir() else folder.stem,
        column("step"),
        [value if abs(value) <= _LATEST else math.nan for value in column("seconds")],
        column("loss"),
        column("learning_rate"),
        group("losses"),
        group("weights"),
        group("errors"),
        group("parameters"),
    )


def plot_run(
    path: str | os.PathLike[str], run: Run, *, by: str = "step", title: str | None = None
) -> None:
    """Total and single losses, weights, errors and the learning rate of one run, a panel each,
    on logarithmic scales; values <= 0 make the scale linear around 0. Unknown parameters have a
    panel on a linear scale. Atomically.

    Args:
        path: the picture (.png, .pdf, .svg).
        run: of :func:`read_run`.
        by: "step" or "seconds".
        title: a line above; None: the run's name and where it stands.

    Raises:
        ValueError: nothing to draw, another ``by``.
        ImportError: matplotlib is not installed.
        OSError: the folder is missing or not writable.
    """
    x = _abscissa(run, by)
    panels = [("loss", {"total": run.loss, **run.losses})]
    panels += [(label, getattr(run, name)) for name, label in _GROUPS.items() if name != "losses"]
    panels.append(("learning rate", {"": run.learning_rate}))
    shown = []
    for label, curves in panels:
        some = {name: y for name, y in curves.items() if any(map(math.isfinite, y))}
        if some:
            shown.append((label, some))
    if not shown:
        fail("run", "numbers to draw", f"{run.name}, with nothing but null")
    figure, axes = _grid(len(shown), 2)
    for panel, (label, curves) in zip(axes, shown, strict=True):
        alone = next(iter(curves)) if len(curves) == 1 else ""
        for k, (name, y) in enumerate(curves.items()):
            first = label == "loss" and name == "total"
            style: Any = {"color": "black", "linewidth": 2.0} if first else _style(k - 1)
            if label != "loss":
                style = _style(k)
            shown_name = _label(name) if k < _MOST_NAMES else "_"  # matplotlib leaves it out
            if k == _MOST_NAMES:
                shown_name = f"and {len(curves) - k} more"
            _curve(panel, x, y, shown_name, style)
        named = f"{label}: {_label(alone)}" if alone not in ("", label) else label
        linear = label == _GROUPS["parameters"]
        _finish(panel, by, named, list(curves.values()), legend=len(curves) > 1, linear=linear)
    last = f"{run.name}: step {run.step[-1]:.0f}, {_seconds(run.seconds[-1])}"
    _save(figure, path, _title(last if title is None else title))


def compare_runs(
    path: str | os.PathLike[str],
    runs: Sequence[Run],
    *,
    by: str = "step",
    title: str | None = None,
) -> None:
    """Several runs in one picture: panels for the total loss, each error, each unknown parameter,
    each single loss, weights that move or differ, and the learning rate; one colour and one entry
    in the legend for each run. Atomically.

    Args, raises: as for :func:`plot_run`. Totals of runs whose weights differ do not compare;
    errors do.
    """
    if not isinstance(runs, Sequence) or not runs:
        fail_type("runs", "a list of runs", describe(runs))
    names = labels_of(runs)
    panels: list[tuple[str, list[list[float]]]] = [("total loss", [run.loss for run in runs])]
    linear = set()
    for group in ("errors", "parameters", "losses", "weights"):
        label = _GROUPS[group]
        for name in dict.fromkeys(key for run in runs for key in getattr(run, group)):
            one = label if name == label else f"{label}: {name}"
            values = [getattr(run, group).get(name, []) for run in runs]
            if group != "weights" or len({v for y in values for v in y}) > 1:  # they move
                panels.append((one, values))
                if group == "parameters":
                    linear.add(one)
    panels.append(("learning rate", [run.learning_rate for run in runs]))
    panels = [one for one in panels if any(math.isfinite(v) for y in one[1] for v in y)]
    if not panels:
        fail("runs", "numbers to draw", "nothing but null")
    figure, axes = _grid(min(len(panels), _MOST), 3)
    for panel, (label, curves) in zip(axes, panels[:_MOST], strict=True):
        for k, (run, y) in enumerate(zip(runs, curves, strict=True)):
            if y:
                _curve(panel, _abscissa(run, by), y, "", _style(k))
        _finish(panel, by, _label(label), curves, legend=False, linear=label in linear)
    from matplotlib.lines import Line2D

    keys = [Line2D([], [], **_style(k)) for k in range(len(runs))]
    figure.legend(keys, [_label(name) for name in names], loc="outside lower center",
                  ncols=min(len(runs), 4), fontsize="small")  # fmt: skip
    _save(figure, path, "" if title is None else _title(title))


def table(runs: Sequence[Run]) -> str:
    """A line for each run: its last step, the seconds, the last loss, the smallest of its first
    error and where that was."""
    lines = [("run", "last step", "seconds", "last loss", "best error", "at step")]
    for name, run in zip(labels_of(runs), runs, strict=True):
        best, at = "-", "-"
        for kind, values in run.errors.items():
            known = [(v, s) for v, s in zip(values, run.step, strict=True) if math.isfinite(v)]
            if known:
                value, step = min(known)
                best, at = f"{value:.4g} ({kind})", f"{step:.0f}"
                break
        loss = run.loss[-1]
        lines.append(
            (
                name,
                f"{run.step[-1]:.0f}",
                "-" if math.isnan(run.seconds[-1]) else f"{run.seconds[-1]:.1f}",
                f"{loss:.4g}" if math.isfinite(loss) else "not finite",
                best,
                at,
            )
        )
    widths = [max(len(line[k]) for line in lines) for k in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if k == 0 else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def labels_of(runs: Sequence[Run]) -> list[str]:
    """The runs' names, with a number where several are alike."""
    names = [run.name for run in runs]
    found: list[str] = []
    for k, name in enumerate(names):
        number = names[: k + 1].count(name)
        found.append(name if names.count(name) == 1 else f"{name} ({number})")
    return found


# ---- parts of a picture -----------------------------------------------------------------------


def _number(value: Any) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return math.nan
    try:
        return float(value)
    except OverflowError:  # of an int
        return math.inf if value > 0 else -math.inf


def _abscissa(run: Run, by: str) -> list[float]:
    check_choice("by", by, tuple(_AXES))
    found: list[float] = getattr(run, by)
    if not any(map(math.isfinite, found)):
        fail("by", f"'step', as {run.name} has no {by}", repr(by))
    return found


def _grid(count: int, columns: int) -> tuple[Any, list[Any]]:
    columns = min(count, columns)
    rows = -(-count // columns)
    figure = new_figure(6.4 * columns, 3.6 * rows + 0.4)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for panel in panels[count:]:
        panel.remove()
    return figure, panels[:count]


def _style(k: int) -> dict[str, Any]:
    count = len(_COLOURS)
    return {
        "color": _COLOURS[k % count],
        "linestyle": _DASHES[k // count % len(_DASHES)],
        "linewidth": 1.4,
    }


def _curve(
    panel: Any, x: Sequence[float], y: Sequence[float], label: str, style: Mapping[str, Any]
) -> None:
    """A line, with a dot at each value that has no neighbour to be joined with."""
    y = _drawable(y)
    panel.plot(x, y, label=label, **style)
    known = [math.isfinite(v) for v in y]
    around = [False, *known, False]
    alone = [k for k, one in enumerate(known) if one and not around[k] and not around[k + 2]]
    if alone:
        dots = ([x[k] for k in alone], [y[k] for k in alone])
        panel.plot(*dots, "o", markersize=4, color=style["color"])


def _drawable(y: Sequence[float]) -> list[float]:
    """Values whose logarithms and margins can be computed; what is not finite is left out."""
    found = []
    for v in y:
        size = min(max(abs(v), _SMALLEST), _LARGEST) if v else 0.0
        found.append(math.copysign(size, v) if math.isfinite(v) else math.nan)
    return found


def _finish(
    panel: Any,
    by: str,
    label: str,
    curves: Sequence[Sequence[float]],
    *,
    legend: bool,
    linear: bool = False,
) -> None:
    found = [v for y in curves for v in y if math.isfinite(v)]
    values = [v for v in _drawable(found) if math.isfinite(v)]
    if found != values:
        label = f"{label} (cut at {_LARGEST:g})" if max(map(abs, found)) > _LARGEST else label
    positive = [v for v in values if v > 0]
    if linear:
        pass
    elif positive and len(positive) == len(values):
        panel.set_yscale("log")
    elif positive:
        # Logarithmic on both sides of what is no larger than rounding of the largest.
        largest = max(map(abs, values))
        least = min(abs(v) for v in values if v)
        panel.set_yscale("symlog", linthresh=max(least, 1e-6 * largest))
        label = f"{label} (linear around 0)"
    panel.set(xlabel=_AXES[by], ylabel=label)
    panel.grid(True, which="major", alpha=0.4)
    if legend:  # beside the panel, where no curve runs
        panel.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), fontsize="small", frameon=False)


def _label(name: str) -> str:
    """A name as matplotlib shows it: no formulas, and no leading underscore, which hides it."""
    text = name if len(name) <= 40 else name[:37] + "..."
    return (" " if text.startswith("_") else "") + text.replace("$", r"\$")


def _title(text: str) -> str:
    return text.replace("$", r"\$")


def _seconds(value: float) -> str:
    return "seconds unknown" if math.isnan(value) else f"{value:.1f} s"


def _save(figure: Any, path: str | os.PathLike[str], title: str) -> None:
    if title:
        figure.suptitle(title)
    with atomic_path(path) as aside:
        figure.savefig(aside, dpi=130)
