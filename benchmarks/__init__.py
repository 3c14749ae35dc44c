"""Benchmarks of colloc against the honest alternatives: ``python -m benchmarks --help``."""
