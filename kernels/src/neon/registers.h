// Four neighbouring bytes, repeated: LD1R.
#pragma once

#include <arm_neon.h>

#include <cstdint>
#include <cstring>

namespace prunus {
namespace {

inline int8x16_t repeat_word(const std::int8_t *bytes) {
  std::int32_t word;
  std::memcpy(&word, bytes, sizeof(word));
  return vreinterpretq_s8_s32(vdupq_n_s32(word));
}

}  // namespace
}  // namespace prunus
