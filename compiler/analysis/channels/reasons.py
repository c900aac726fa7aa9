"""Why a channel cannot be removed: every reason code, what it means and what the user can do."""

from __future__ import annotations

from typing import NamedTuple


class Reason(NamedTuple):
    """What a code means, and what to do about it."""

    text: str
    hint: str = ""


_FOLD = "Fold constants first; an export with static shapes does it too."
_REWRITE = "Rewrite the operator in terms of the supported ones, or leave the layer as it is."

REASONS: dict[str, Reason] = {
    "graph-input": Reason("The channels are those of a graph input."),
    "graph-output": Reason("The channels are those of a graph output."),
    "batch": Reason("The dimension is the batch."),
    "size-one": Reason("The dimension has one position only."),
    "spatial": Reason("The positions are places in an image or a sequence, not channels."),
    "no-producer": Reason("No convolution or matrix product computes these channels.", "Fold constants first."),
    "all-or-nothing": Reason("The channels are so tied to each other that only all of them could go together."),
    "unknown-op": Reason("An operator without a rule reads or writes the channels.", _REWRITE),
    "unsupported-form": Reason("A rare form of a known operator reads or writes the channels.", _REWRITE),
    "subgraph": Reason("The body of an If, Loop or Scan reads the channels.", "Export the model without control flow."),
    "softmax-axis": Reason("A softmax runs across the channels."),
    "normalised-axis": Reason("A normalisation takes its statistics across the channels."),
    "reduced-axis": Reason("A reduction runs across the channels."),
    "ranked-axis": Reason("An operator ranks or searches across the channels (ArgMax, TopK, Hardmax)."),
    "cumulative-axis": Reason("A running sum runs across the channels."),
    "layout-mismatch": Reason("A reshape mixes the channels with another dimension.", _REWRITE),
    "dynamic-shape": Reason("A shape that is computed at run time holds the number of channels.", _FOLD),
    "shape-read": Reason("The number of channels is read by a Shape operator.", _FOLD),
    "dynamic-index": Reason("Channels are chosen by indices that are computed at run time."),
    "fixed-index": Reason("A Gather picks single channels by number."),
    "strided-slice": Reason("A Slice takes the channels with a step other than one."),
    "padded-channels": Reason("A Pad adds constant channels."),
    "resized-channels": Reason("A Resize changes the number of channels."),
    "broadcast": Reason("The positions are copies made by broadcasting."),
    "blocked-quantization": Reason("Blocks of channels share a quantization scale.", "Prune before quantizing."),
    "auxiliary-output": Reason("A second output of the operator holds positions of channels (as of MaxPool)."),
}
