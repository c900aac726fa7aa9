"""Why a part of a model stays in floating point: every reason code of the reader with its hint."""

from __future__ import annotations

from collections.abc import Mapping

REASONS: Mapping[str, str] = {
    # of a node
    "terminal-softmax": "A Softmax at the model's end is left to the host; only its order matters for a decision.",
    "inner-softmax": "Ask the target for integer softmax, or leave this part in floating point.",
    "softmax-scale": "Quantize the Softmax's output with a scale 1/R, R an integer (1/255 or 1/256).",
    "no-integer-form": "This operator has no integer form; replace it in the model or accept the float part.",
    "no-input-q": "An input is not quantized: put a QuantizeLinear/DequantizeLinear pair before it.",
    "no-output-q": "The output is not quantized: put a QuantizeLinear/DequantizeLinear pair after it.",
    "acc-overflow": "The 32-bit accumulator may overflow; raise this layer's weight scale.",
    "requant-range": "The output's scale is out of proportion to its input's; calibrate with representative data.",
    "q-dq-mismatch": "QuantizeLinear and the DequantizeLinear behind it must have the same scale and zero point here.",
    "q-type": "Activations must be quantized per tensor to uint8 or int8.",
    "weight-not-constant": "Weights must be constants.",
    "weight-type": "Weights must be an int8 constant behind a DequantizeLinear.",
    "weight-zero-point": "Quantize weights symmetrically (zero point 0).",
    "weight-range": "Keep quantized weights in [-127, 127].",
    "weight-axis": "Per-channel weight scales must run along the output channels.",
    "bias-range": "The bias does not fit into 32 bits at scale s_x * s_w; raise this layer's weight scale.",
    "bias-shape": "The bias must have one entry, or one per output channel.",
    "constant-operand": "Fold the constant into the layer before, or make it a scalar or one number per channel.",
    "clip-bounds": "Clip bounds must be constants.",
    "clip-after-pad": "Put the Clip before the Pad.",
    "conv-rank": "Only 1-D and 2-D windows have an integer form.",
    "conv-transpose": "Transposed convolutions have no integer form yet; use Resize and Conv where possible.",
    "gemm-attributes": "Gemm must have transA 0, alpha 1 and beta 1.",
    "dynamic-matmul": "A product of two activations has no integer form yet.",
    "broadcast-rank": "Give both operands the same number of dimensions.",
    "batch-not-leading": "Every value must keep the batch as its first dimension.",
    "axis-batch": "The operator works across the batch dimension.",
    "reduce-axes": "Reduce over the spatial dimensions of [batch, channels, height, width] only.",
    "pool-attributes": "This form of pooling has no integer form.",
    "pad-mode": "Only constant padding by non-negative amounts has an integer form.",
    "pad-value": "The padding value must be a number that the quantization represents exactly, such as 0.",
    "resize-mode": "Only nearest-neighbour resizing of height and width has an integer form.",
    "slice-step": "Slices must have constant bounds and positive steps.",
    "dynamic-shape": "Shapes, axes and sizes must be constants.",
}
