// A table of 256 bytes is four registers; vpermi2b looks up in two of them at once.
#include "avx512vnni/vector.h"

namespace prunus::avx512vnni {

void lut_vbmi(const std::uint8_t table[256], const Act *x, Act *y, std::size_t count) {
  const __m512i t0 = _mm512_loadu_si512(table), t1 = _mm512_loadu_si512(table + 64),
                t2 = _mm512_loadu_si512(table + 128), t3 = _mm512_loadu_si512(table + 192);
  for_vectors(count, [&](auto extent, std::size_t i) __attribute__((always_inline)) {
    const __m512i index = extent.load(x + i);  // vpermi2b ignores bit 7
    const __m512i low = _mm512_permutex2var_epi8(t0, index, t1), high = _mm512_permutex2var_epi8(t2, index, t3);
    extent.store(y + i, _mm512_mask_mov_epi8(low, _mm512_movepi8_mask(index), high));
  });
}

}  // namespace prunus::avx512vnni
