"""Collocation points: low-discrepancy and random sequences in the unit cube."""

from colloc.ops import halton, hammersley, sobol, uniform

__all__ = ["halton", "hammersley", "sobol", "uniform"]
