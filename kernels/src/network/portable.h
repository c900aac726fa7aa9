// The portable kernels as steps: operators on flat tensors.
#pragma once

#include <memory>
#include <vector>

#include "network/plan.h"

namespace prunus {

// The node's operator must stay where it is as long as the step.
std::unique_ptr<Step> portable_step(std::vector<std::int32_t> xs, std::int32_t y, const Node &node);

}  // namespace prunus
