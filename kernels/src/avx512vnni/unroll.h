// Loops unrolled by the front end, so that arrays of vectors with constant indices become registers in every compiler.
#pragma once

#include <utility>

namespace prunus::avx512vnni {

// f(std::integral_constant<int, 0>) ... f(std::integral_constant<int, kCount - 1>)
template <int kCount, class F>
[[gnu::always_inline]] static inline void unroll(F &&f) {
  [&]<int... kIndex>(std::integer_sequence<int, kIndex...>) __attribute__((always_inline)) {
    (f(std::integral_constant<int, kIndex>{}), ...);
  }
  (std::make_integer_sequence<int, kCount>{});
}

}  // namespace prunus::avx512vnni
