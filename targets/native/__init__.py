"""The integer graph on the kernels of this machine: regions between float islands, each a planned network.

`split` says which operators belong together, `define` and `pack` turn a region into a network or its bytes, and
`NativeModel` runs a whole graph. Targets that ship the kernels use `pack`; tests and benchmarks use `NativeModel`.
"""

from .network import NativeModel, define, load_graph, number, pack, traced
from .regions import Part, split

__all__ = ["NativeModel", "Part", "define", "load_graph", "number", "pack", "split", "traced"]
