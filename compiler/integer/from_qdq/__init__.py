"""Reads standard QDQ ONNX into the integer graph.

`walk.read_qdq` goes over the nodes once; `table.READERS` says which function reads which operator; `reader.Reader` is
what those functions may ask; `values` is what they answer; `islands` wraps what stays in floating point.
"""

from .walk import read_qdq

__all__ = ["read_qdq"]
