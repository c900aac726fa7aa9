// Fitting the limit model's constants to measurements.
#pragma once

#include <array>
#include <vector>

#include "select/coefficients.h"

namespace prunus {

// Counts of one run, and how long it took.
struct Sample {
  double macs, blocks, outputs, seconds;
};

// The nonnegative constants with the least squared relative error; the rate is always positive.
KernelCost fit_cost(const std::vector<Sample> &samples);

}  // namespace prunus
