"""Equations as residuals of jets, and the terms that put them on points."""

from colloc.pde.helmholtz import Helmholtz, helmholtz
from colloc.pde.term import Term

__all__ = ["Helmholtz", "Term", "helmholtz"]
