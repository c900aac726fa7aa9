// Zero points of tensors, and how a definition's types are stored inside.
#pragma once

#include <cstdint>
#include <vector>

#include "core/kernel.h"
#include "network/definition.h"

namespace prunus {

// The zero points that operators name, per tensor; kActLow where none does (data movement and tables name none).
std::vector<std::int32_t> zero_points(const Definition &definition);

// What is added to a stored value of the element type when it becomes an Act: 0, 128 or -128.
constexpr std::int32_t shift_of(std::int32_t element) {
  return element == kActType ? 0 : element == PRUNUS_S8 ? 128 : -128;
}
// The same as a change of the byte: 0 or 0x80.
constexpr std::uint8_t flip_of(std::int32_t element) {
  return element == kActType || element == PRUNUS_ELEMENT_F32 ? 0 : 0x80;
}

// The definition with every integer tensor of the type Act: zero points, clips, fills and tables are moved, results are
// the same but for the flip. `batch` replaces dimension 0 of every tensor where it is not 0; throws Failure where the
// definition's own is not 1.
Definition normalised(const Definition &definition, std::int32_t batch);

}  // namespace prunus
