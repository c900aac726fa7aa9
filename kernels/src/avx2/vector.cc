// Everything that touches each byte once. What is left behind the last whole register takes the generic functions, as
// does the aligned addition of FIXED and POW2.
#include "avx2/epilogue.h"

namespace prunus::generic {
extern const VectorKernels vector_kernels;
}

namespace prunus::avx2 {
namespace {

using namespace simd256;

constexpr std::size_t kStep = 32;  // bytes, or pixels where rows are rearranged

inline void store(void *p, __m256i value) { _mm256_storeu_si256(static_cast<__m256i *>(p), value); }

// -- change of scale -------------------------------------------------------------------------------------------------

// Eight activations without their zero point.
inline __m256i centred(const Act *x, __m256i zero) {
  return _mm256_sub_epi32(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i *>(x))), zero);
}

// Half to even; the clamp keeps the conversion in range, whatever the scale.
inline __m256i rounded(__m256 value) {
  const __m256 limit = _mm256_set1_ps(32768.0f);
  return _mm256_cvtps_epi32(_mm256_max_ps(_mm256_min_ps(value, limit), _mm256_sub_ps(_mm256_setzero_ps(), limit)));
}

// y[i] = clip(eight(i) + zero) for whole registers; returns how many bytes that were.
template <class Eight>
inline std::size_t whole_registers(const Output &output, Act *y, std::size_t count, Eight eight) {
  std::size_t i = 0;
  for (; i + kStep <= count; i += kStep)
    store(y + i, consecutive(output.pack(eight(i), eight(i + 8), eight(i + 16), eight(i + 24))));
  return i;
}

// As above, for acc(i), eight accumulators, times the first multiplier.
template <class Accumulators>
std::size_t rescale(const Rescale &r, Act *y, std::size_t count, Accumulators acc) {
  const Output output = Output::of(r.y_zero, r.low, r.high);
  if (r.scheme == PRUNUS_F32) {
    const __m256 scale = _mm256_set1_ps(r.scale[0]);
    return whole_registers(output, y, count, [&](std::size_t i) {
      return rounded(_mm256_mul_ps(_mm256_cvtepi32_ps(acc(i)), scale));
    });
  }
  const IntegerScale scale = IntegerScale::of(_mm256_set1_epi32(r.scheme == PRUNUS_POW2 ? 1 : r.multiplier[0]),
                                              _mm256_set1_epi32(r.shift[0]));
  return whole_registers(output, y, count, [&](std::size_t i) { return scale.apply(acc(i)); });
}

void add(const Rescale &r, const Act *a, const Act *b, Act *y, std::size_t count) {
  std::size_t done = 0;
  if (r.scheme == PRUNUS_F32) {
    const __m256i a_zero = _mm256_set1_epi32(r.a_zero), b_zero = _mm256_set1_epi32(r.b_zero);
    const __m256 a_scale = _mm256_set1_ps(r.scale[0]), b_scale = _mm256_set1_ps(r.scale[1]);
    done = whole_registers(Output::of(r.y_zero, r.low, r.high), y, count, [&](std::size_t i) {
      const __m256 left = _mm256_mul_ps(_mm256_cvtepi32_ps(centred(a + i, a_zero)), a_scale);
      const __m256 right = _mm256_mul_ps(_mm256_cvtepi32_ps(centred(b + i, b_zero)), b_scale);
      return rounded(_mm256_add_ps(left, right));
    });
  }
  generic::vector_kernels.add(r, a + done, b + done, y + done, count - done);
}

void mul(const Rescale &r, const Act *a, const Act *b, Act *y, std::size_t count) {
  const __m256i a_zero = _mm256_set1_epi32(r.a_zero), b_zero = _mm256_set1_epi32(r.b_zero);
  const std::size_t done = rescale(r, y, count, [&](std::size_t i) {
    return _mm256_mullo_epi32(centred(a + i, a_zero), centred(b + i, b_zero));
  });
  generic::vector_kernels.mul(r, a + done, b + done, y + done, count - done);
}

void requantize(const Rescale &r, const Act *a, Act *y, std::size_t count) {
  const __m256i zero = _mm256_set1_epi32(r.a_zero);
  const std::size_t done = rescale(r, y, count, [&](std::size_t i) { return centred(a + i, zero); });
  generic::vector_kernels.requantize(r, a + done, y + done, count - done);
}

// -- reductions ------------------------------------------------------------------------------------------------------

void max(const Act *x, const std::int32_t *offset, std::int32_t taps, Act *y, std::size_t count) {
  std::size_t i = 0;
  for (; i + kStep <= count; i += kStep) {
    __m256i best = load(x + offset[0] + i);
    for (std::int32_t k = 1; k < taps; ++k) best = _mm256_max_epu8(best, load(x + offset[k] + i));
    store(y + i, best);
  }
  generic::vector_kernels.max(x + i, offset, taps, y + i, count - i);
}

