"""What a training run needs around the loop: results that are whole, metrics, pictures.

Never needed to use the rest of the package; plots, VTK files and the progress bar need the
extra ``colloc[examples]``.
"""

from colloc.training._extras import require
from colloc.training.atomic import atomic_path, output_folder, write_text
from colloc.training.checkpoint import load_checkpoint, save_checkpoint
from colloc.training.interrupt import Interrupt
from colloc.training.metrics import max_error, nrmse, relative_l2
from colloc.training.plots import plot_history, plot_solution
from colloc.training.progress import Progress
from colloc.training.tensorboard import TensorBoard
from colloc.training.vtk import write_grid

__all__ = [
    "Interrupt",
    "Progress",
    "TensorBoard",
    "atomic_path",
    "load_checkpoint",
    "max_error",
    "nrmse",
    "output_folder",
    "plot_history",
    "plot_solution",
    "relative_l2",
    "require",
    "save_checkpoint",
    "write_grid",
    "write_text",
]
