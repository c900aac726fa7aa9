// Matrix times one vector: 16 output channels at a time, weights read from memory once and in order.
//
// A block is 16 x 4 weights against one quad of x in all lanes. Four blocks in flight, each with sums of its own, hide
// the latency of the dot product.
#include "avxvnni/dot.h"

namespace prunus::avxvnni {
namespace {

constexpr std::int32_t kRows = 16, kBlockBytes = kRows * kQuad, kInFlight = 4;

// The sums of rows 0 .. 7 and 8 .. 15.
struct Rows {
  __m256i low, high;
};

inline Rows operator+(const Rows &a, const Rows &b) {
  return {_mm256_add_epi32(a.low, b.low), _mm256_add_epi32(a.high, b.high)};
}

inline void add_block(Rows &acc, const Act *quad, const std::int8_t *w) {
  const __m256i x = word(quad);
  acc.low = dot(acc.low, x, load(w));
  acc.high = dot(acc.high, x, load(w + kBlockBytes / 2));
}

// Block i of the group stands for the quad at place(i).
template <class Place>
inline Rows accumulate(const std::int8_t *w, std::int32_t blocks, Rows acc, Place place) {
  const __m256i zero = _mm256_setzero_si256();
  Rows second{zero, zero}, third{zero, zero}, fourth{zero, zero};
  std::int32_t i = 0;
  for (; i + kInFlight <= blocks; i += kInFlight, w += kInFlight * kBlockBytes) {
    add_block(acc, place(i), w);
    add_block(second, place(i + 1), w + kBlockBytes);
    add_block(third, place(i + 2), w + 2 * kBlockBytes);
    add_block(fourth, place(i + 3), w + 3 * kBlockBytes);
  }
  for (; i < blocks; ++i, w += kBlockBytes) add_block(acc, place(i), w);
  return (acc + second) + (third + fourth);
}

template <class Scale, bool kDense>
void run(const GemvArgs &args) {
  const Packed &weights = *args.weights;
  const Epilogue &e = *args.epilogue;
  const Output output = Output::of(e);
  for (std::int32_t g = args.group_begin; g < args.group_end; ++g) {
    const std::int32_t begin = weights.begin[g], blocks = weights.begin[g + 1] - begin;
    const std::int8_t *w = weights.value.data() + std::ptrdiff_t{begin} * kBlockBytes;
    const std::int32_t *offset = weights.offset.data() + begin;
    const std::ptrdiff_t channel = std::ptrdiff_t{g} * kRows;
    const Rows acc = accumulate(w, blocks, {load(e.bias + channel), load(e.bias + channel + kLanes)},
                                [&](std::int32_t i) { return args.x + (kDense ? kQuad * i : offset[i]); });
    store_rows(output, Scale::eight(e, channel).apply(acc.low), Scale::eight(e, channel + kLanes).apply(acc.high),
               args.y + channel);
  }
}

template <bool kDense>
void dispatch(const GemvArgs &args) {
  args.epilogue->scheme == PRUNUS_F32 ? run<FloatScale, kDense>(args) : run<IntegerScale, kDense>(args);
}

}  // namespace

void gemv_dense(const GemvArgs &args) { dispatch<true>(args); }
void gemv_blocks(const GemvArgs &args) { dispatch<false>(args); }

}  // namespace prunus::avxvnni
