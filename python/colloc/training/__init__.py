"""An optional training loop, and what a run needs around one: results that are whole, pictures.

:class:`Trainer` carries a run from one core to several processes and never loses it; each of its
parts is usable without it. Never needed to use the rest of the package; plots, VTK files and the
progress bar need the extra ``colloc[examples]``.
"""

from colloc.training import schedules
from colloc.training._extras import require
from colloc.training._nonfinite import NonFiniteError
from colloc.training._state import State
from colloc.training.atomic import atomic_path, output_folder, write_text
from colloc.training.checkpoint import load_checkpoint, save_checkpoint
from colloc.training.curves import Run, compare_runs, plot_run, read_run
from colloc.training.evaluate import evaluate_file
from colloc.training.export import export, load_exported
from colloc.training.interrupt import Interrupt
from colloc.training.metrics import max_error, nrmse, relative_l2
from colloc.training.plain import plain
from colloc.training.plots import plot_history, plot_points, plot_solution
from colloc.training.precision import Precision
from colloc.training.processes import ProcessError, Processes, start_processes
from colloc.training.progress import Progress
from colloc.training.run_folder import RunFolder, read_metrics
from colloc.training.stage import Stage
from colloc.training.tensorboard import TensorBoard
from colloc.training.trainer import Trainer
from colloc.training.vtk import write_grid, write_points

__all__ = [
    "Interrupt",
    "NonFiniteError",
    "Precision",
    "ProcessError",
    "Processes",
    "Progress",
    "Run",
    "RunFolder",
    "Stage",
    "State",
    "TensorBoard",
    "Trainer",
    "atomic_path",
    "compare_runs",
    "evaluate_file",
    "export",
    "load_checkpoint",
    "load_exported",
    "max_error",
    "nrmse",
    "output_folder",
    "plain",
    "plot_history",
    "plot_points",
    "plot_run",
    "plot_solution",
    "read_metrics",
    "read_run",
    "relative_l2",
    "require",
    "save_checkpoint",
    "schedules",
    "start_processes",
    "write_grid",
    "write_points",
    "write_text",
]
