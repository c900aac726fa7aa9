"""What a set of rewriting rules did and declined, collected into notes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import onnx_ir as ir

from ...errors import PrunusError
from ..base import Note

# What each code says in a note; the count follows in brackets.
DONE: dict[str, str] = {
    "input-steps-merged": "preprocessing steps of an input merged into one",
    "initializer-inputs": "initializers taken off the list of graph inputs",
    "lifted-constants": "Constant nodes made initializers",
    "filled-constants": "ConstantOfShape nodes made initializers",
    "default-attributes": "default attributes written out",
    "explicit-windows": "window geometries written out",
    "explicit-axes": "axes and permutations written out",
    "explicit-splits": "Split sizes written out",
    "no-op-removed": "nodes that change nothing removed",
    "pads-merged": "zero padding moved into the convolution behind it",
    "reshapes": "reshapes brought into one form",
    "affine-merged": "scales and shifts merged into one batch normalisation",
    "folded-backward": "scales and shifts folded into the layer before",
    "folded-forward": "scales and shifts folded into the layers behind",
    "folded-constants": "constant results computed",
    "folded-shapes": "static shapes made constants",
    "global-pools": "averages over the whole map made GlobalAveragePool",
    "gemms": "fully connected layers brought into one form",
    "operands-ordered": "constants moved to the right-hand side",
    "sums": "Sum nodes made additions",
    "clips": "activation bounds brought into one form",
    "factors-merged": "constant factors merged",
    "batch-norms": "batch normalisations put into inference form",
    "transposes-absorbed": "transpositions taken over by the weights or axes behind them",
    "transposes-removed": "transpositions cancelled",
    "transposes-reshaped": "transpositions of dimensions of size one made reshapes",
    "unread-removed": "nodes that nobody reads removed",
}


class Journal:
    """Counts what was done, by code; keeps one note per node and reason for what was left alone."""

    def __init__(self) -> None:
        self._done: Counter[str] = Counter()
        self._declined: dict[tuple[str, str], Note] = {}

    @property
    def changed(self) -> bool:
        return bool(self._done)

    def did(self, code: str, count: int = 1) -> None:
        """Records `count` edits of a kind."""
        if count:
            self._done[code] += count

    def declined(self, code: str, node: ir.Node, text: str, hint: str = "") -> None:
        """Records why a rule left a node alone. Saying it twice is the same as saying it once."""
        where = node.name or ""
        self._declined[code, where] = Note(code, text, where, hint)

    def notes(self) -> tuple[Note, ...]:
        """What was declined, by place; then what was done, counted."""
        declined = [self._declined[key] for key in sorted(self._declined, key=lambda key: (key[1], key[0]))]
        done = [Note(code, f"{DONE[code]} ({count})") for code, count in sorted(self._done.items())]
        return (*declined, *done)


Rule = Callable[[ir.Node, Journal], bool]  # True: the graph changed


_MAX_ROUNDS = 1000  # each round but the last changes something; real models settle within ten


def apply_rules(graph: ir.Graph, rules: Mapping[str, tuple[Rule, ...]], journal: Journal) -> bool:
    """Applies rules, looked up by operator type, to every node until none fires any more. Returns whether any did.

    Only nodes of the main graph and the standard domain are rewritten; bodies of control flow stay as they are.

    Raises:
        PrunusError: the rules undo each other (code `rules-do-not-settle`).
    """
    for done in range(_MAX_ROUNDS):
        progress = False
        for node in list(graph):
            for rule in rules.get(node.op_type, ()) if node.domain == "" else ():
                if node.graph is None:
                    break  # an earlier rule removed it
                progress |= rule(node, journal)
        if not progress:
            return done > 0
    raise PrunusError(
        "The rewriting rules do not come to an end on this model.",
        code="rules-do-not-settle",
        why=f"After {_MAX_ROUNDS} rounds there was still something to rewrite.",
        hint="This is a fault of Prunus; please report it with the model.",
    )
