// Concatenation, slices, padding and resizing on quad-planar tensors.
#pragma once

#include <memory>
#include <vector>

#include "network/plan.h"

namespace prunus {

// Along the channels of images or rows; all inputs but the last have multiples of 4.
std::unique_ptr<Step> concat_step(std::vector<std::int32_t> xs, std::int32_t y, const Concat &op);

// y[quad, i, j] = x[quad + first_quad, rows[i], columns[j]], or `fill` where an index is negative.
struct PixelMap {
  std::int32_t first_quad = 0;
  std::vector<std::int32_t> rows, columns;
  Act fill = 0;
};
std::unique_ptr<Step> pixel_step(std::int32_t x, std::int32_t y, PixelMap map);

}  // namespace prunus
