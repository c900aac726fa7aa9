"""Integer kernels: portable C11 behind a small Python binding."""
