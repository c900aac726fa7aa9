// Small things that keep NEON kernels in registers.
#pragma once

#include <arm_neon.h>

#include <cstdint>
#include <cstring>
#include <utility>

namespace prunus {
namespace {

// Four neighbouring bytes, repeated.
inline int8x16_t repeat_word(const std::int8_t *bytes) {
  std::int32_t word;
  std::memcpy(&word, bytes, sizeof(word));
  return vreinterpretq_s8_s32(vdupq_n_s32(word));
}

// step(0), step(1) ... step(n - 1) with constants: arrays of registers stay registers, which clang's own unrolling of
// loops does not promise.
template <int n, class Step>
inline void unrolled(Step step) {
  [&]<int... i>(std::integer_sequence<int, i...>) {
    (step(std::integral_constant<int, i>{}), ...);
  }(std::make_integer_sequence<int, n>{});
}

}  // namespace
}  // namespace prunus
