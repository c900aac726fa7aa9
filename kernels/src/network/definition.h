// A network as its user defined it: tensors and operators with arrays of their own. Logical NCHW, nothing planned.
// The builder fills it, the packed file stores it, the planner reads it.
#pragma once

#include <cstdint>
#include <variant>
#include <vector>

#include "prunus/network.h"

namespace prunus {

// prunus_epilogue with its arrays.
struct EpilogueData {
  prunus_scheme scheme = PRUNUS_F32;
  std::vector<float> multiplier_f32;
  std::vector<std::int32_t> multiplier, shift;
  prunus_type type{};
  std::int32_t qmin = 0, qmax = 0;

  prunus_epilogue view() const;  // valid as long as this
};

// Where an args struct holds an epilogue, that one is left empty: `epilogue` has it.
struct Conv {
  bool depthwise;
  prunus_conv2d_args args;
  EpilogueData epilogue;
  std::vector<std::int8_t> w;
  std::vector<std::int32_t> bias;
};
struct Gemm {
  prunus_gemm_args args;
  EpilogueData epilogue;
  std::vector<std::int8_t> w;
  std::vector<std::int32_t> bias;
};
struct Binary {
  bool mul;
  prunus_binary_args args;
  EpilogueData epilogue;
};
struct Concat {
  std::vector<prunus_type> types;
  std::vector<std::int32_t> copy;
  std::int32_t axis;
  EpilogueData epilogue;
};
struct Requantize {
  prunus_type x;
  EpilogueData epilogue;
};
struct MaxPool {
  prunus_pool2d_args args;
};
struct AvgPool {
  prunus_pool2d_args args;
  EpilogueData epilogue;
  std::vector<std::int32_t> count_index;  // [out_h * out_w]
};
struct Lut {
  std::vector<std::uint8_t> table;  // 256
};
struct Softmax {
  prunus_softmax_args args;
  std::vector<std::uint32_t> table;  // 256
};
struct Slice {
  prunus_slice_args args;
};
struct Transpose {
  prunus_transpose_args args;
};
struct Resize {
  prunus_resize_args args;
  std::vector<std::int32_t> rows, columns;
};
struct Reshape {};
struct Quantize {
  float scale;
  EpilogueData epilogue;
};
struct Dequantize {
  float scale;
  prunus_type x;
};

using Operator = std::variant<Conv, Gemm, Binary, Concat, Requantize, MaxPool, AvgPool, Lut, Softmax, Slice, Transpose,
                              Resize, Reshape, Quantize, Dequantize>;

struct Node {
  std::vector<std::int32_t> inputs;
  std::int32_t output;
  Operator op;
};

struct Definition {
  std::vector<prunus_tensor> tensors;
  std::vector<Node> nodes;  // topological
  std::vector<std::int32_t> inputs, outputs;
};

}  // namespace prunus
