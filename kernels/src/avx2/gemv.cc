// Matrix times one vector: 16 output channels at a time, weights read from memory once and in order.
//
// A block is 16 x 4 weights against one quad of x in all lanes. Narrow blocks (weights.h) take vpmaddubsw; of wide ones
// weights and activations are split into even and odd bytes.
#include "avx2/epilogue.h"
#include "avx2/weights.h"

namespace prunus::avx2 {
namespace {

using namespace simd256;

constexpr std::int32_t kRows = 16, kBlockBytes = kRows * kQuad;

// The sums of rows 0 .. 7 and 8 .. 15.
struct Rows {
  __m256i low, high;
};

inline __m256i narrow_product(__m256i x, const std::int8_t *w) {
  return _mm256_madd_epi16(_mm256_maddubs_epi16(x, load(w)), _mm256_set1_epi16(1));
}

inline __m256i wide_product(__m256i even, __m256i odd, const std::int8_t *w) {
  const __m256i bytes = load(w);
  const __m256i even_weights = _mm256_srai_epi16(_mm256_slli_epi16(bytes, 8), 8);
  const __m256i odd_weights = _mm256_srai_epi16(bytes, 8);
  return _mm256_add_epi32(_mm256_madd_epi16(even, even_weights), _mm256_madd_epi16(odd, odd_weights));
}

inline Rows accumulate(const GemvArgs &args, std::int32_t g, Rows acc) {
  const Packed &weights = *args.weights;
  const std::int32_t *offset = weights.offset.data();
  const std::int32_t end = weights.begin[g + 1], narrow_end = weights.begin[g] + weights.extra[g];
  std::int32_t i = weights.begin[g];
  const std::int8_t *w = weights.value.data() + std::ptrdiff_t{i} * kBlockBytes;
  for (; i < narrow_end; ++i, w += kBlockBytes) {
    const __m256i x = word(args.x + offset[i]);
    acc.low = _mm256_add_epi32(acc.low, narrow_product(x, w));
    acc.high = _mm256_add_epi32(acc.high, narrow_product(x, w + kBlockBytes / 2));
  }
  for (; i < end; ++i, w += kBlockBytes) {
    const __m256i x = word(args.x + offset[i]);
    const __m256i even = _mm256_and_si256(x, _mm256_set1_epi16(0xff)), odd = _mm256_srli_epi16(x, 8);
    acc.low = _mm256_add_epi32(acc.low, wide_product(even, odd, w));
    acc.high = _mm256_add_epi32(acc.high, wide_product(even, odd, w + kBlockBytes / 2));
  }
  return acc;
}

template <class Scale>
void run(const GemvArgs &args) {
  const Epilogue &e = *args.epilogue;
  const Output output = Output::of(e);
  for (std::int32_t g = args.group_begin; g < args.group_end; ++g) {
    const std::ptrdiff_t channel = std::ptrdiff_t{g} * kRows;
    const Rows acc = accumulate(args, g, {load(e.bias + channel), load(e.bias + channel + kLanes)});
    store_rows(output, Scale::eight(e, channel).apply(acc.low), Scale::eight(e, channel + kLanes).apply(acc.high),
               args.y + channel);
  }
}

void dispatch(const GemvArgs &args) {
  args.epilogue->scheme == PRUNUS_F32 ? run<FloatScale>(args) : run<IntegerScale>(args);
}

}  // namespace

void gemv_dense(const GemvArgs &args) { dispatch(args); }
void gemv_blocks(const GemvArgs &args) { dispatch(args); }

}  // namespace prunus::avx2
