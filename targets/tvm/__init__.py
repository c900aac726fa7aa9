"""Apache TVM target: integer graph to Relax, with the kernels inside."""
