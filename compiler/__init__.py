"""Prunus, the compiler: graph in, graph out."""