// Sums of 16 bits hold 128 bytes as signed numbers; then they are widened.
void sum(const Act *x, std::size_t pixels, std::int32_t sum[kQuad]) {
  constexpr std::size_t kMostSteps = 128;
  const __m256i even_bytes = _mm256_set1_epi16(0xff), low_words = _mm256_set1_epi32(0xffff);
  __m256i total[kQuad] = {};
  std::size_t p = 0;
  while (p + kLanes <= pixels) {
    __m256i even = _mm256_setzero_si256(), odd = even;
    for (std::size_t step = 0; step < kMostSteps && p + kLanes <= pixels; ++step, p += kLanes) {
      const __m256i quads = load(x + kQuad * p);
      even = _mm256_add_epi16(even, _mm256_and_si256(quads, even_bytes));
      odd = _mm256_add_epi16(odd, _mm256_srli_epi16(quads, 8));
    }
    total[0] = _mm256_add_epi32(total[0], _mm256_and_si256(even, low_words));
    total[1] = _mm256_add_epi32(total[1], _mm256_and_si256(odd, low_words));
    total[2] = _mm256_add_epi32(total[2], _mm256_srli_epi32(even, 16));
    total[3] = _mm256_add_epi32(total[3], _mm256_srli_epi32(odd, 16));
  }
  for (int c = 0; c < kQuad; ++c) {
    std::int32_t lanes[kLanes];
    store(lanes, total[c]);
    for (const std::int32_t lane : lanes) sum[c] += lane;
  }
  generic::vector_kernels.sum(x + kQuad * p, pixels - p, sum);
}

// -- layouts ---------------------------------------------------------------------------------------------------------

void interleave(const std::uint8_t *const planes[kQuad], Act *y, std::size_t pixels, std::uint8_t flip) {
  const __m256i flips = _mm256_set1_epi8(static_cast<char>(flip));
  std::size_t p = 0;
  for (; p + kStep <= pixels; p += kStep) {
    const __m256i a = load(planes[0] + p), b = load(planes[1] + p), c = load(planes[2] + p), d = load(planes[3] + p);
    const __m256i ab_low = _mm256_unpacklo_epi8(a, b), ab_high = _mm256_unpackhi_epi8(a, b);
    const __m256i cd_low = _mm256_unpacklo_epi8(c, d), cd_high = _mm256_unpackhi_epi8(c, d);
    // pixels 0 .. 3 and 16 .. 19, 4 .. 7 and 20 .. 23, and so on
    const __m256i q0 = _mm256_xor_si256(flips, _mm256_unpacklo_epi16(ab_low, cd_low));
    const __m256i q1 = _mm256_xor_si256(flips, _mm256_unpackhi_epi16(ab_low, cd_low));
    const __m256i q2 = _mm256_xor_si256(flips, _mm256_unpacklo_epi16(ab_high, cd_high));
    const __m256i q3 = _mm256_xor_si256(flips, _mm256_unpackhi_epi16(ab_high, cd_high));
    store(y + kQuad * p, _mm256_permute2x128_si256(q0, q1, 0x20));
    store(y + kQuad * p + 32, _mm256_permute2x128_si256(q2, q3, 0x20));
    store(y + kQuad * p + 64, _mm256_permute2x128_si256(q0, q1, 0x31));
    store(y + kQuad * p + 96, _mm256_permute2x128_si256(q2, q3, 0x31));
  }
  const std::uint8_t *const rest[kQuad] = {planes[0] + p, planes[1] + p, planes[2] + p, planes[3] + p};
  generic::vector_kernels.interleave(rest, y + kQuad * p, pixels - p, flip);
}

void deinterleave(const Act *x, std::uint8_t *const planes[kQuad], std::size_t pixels, std::uint8_t flip) {
  const __m256i flips = _mm256_set1_epi8(static_cast<char>(flip));
  std::size_t p = 0;
  for (; p + kStep <= pixels; p += kStep) {
    // each half of a register: four pixels of channel 0, of channel 1, ...
    const Act *from = x + kQuad * p;
    const __m256i v0 = interleave_channels(load(from)), v1 = interleave_channels(load(from + 32));
    const __m256i v2 = interleave_channels(load(from + 64)), v3 = interleave_channels(load(from + 96));
    const __m256i ab01 = _mm256_unpacklo_epi32(v0, v1), ab23 = _mm256_unpacklo_epi32(v2, v3);
    const __m256i cd01 = _mm256_unpackhi_epi32(v0, v1), cd23 = _mm256_unpackhi_epi32(v2, v3);
    const __m256i channels[kQuad] = {_mm256_unpacklo_epi64(ab01, ab23), _mm256_unpackhi_epi64(ab01, ab23),
                                     _mm256_unpacklo_epi64(cd01, cd23), _mm256_unpackhi_epi64(cd01, cd23)};
    for (int c = 0; c < kQuad; ++c) store(planes[c] + p, _mm256_xor_si256(flips, consecutive(channels[c])));
  }
  std::uint8_t *const rest[kQuad] = {planes[0] + p, planes[1] + p, planes[2] + p, planes[3] + p};
  generic::vector_kernels.deinterleave(x + kQuad * p, rest, pixels - p, flip);
}

