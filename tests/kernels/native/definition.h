// What kernel.h says, word by word and without regard to time. Nothing here is shared with any tier.
#pragma once

#include <cstdint>

#include "core/kernel.h"

namespace prunus::check {

// clip(round_half_even(acc * m) + zero, low, high) with the multipliers of one channel.
Act requantized(const Epilogue &epilogue, std::int32_t channel, std::int64_t acc);

// One element of VectorKernels::add, mul and requantize.
Act added(const Rescale &rescale, Act a, Act b);
Act multiplied(const Rescale &rescale, Act a, Act b);
Act rescaled(const Rescale &rescale, Act a);

Act quantized(float x, float scale, std::int32_t zero, std::int32_t low, std::int32_t high);
float dequantized(Act x, float scale, std::int32_t zero);

}  // namespace prunus::check
