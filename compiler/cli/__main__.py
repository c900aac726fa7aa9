"""`python -m prunus.compiler.cli` is the `prunus` script."""

from . import main

main()
