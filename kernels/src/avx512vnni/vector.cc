// Reductions and tables over runs of bytes, and the table of all members.
#include "avx512vnni/vector.h"

#include "core/cpu.h"

namespace prunus::generic {
extern const VectorKernels vector_kernels;
}

namespace prunus::avx512vnni {
namespace {

void lut(const std::uint8_t table[256], const Act *x, Act *y, std::size_t count) {
  has_avx512vbmi() ? lut_vbmi(table, x, y, count) : generic::vector_kernels.lut(table, x, y, count);
}

void max(const Act *x, const std::int32_t *offset, std::int32_t taps, Act *y, std::size_t count) {
  for_vectors(count, [&](auto extent, std::size_t i) __attribute__((always_inline)) {
    __m512i best = extent.load(x + offset[0] + i);
    for (std::int32_t k = 1; k < taps; ++k) best = _mm512_max_epu8(best, extent.load(x + offset[k] + i));
    extent.store(y + i, best);
  });
}

// Transposed within a lane, four pixels of a channel are one word: a product with ones adds them up.
void sum(const Act *x, std::size_t pixels, std::int32_t sum[kQuad]) {
  const __m512i ones = _mm512_set1_epi8(1);
  __m512i lanes = _mm512_setzero_si512();
  for_vectors(pixels * kQuad, [&](auto extent, std::size_t i) __attribute__((always_inline)) {
    lanes = _mm512_dpbusd_epi32(lanes, transpose_lanes(extent.load(x + i)), ones);
  });
  const __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(lanes), _mm512_extracti64x4_epi64(lanes, 1));
  const __m128i quarter = _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
  auto *total = reinterpret_cast<__m128i *>(sum);
  _mm_storeu_si128(total, _mm_add_epi32(_mm_loadu_si128(total), quarter));
}

}  // namespace

extern const VectorKernels vector_kernels;
const VectorKernels vector_kernels = {"avx512vnni", add,          mul,    requantize, lut,      max,       sum,
                                      interleave,   deinterleave, stride, transpose,  rgb,      quantize,  dequantize};

}  // namespace prunus::avx512vnni
