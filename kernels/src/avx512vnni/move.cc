// Changes of layout: bytes between planes and words, words between rows and columns.
#include <algorithm>

#include "avx512vnni/unroll.h"
#include "avx512vnni/vector.h"

namespace prunus::generic {
extern const VectorKernels vector_kernels;
}

namespace prunus::avx512vnni {
namespace {

// Exchanges words and lanes: word w of lane l goes to word l of lane w.
inline __m512i exchange(__m512i x) {
  const __m512i index = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm512_permutexvar_epi32(index, x);
}

inline __mmask16 first(std::size_t count) {
  return static_cast<__mmask16>(count < kPixels ? (1u << count) - 1 : 0xffff);
}

// Row i of the result has element i of every row: 16 x 16 words, by pairs, by quads, then lanes.
[[gnu::always_inline]] inline void transpose_16x16(__m512i (&r)[16]) {
  __m512i t[16];
  unroll<8>([&](auto i) __attribute__((always_inline)) {
    t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
  });
  // r[4 j + k], lane l: column 4 l + k of rows 4 j .. 4 j + 3
  unroll<4>([&](auto j) __attribute__((always_inline)) {
    r[4 * j] = _mm512_unpacklo_epi64(t[4 * j], t[4 * j + 2]);
    r[4 * j + 1] = _mm512_unpackhi_epi64(t[4 * j], t[4 * j + 2]);
    r[4 * j + 2] = _mm512_unpacklo_epi64(t[4 * j + 1], t[4 * j + 3]);
    r[4 * j + 3] = _mm512_unpackhi_epi64(t[4 * j + 1], t[4 * j + 3]);
  });
  unroll<4>([&](auto k) __attribute__((always_inline)) {
    const __m512i even01 = _mm512_shuffle_i32x4(r[k], r[4 + k], 0x88);
    const __m512i odd01 = _mm512_shuffle_i32x4(r[k], r[4 + k], 0xdd);
    const __m512i even23 = _mm512_shuffle_i32x4(r[8 + k], r[12 + k], 0x88);
    const __m512i odd23 = _mm512_shuffle_i32x4(r[8 + k], r[12 + k], 0xdd);
    t[k] = _mm512_shuffle_i32x4(even01, even23, 0x88);
    t[4 + k] = _mm512_shuffle_i32x4(odd01, odd23, 0x88);
    t[8 + k] = _mm512_shuffle_i32x4(even01, even23, 0xdd);
    t[12 + k] = _mm512_shuffle_i32x4(odd01, odd23, 0xdd);
  });
  unroll<16>([&](auto i) __attribute__((always_inline)) { r[i] = t[i]; });
}

}  // namespace

void interleave(const std::uint8_t *const planes[kQuad], Act *y, std::size_t pixels, std::uint8_t flip) {
  const __m512i flips = _mm512_set1_epi8(static_cast<char>(flip));
  for (std::size_t p = 0; p < pixels; p += kPixels) {
    const __mmask16 mask = first(pixels - p);
    __m512i x = _mm512_castsi128_si512(_mm_maskz_loadu_epi8(mask, planes[0] + p));
    x = _mm512_inserti32x4(x, _mm_maskz_loadu_epi8(mask, planes[1] + p), 1);
    x = _mm512_inserti32x4(x, _mm_maskz_loadu_epi8(mask, planes[2] + p), 2);
    x = _mm512_inserti32x4(x, _mm_maskz_loadu_epi8(mask, planes[3] + p), 3);
    _mm512_mask_storeu_epi32(y + kQuad * p, mask, _mm512_xor_si512(transpose_lanes(exchange(x)), flips));
  }
}

void deinterleave(const Act *x, std::uint8_t *const planes[kQuad], std::size_t pixels, std::uint8_t flip) {
  const __m512i flips = _mm512_set1_epi8(static_cast<char>(flip));
  for (std::size_t p = 0; p < pixels; p += kPixels) {
    const __mmask16 mask = first(pixels - p);
    const __m512i words = _mm512_maskz_loadu_epi32(mask, x + kQuad * p);
    const __m512i rows = _mm512_xor_si512(exchange(transpose_lanes(words)), flips);
    _mm_mask_storeu_epi8(planes[0] + p, mask, _mm512_castsi512_si128(rows));
    _mm_mask_storeu_epi8(planes[1] + p, mask, _mm512_extracti32x4_epi32(rows, 1));
    _mm_mask_storeu_epi8(planes[2] + p, mask, _mm512_extracti32x4_epi32(rows, 2));
    _mm_mask_storeu_epi8(planes[3] + p, mask, _mm512_extracti32x4_epi32(rows, 3));
  }
}

// Every second word; other steps are rare. The last vector of a row overlaps the one before it. Its loads are masked, as
// nothing may be read behind the last word that counts.
void stride(const Act *x, std::ptrdiff_t x_row, std::int32_t step, std::int32_t rows, std::int32_t pixels, Act *y,
            std::ptrdiff_t y_row) {
  if (step != 2 || pixels == 0) return generic::vector_kernels.stride(x, x_row, step, rows, pixels, y, y_row);
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const std::int32_t width = std::min(pixels, kPixels), last = pixels - width, words = 2 * width - 1;
  const __mmask16 low_mask = first(words), high_mask = first(std::max(0, words - kPixels)), mask = first(width);
  for (std::int32_t row = 0; row < rows; ++row, x += x_row, y += y_row) {
    for (std::int32_t p = 0; p < last; p += kPixels) {
      const Act *from = x + 2 * kQuad * p;
      const __m512i low = _mm512_loadu_si512(from), high = _mm512_loadu_si512(from + kVectorBytes);
      _mm512_storeu_si512(y + kQuad * p, _mm512_permutex2var_epi32(low, even, high));
    }
    const Act *from = x + 2 * kQuad * last;
    const __m512i low = _mm512_maskz_loadu_epi32(low_mask, from);
    const __m512i high = _mm512_maskz_loadu_epi32(high_mask, from + kVectorBytes);
    _mm512_mask_storeu_epi32(y + kQuad * last, mask, _mm512_permutex2var_epi32(low, even, high));
  }
}

// Sixteen pixels at a time: twelve bytes to each lane, then to words.
void rgb(const Act *x, Act *y, std::size_t pixels, std::uint8_t flip) {
  const __m512i flips = _mm512_set1_epi8(static_cast<char>(flip));
  const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 2, 3, 4, 5, 5, 6, 7, 8, 8, 9, 10, 11, 11);
  const __m512i words = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 2, 2, 3, 4, 5, 5, 6, 7, 8, 8, 9, 10, 11, 11));
  for (std::size_t p = 0; p < pixels; p += kPixels) {
    const std::size_t count = std::min<std::size_t>(kPixels, pixels - p);
    const __m512i bytes = _mm512_maskz_loadu_epi8((__mmask64{1} << 3 * count) - 1, x + 3 * p);
    const __m512i spread = _mm512_shuffle_epi8(_mm512_permutexvar_epi32(lanes, bytes), words);
    _mm512_mask_storeu_epi32(y + kQuad * p, first(count), _mm512_xor_si512(spread, flips));
  }
}

