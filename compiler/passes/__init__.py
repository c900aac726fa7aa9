"""Passes: one file each."""
