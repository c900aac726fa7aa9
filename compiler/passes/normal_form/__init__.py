"""The rules of the normal form, one file per subject; `passes/normalise.py` applies them."""
