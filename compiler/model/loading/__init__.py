"""The stages of loading an untrusted model; `../load.py` shows their order."""
