// Convolutions and matrix products as steps.
#pragma once

#include <memory>
#include <optional>

#include "network/linear.h"
#include "network/plan.h"

namespace prunus {

struct Stride {
  std::int32_t down = 1, right = 1;
};

// Pixels that kernels of rows may compute, of outputs y; none where a row alone, such as all rows of a matrix, has more
// inputs than cache is meant for.
std::int64_t rows_pixels(const Geometry &y, std::int32_t in_c);

// Any window on an image or its phases, or a matrix product over rows (one tap). With a stride, on an image.
std::unique_ptr<Step> conv_step(std::int32_t x, std::int32_t y, const LinearLayer &layer, std::vector<Tap> taps,
                                Stride stride = {});

// One output channel per input channel.
std::unique_ptr<Step> depthwise_step(std::int32_t x, std::int32_t y, const LinearLayer &layer, std::vector<Tap> taps);

// Sums over windows of which all count the same: a depthwise convolution with weights of one.
std::unique_ptr<Step> average_step(std::int32_t x, std::int32_t y, const AvgPool &op, std::vector<Tap> taps);

// One row of a flat matrix times a matrix.
std::unique_ptr<Step> gemv_step(std::int32_t x, std::int32_t y, const LinearLayer &layer, std::int32_t row);

}  // namespace prunus
