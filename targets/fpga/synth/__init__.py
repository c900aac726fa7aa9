"""Open synthesis: yosys, nextpnr and packers behind one interface."""

from .families import FAMILIES, Family
from .flow import Design, Routed, Synthesised, pack, place_and_route, synthesise

__all__ = ["FAMILIES", "Design", "Family", "Routed", "Synthesised", "pack", "place_and_route", "synthesise"]
