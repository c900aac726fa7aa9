// Changes of layout as steps.
#pragma once

#include <memory>

#include "network/step.h"

namespace prunus {

std::unique_ptr<Step> flat_to_image(std::int32_t x, std::int32_t y);
std::unique_ptr<Step> image_to_flat(std::int32_t x, std::int32_t y);
std::unique_ptr<Step> flat_to_rows(std::int32_t x, std::int32_t y);
std::unique_ptr<Step> rows_to_flat(std::int32_t x, std::int32_t y);
std::unique_ptr<Step> image_to_phases(std::int32_t x, std::int32_t y);
// Between the caller's arrays and the arena, signedness included.
std::unique_ptr<Step> flat_to_flat(std::int32_t x, std::int32_t y);

}  // namespace prunus
