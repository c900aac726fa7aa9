// The forms in which a packed file holds int8 weights: all lossless, the same on every machine. FORMAT.md shows them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace prunus {

enum class WeightForm : std::uint32_t { dense = 0, qb4 = 1, qb16 = 2, qb32 = 3, ts32x64 = 4, bitmask = 5 };
inline constexpr std::uint32_t kWeightForms = 6;

// w[out_c][in_c][taps]
struct WeightShape {
  std::int64_t out_c, in_c, taps;
  std::int64_t count() const { return out_c * in_c * taps; }
};

// A form may hold at most this many weights per byte, so that nothing small unfolds into something huge.
inline constexpr std::int64_t kMaxExpansion = 64;

std::vector<std::uint8_t> encode(WeightForm form, const std::int8_t *w, const WeightShape &shape);

// False where `data` is no encoding of these dimensions: every byte is accounted for.
bool decode(WeightForm form, const std::uint8_t *data, std::size_t bytes, const WeightShape &shape, std::int8_t *w);

// The form with the fewest bytes that kMaxExpansion allows, the first of equal ones.
WeightForm smallest_form(const std::int8_t *w, const WeightShape &shape);

}  // namespace prunus
