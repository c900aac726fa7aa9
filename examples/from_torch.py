"""From a PyTorch module to a device: `torch.onnx` writes the file, Prunus takes it from there.

pip install 'prunus[train,tvm]'
python examples/from_torch.py [OUT]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from prunus.compiler import Request, compile


class TwoInputs(nn.Module):
    """A small network with two inputs: an image and a vector of features that joins behind the convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU6()
        )
        self.head = nn.Linear(8 + 4, 5)

    def forward(self, image: torch.Tensor, extra: torch.Tensor) -> torch.Tensor:
        pooled = self.features(image).mean(dim=(2, 3))
        return self.head(torch.cat([pooled, torch.relu(extra)], dim=1))


def export(module: nn.Module, path: Path) -> None:
    """Exports with a symbolic batch, so that the compiled model takes any number of samples."""
    sample = (torch.zeros(2, 3, 16, 16), torch.zeros(2, 4))
    batch = torch.export.Dim("batch")
    torch.onnx.export(
        module.eval(),
        sample,
        path,
        dynamo=True,
        external_data=False,
        input_names=["image", "extra"],
        output_names=["scores"],
        dynamic_shapes=({0: batch}, {0: batch}),
        verbose=False,
    )


def main(out: Path) -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    out.parent.mkdir(parents=True, exist_ok=True)
    model, data = out.parent / "two_inputs.onnx", out.parent / "two_inputs.npz"
    export(TwoInputs(), model)
    np.savez(
        data,
        image=rng.standard_normal((64, 3, 16, 16)).astype(np.float32),
        extra=rng.standard_normal((64, 4)).astype(np.float32),
    )
    report = compile(Request(model=model, target="host-cpu", out=out, data=data)).report
    assert report.accuracy and report.fidelity
    print(f"same decision as in PyTorch's file on {report.accuracy.after:.1%} of {report.accuracy.samples} samples")
    print(f"SQNR {report.fidelity.sqnr_db:.1f} dB, exact {report.fidelity.exact_fraction:.2%}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/torch/compiled"))
