// Changes of layout as steps.
#pragma once

#include <memory>

#include "network/step.h"

namespace prunus {

// What turns the bytes of one value into those of the other.
inline std::uint8_t flip_between(const Value &x, const Value &y) { return x.flip ^ y.flip; }

std::unique_ptr<Step> flat_to_image(std::int32_t x, std::int32_t y);
std::unique_ptr<Step> image_to_flat(std::int32_t x, std::int32_t y);
std::unique_ptr<Step> flat_to_rows(std::int32_t x, std::int32_t y);
std::unique_ptr<Step> rows_to_flat(std::int32_t x, std::int32_t y);
// [N, H, W, C] or [N, W, C], where y or x is [N, C, H, W] or [N, C, W]
std::unique_ptr<Step> channels_last_to_image(std::int32_t x, std::int32_t y);
std::unique_ptr<Step> image_to_channels_last(std::int32_t x, std::int32_t y);
std::unique_ptr<Step> image_to_phases(std::int32_t x, std::int32_t y);
// Between the caller's arrays and the arena, signedness included.
std::unique_ptr<Step> flat_to_flat(std::int32_t x, std::int32_t y);

}  // namespace prunus
