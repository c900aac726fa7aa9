"""Trains the two example networks on scikit-learn's handwritten digits and exports them to ONNX.

    pip install 'prunus[train]' scikit-learn
    python examples/digits/train.py

Writes `cnn.onnx` (a small residual CNN), `mlp.onnx`, and the data beside this file: `digits.npz` (test images),
`digits_flat.npz` (the same as vectors, for the MLP) and `calibration.npz`. Digits are
8x8 pixels in 0..16, scaled to 0..1. Everything is seeded; the committed files were made by exactly this script.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from sklearn.datasets import load_digits
from torch import nn

FOLDER = Path(__file__).resolve().parent
TEST_SAMPLES = 540


class Block(nn.Module):
    """A residual block: two 3x3 convolutions with batch normalisation, and a 1x1 shortcut where the shape changes."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.shortcut = (
            nn.Identity()
            if stride == 1 and channels_in == channels
            else nn.Sequential(nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


def cnn() -> nn.Module:
    """[n, 1, 8, 8] -> [n, 10] logits, 36 k parameters."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, 1, 1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        Block(16, 16, 1),
        Block(16, 32, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )


def mlp() -> nn.Module:
    """[n, 64] -> [n, 10] logits."""
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(training images, training labels, test images, test labels); images [n, 1, 8, 8] float32 in 0..1."""
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    images = (data.images[order] / 16).astype(np.float32)[:, None]
    labels = data.target[order].astype(np.int64)
    return images[TEST_SAMPLES:], labels[TEST_SAMPLES:], images[:TEST_SAMPLES], labels[:TEST_SAMPLES]


def augment(images: torch.Tensor) -> torch.Tensor:
    """Shifts every image by at most one pixel in each direction."""
    padded = nn.functional.pad(images, (1, 1, 1, 1))
    rows, columns = torch.randint(0, 3, (2,)).tolist()
    return padded[:, :, rows : rows + 8, columns : columns + 8]


def train(model: nn.Module, images: np.ndarray, labels: np.ndarray, epochs: int, flat: bool) -> nn.Module:
    """Adam with a one-cycle learning rate on the cross-entropy."""
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=1e-2)
    steps = epochs * ((len(x) + 63) // 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=steps)
    model.train()
    for _ in range(epochs):
        for index in torch.randperm(len(x)).split(64):
            batch = x[index].flatten(1) if flat else augment(x[index])
            loss = nn.functional.cross_entropy(model(batch), y[index], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def export(model: nn.Module, sample: torch.Tensor, path: Path) -> None:
    """One self-contained ONNX file with a symbolic batch."""
    program = torch.onnx.export(
        model,
        (sample,),
        dynamo=True,
        opset_version=18,
        input_names=["image"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
    )
    proto = program.model_proto
    proto.ir_version = 10
    for node in proto.graph.node:  # the exporter's stack traces name folders of this machine
        del node.metadata_props[:]
    del proto.graph.metadata_props[:], proto.metadata_props[:]
    onnx.save(proto, path)


def main() -> None:
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    images, labels, test_images, test_labels = digits()
    for name, build, epochs, flat in (("cnn", cnn, 40, False), ("mlp", mlp, 60, True)):
        torch.manual_seed(0)
        model = train(build(), images, labels, epochs, flat)
        test = torch.from_numpy(test_images)
        test = test.flatten(1) if flat else test
        with torch.no_grad():
            accuracy = float((model(test).argmax(1).numpy() == test_labels).mean())
        export(model, test[:2], FOLDER / f"{name}.onnx")
        size = (FOLDER / f"{name}.onnx").stat().st_size
        print(f"{name}: top-1 {accuracy:.4f} on {len(test)} test images, {size / 1000:.0f} kB")
    np.savez_compressed(FOLDER / "calibration.npz", x=images[:256], y=labels[:256])
    np.savez_compressed(FOLDER / "digits.npz", x=test_images, y=test_labels)
    np.savez_compressed(FOLDER / "digits_flat.npz", x=test_images.reshape(-1, 64), y=test_labels)


if __name__ == "__main__":
    main()