// Steps of two, which downsampling needs. The last register of a row overlaps the one before it and leaves out the word
// behind the last that counts.
void stride(const Act *x, std::ptrdiff_t x_row, std::int32_t step, std::int32_t rows, std::int32_t pixels, Act *y,
            std::ptrdiff_t y_row) {
  const std::int32_t last = pixels - kLanes;
  if (step != 2 || last < 0) return generic::vector_kernels.stride(x, x_row, step, rows, pixels, y, y_row);
  const auto put = [](Act *to, __m256i low, __m256i high) {
    const __m256 even = _mm256_shuffle_ps(_mm256_castsi256_ps(low), _mm256_castsi256_ps(high), 0x88);
    store(to, _mm256_permute4x64_epi64(_mm256_castps_si256(even), 0xd8));
  };
  const __m256i seven = _mm256_setr_epi32(-1, -1, -1, -1, -1, -1, -1, 0);
  for (std::int32_t row = 0; row < rows; ++row, x += x_row, y += y_row) {
    for (std::int32_t p = 0; p < last; p += kLanes)
      put(y + kQuad * p, load(x + 2 * kQuad * p), load(x + 2 * kQuad * p + 32));
    const Act *from = x + 2 * kQuad * last;
    put(y + kQuad * last, load(from), _mm256_maskload_epi32(reinterpret_cast<const int *>(from + 32), seven));
  }
}

// Four pixels to a half of a register. Loads reach four bytes beyond: two further pixels show that these exist.
void rgb(const Act *x, Act *y, std::size_t pixels, std::uint8_t flip) {
  const __m256i flips = _mm256_set1_epi8(static_cast<char>(flip));
  const __m256i words = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 2, 2, 3, 4, 5, 5, 6, 7, 8, 8, 9, 10, 11, 11));
  std::size_t p = 0;
  for (; p + kLanes + 2 <= pixels; p += kLanes) {
    const auto *from = reinterpret_cast<const __m128i *>(x + 3 * p);
    const auto *half = reinterpret_cast<const __m128i *>(x + 3 * p + 12);
    const __m256i bytes = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(from)), _mm_loadu_si128(half), 1);
    store(y + kQuad * p, _mm256_xor_si256(_mm256_shuffle_epi8(bytes, words), flips));
  }
  generic::vector_kernels.rgb(x + 3 * p, y + kQuad * p, pixels - p, flip);
}

// -- borders ---------------------------------------------------------------------------------------------------------

// Half to even after a clamp to +-2^24 on the bits, so that a NaN becomes a number, too.
inline __m256i rounded_wide(__m256 value) {
  const __m256i bits = _mm256_castps_si256(value), limit = _mm256_castps_si256(_mm256_set1_ps(16777216.0f));
  const __m256i sign = _mm256_and_si256(bits, _mm256_set1_epi32(INT32_MIN));
  const __m256i magnitude = _mm256_min_epi32(_mm256_xor_si256(bits, sign), limit);
  return _mm256_cvtps_epi32(_mm256_castsi256_ps(_mm256_or_si256(magnitude, sign)));
}

void quantize(const float *x, float scale, std::int32_t zero, std::int32_t low, std::int32_t high, Act *y,
              std::size_t count) {
  const __m256 divisor = _mm256_set1_ps(scale);
  const __m256i zeros = _mm256_set1_epi32(zero), lows = _mm256_set1_epi32(low), highs = _mm256_set1_epi32(high);
  const auto eight = [&](std::size_t i) {
    const __m256i value = _mm256_add_epi32(rounded_wide(_mm256_div_ps(_mm256_loadu_ps(x + i), divisor)), zeros);
    return _mm256_min_epi32(_mm256_max_epi32(value, lows), highs);
  };
  const std::size_t done = whole_registers(Output::of(0, low, high), y, count, eight);
  generic::vector_kernels.quantize(x + done, scale, zero, low, high, y + done, count - done);
}

void dequantize(const Act *x, float scale, std::int32_t zero, float *y, std::size_t count) {
  const __m256 scales = _mm256_set1_ps(scale);
  const __m256i zeros = _mm256_set1_epi32(zero);
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    _mm256_storeu_ps(y + i, _mm256_mul_ps(_mm256_cvtepi32_ps(centred(x + i, zeros)), scales));
  generic::vector_kernels.dequantize(x + i, scale, zero, y + i, count - i);
}

}  // namespace

extern const VectorKernels vector_kernels;
const VectorKernels vector_kernels = {.isa = "avx2",
                                      .add = add,
                                      .mul = mul,
                                      .requantize = requantize,
                                      .lut = nullptr,  // 256 entries: a table in memory is as fast
                                      .max = max,
                                      .sum = sum,
                                      .interleave = interleave,
                                      .deinterleave = deinterleave,
                                      .stride = stride,
                                      .transpose = nullptr,
                                      .rgb = rgb,
                                      .quantize = quantize,
                                      .dequantize = dequantize};

}  // namespace prunus::avx2
