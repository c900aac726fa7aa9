// Pools on images.
#pragma once

#include <memory>
#include <vector>

#include "network/linear.h"
#include "network/plan.h"

namespace prunus {

std::unique_ptr<Step> maxpool_step(std::int32_t x, std::int32_t y, std::vector<Tap> taps);

// Averages over whole images; y is flat.
std::unique_ptr<Step> global_average_step(std::int32_t x, std::int32_t y, const AvgPool &op);

}  // namespace prunus
