"""Data pruning: which few samples to calibrate or to fine-tune on.

from prunus.compiler.coreset import select

few = select(data, model, "k-center", 256)
"""

from .select import METHODS, Coreset, parse_coreset, reduced, select

__all__ = ["METHODS", "Coreset", "parse_coreset", "reduced", "select"]
