"""FPGA targets."""
