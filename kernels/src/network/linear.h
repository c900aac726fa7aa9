// What convolutions, matrix products and depthwise convolutions share: weights as a matrix, and their epilogue.
#pragma once

#include <cstdint>
#include <vector>

#include "core/aligned.h"
#include "core/kernel.h"
#include "network/definition.h"
#include "network/value.h"
#include "select/select.h"

namespace prunus {

// A linear layer as defined; arrays belong to the definition. w is [out_c][in_c / group][taps].
struct LinearLayer {
  std::int32_t out_c, in_c, group, taps;
  const std::int8_t *w;
  const std::int32_t *bias;
  const EpilogueData *epilogue;
  std::int32_t x_zero;
  std::int32_t entry = -1;  // the one multiplier of all channels; -1: the epilogue's own rule (one, or one per channel)

  std::int32_t in_per_group() const { return in_c / group; }
  std::int64_t row() const { return std::int64_t{in_per_group()} * taps; }
};

LinearLayer linear_layer(const Conv &op);
LinearLayer linear_layer(const Gemm &op);

// The arrays of a kernel's Epilogue: padded, the zero point folded into the bias.
class LinearEpilogue {
 public:
  LinearEpilogue() = default;
  explicit LinearEpilogue(const LinearLayer &layer);
  Epilogue view() const;
  // Whether |acc * scale| < 2^31 is proved for every input, junk included: else only clamping kernels are exact.
  bool conversion_is_safe() const { return safe_; }

 private:
  EpilogueData data_;
  Aligned<std::int32_t> bias_, multiplier_, shift_;
  Aligned<float> scale_;
  bool safe_ = true;
};

// One element of the window: which phase plane it reads, and how far from the pixel.
struct Tap {
  std::int32_t phase, row, column;
};

// The window as taps on an image (strides 1) or on its phases, in the order of the weights.
std::vector<Tap> taps_of(const prunus_window &window, std::int32_t stride_h, std::int32_t stride_w,
                         std::vector<Phase> &phases);

// Bytes from pixel (0, 0) of quad 0 to the pixel that each tap reads.
std::vector<std::int32_t> tap_offsets(const Value &x, const std::vector<Tap> &taps);

// The layer's weights with taps first, quads padded, zeros outside of groups.
class DenseMatrix {
 public:
  DenseMatrix(const LinearLayer &layer, const std::vector<std::int32_t> &tap_offset, std::int64_t plane_bytes);
  Matrix view() const;
  // Share of blocks of rows x quads (starting at multiples) with a nonzero weight.
  double density(std::int32_t rows, std::int32_t quads) const;
  double weight_density() const;
  // What the chooser asks, for so many vectors of pixels and pixels of the image (select.h).
  Problem problem(std::int64_t vectors, std::int64_t pixels) const;

 private:
  std::int32_t out_c_, quads_;
  std::vector<std::int8_t> w_;
  std::vector<std::int32_t> offset_;
};

}  // namespace prunus
