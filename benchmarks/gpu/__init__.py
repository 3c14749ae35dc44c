"""What one NVIDIA GPU gives: ceilings, ops against their floors, whole steps.

``python -m benchmarks.gpu_campaign`` runs all of it after the tests and the memory checker.
"""
