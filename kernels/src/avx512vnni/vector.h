// The members of vector_kernels, by file, and how they walk over runs of bytes.
#pragma once

#include "avx512vnni/epilogue.h"

namespace prunus::avx512vnni {

// rescale.cc
void add(const Rescale &r, const Act *a, const Act *b, Act *y, std::size_t count);
void mul(const Rescale &r, const Act *a, const Act *b, Act *y, std::size_t count);
void requantize(const Rescale &r, const Act *a, Act *y, std::size_t count);
void quantize(const float *x, float scale, std::int32_t zero, std::int32_t low, std::int32_t high, Act *y,
              std::size_t count);
void dequantize(const Act *x, float scale, std::int32_t zero, float *y, std::size_t count);
// lut_vbmi.cc
void lut_vbmi(const std::uint8_t table[256], const Act *x, Act *y, std::size_t count);
// move.cc
void interleave(const std::uint8_t *const planes[kQuad], Act *y, std::size_t pixels, std::uint8_t flip);
void deinterleave(const Act *x, std::uint8_t *const planes[kQuad], std::size_t pixels, std::uint8_t flip);
void stride(const Act *x, std::ptrdiff_t x_row, std::int32_t step, std::int32_t rows, std::int32_t pixels, Act *y,
            std::ptrdiff_t y_row);
void rgb(const Act *x, Act *y, std::size_t pixels, std::uint8_t flip);
void transpose(const Act *x, std::ptrdiff_t x_row, std::int32_t rows, std::int32_t columns, Act *y,
               std::ptrdiff_t y_column, std::uint8_t flip);

namespace {

// How many bytes of a vector count: all of them, known to the compiler, or the first few.
struct Whole {
  static __m512i load(const void *x) { return _mm512_loadu_si512(x); }
  static void store(void *y, __m512i bytes) { _mm512_storeu_si512(y, bytes); }
};
struct Part {
  __mmask64 mask;
  explicit Part(std::size_t count) : mask((std::uint64_t{1} << count) - 1) {}  // count < 64
  __m512i load(const void *x) const { return _mm512_maskz_loadu_epi8(mask, x); }
  void store(void *y, __m512i bytes) const { _mm512_mask_storeu_epi8(y, mask, bytes); }
};

// f(extent, i): 64 bytes from i on, at last a part of them.
template <class F>
[[gnu::always_inline]] inline void for_vectors(std::size_t count, F f) {
  std::size_t i = 0;
  for (; i + kVectorBytes <= count; i += kVectorBytes) f(Whole{}, i);
  if (i < count) f(Part(count - i), i);
}

}  // namespace
}  // namespace prunus::avx512vnni