void transpose(const Act *x, std::ptrdiff_t x_row, std::int32_t rows, std::int32_t columns, Act *y,
               std::ptrdiff_t y_column, std::uint8_t flip) {
  const __m512i flips = _mm512_set1_epi8(static_cast<char>(flip));
  for (std::int32_t row = 0; row < rows; row += kPixels)
    for (std::int32_t column = 0; column < columns; column += kPixels) {
      const std::int32_t height = std::min(kPixels, rows - row), width = std::min(kPixels, columns - column);
      const __mmask16 row_mask = first(height), column_mask = first(width);
      const Act *from = x + row * x_row + std::ptrdiff_t{kQuad} * column;
      __m512i block[kPixels];
      unroll<kPixels>([&](auto i) __attribute__((always_inline)) {
        block[i] = i < height ? _mm512_maskz_loadu_epi32(column_mask, from + i * x_row) : _mm512_setzero_si512();
      });
      transpose_16x16(block);
      Act *to = y + column * y_column + std::ptrdiff_t{kQuad} * row;
      unroll<kPixels>([&](auto i) __attribute__((always_inline)) {
        if (i < width) _mm512_mask_storeu_epi32(to + i * y_column, row_mask, _mm512_xor_si512(block[i], flips));
      });
    }
}

}  // namespace prunus::avx512vnni
