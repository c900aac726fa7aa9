"""An ASIC estimate: what the digits CNN would cost on an edge NPU, dense and with half of its work pruned away.

python examples/asic_estimate.py
"""

from __future__ import annotations

from pathlib import Path

from prunus.compiler import Context, Options, Pipeline, load, resolve, workload
from prunus.compiler.target import quantized_like

HERE = Path(__file__).resolve().parent


def main() -> None:
    target, device = resolve("npu-16nm")
    formats = target.formats(device)
    model = load(HERE / "digits" / "cnn.onnx")
    works = []
    for sparsity in (0.0, 0.5):
        context = Context(formats=formats, options=Options(sparsity=sparsity))
        pruned = Pipeline.default(last="prune_channels").run(model, context).model
        works.append(quantized_like(workload(pruned), formats))
    dense, small = target.cost(works, device)
    print(f"{'':>16} {'dense int8':>14} {'50 % pruned':>14}   range of the pruned one")
    for name, before in sorted(dense.costs.items()):
        after = small.costs[name]
        spread = f"{after.low:.3g} to {after.high:.3g} {after.unit}"
        print(f"{name:>16} {before.value:14.4g} {after.value:14.4g}   {spread}, {after.basis}")
    for note in small.notes:
        print(f"note: {note}")


if __name__ == "__main__":
    main()
