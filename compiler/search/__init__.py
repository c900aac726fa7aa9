"""Decides for a device: which widths meet a budget at the least loss, and which networks are worth having at all."""
