"""The accuracy contract of a compilation: passes halt by what they measure, and the scoring samples decide."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from .integer.check import check_graph
from .integer.from_qdq import read_qdq
from .integer.graph import Graph
from .passes.base import Context, Options
from .passes.fit_budget import minimises
from .pipeline import Pipeline, PipelineResult
from .verify import Measured, Original, measure

RETRIES = 2
SLACK = 1e-12  # of rounding in scores


@dataclass(frozen=True)
class Compressed:
    """What the passes made, as the integer graph too, how good it is, and what to say about the way there."""

    result: PipelineResult
    graph: Graph
    measured: Measured
    notes: tuple[str, ...] = ()


def compress(pipeline: Pipeline, original: Original, context: Context, dump_dir: Path | None) -> Compressed:
    """Runs the passes. Where these decide by measuring how much to prune, and lose more on the scoring samples than on
    those that they held out, they run again with half the allowed drop, at most `RETRIES` times.

    The held-out samples are few; without this, a contract would often be missed by the chance of their choice.
    """
    allowed, options, notes = context.options.max_drop, context.options, list[str]()
    while True:
        result = pipeline.run(original.model, replace(context, options=options), dump_dir)
        graph = read_qdq(result.model, context.formats)
        check_graph(graph)
        measured = measure(original, result.float_model, graph)
        lost = measured.accuracy.before - measured.accuracy.after
        if allowed is None or lost <= allowed + SLACK or not halts(options) or len(notes) == RETRIES:
            return Compressed(result, graph, measured, tuple(notes))
        before = options.max_drop or 0.0
        options = replace(options, max_drop=before / 2)
        notes.append(
            f"Allowed to lose {before:g} on held-out samples, the network lost {lost:.4f} on the scoring samples; the "
            f"passes ran again with {before / 2:g}."
        )


def halts(options: Options) -> bool:
    """Whether the allowed drop decides how much is pruned."""
    return minimises(options) or (options.schedule == "iterative" and options.sparsity > 0)
