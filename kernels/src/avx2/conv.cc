// Convolution over blocks of R x 4 weights, exact for any weights: see weights.h for the three classes of blocks.
//
// A tile is one output quad by 16 pixels: 8 accumulators. What is left of the 16 registers holds a pair of blocks'
// activations (4), a constant and three temporaries. The products are assembly, because compilers that reorder them
// run out of registers.
#include <algorithm>

#include "avx2/epilogue.h"
#include "avx2/weights.h"

namespace prunus::avx2 {
namespace {

using namespace simd256;

constexpr std::int32_t kBlockBytes = kQuad * kQuad, kWideBytes = 2 * kBlockBytes;

// One output channel: its accumulators of 16 pixels.
struct Channel {
  __m256i low, high;
};

using Word = std::int32_t;

inline const Word &as_word(const std::int8_t *w) { return *reinterpret_cast<const Word *>(w); }

alignas(32) constexpr std::int16_t kEvenBytes[16] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                                     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

// Bytes 0 and 2 of each quad. The mask stays in memory, because there is no register for it.
inline __m256i even_bytes(__m256i x) {
  __m256i even;
  asm("vpand %[mask], %[x], %[even]"
      : [even] "=x"(even)
      : [x] "x"(x), [mask] "m"(*reinterpret_cast<const __m256i *>(kEvenBytes)));
  return even;
}

// Two halves of 16 pixels of one block.
struct Pixels {
  __m256i low, high;

  explicit inline Pixels(const Act *x) : low(load(x)), high(load(x + kHalfBytes)) {}
  inline Pixels(__m256i a, __m256i b) : low(a), high(b) {}
  inline Pixels even() const { return {even_bytes(low), even_bytes(high)}; }
  inline Pixels odd() const { return {_mm256_srli_epi16(low, 8), _mm256_srli_epi16(high, 8)}; }
};

// acc += wx . x + wy . y, where the sums of the pairs of both blocks together fit in int16
inline __attribute__((always_inline)) void add_paired(Channel &acc, const Pixels &x, const Pixels &y, const Word &wx,
                                                      const Word &wy, __m256i ones) {
  __m256i low, high, product;
  asm("vpbroadcastd %[wx], %[h]\n\t"
      "vpbroadcastd %[wy], %[p]\n\t"
      "vpmaddubsw %[h], %[x0], %[l]\n\t"
      "vpmaddubsw %[p], %[y0], %[p]\n\t"
      "vpaddw %[p], %[l], %[l]\n\t"
      "vpbroadcastd %[wy], %[p]\n\t"
      "vpmaddubsw %[h], %[x1], %[h]\n\t"
      "vpmaddwd %[ones], %[l], %[l]\n\t"
      "vpmaddubsw %[p], %[y1], %[p]\n\t"
      "vpaddd %[l], %[a0], %[a0]\n\t"
      "vpaddw %[p], %[h], %[h]\n\t"
      "vpmaddwd %[ones], %[h], %[h]\n\t"
      "vpaddd %[h], %[a1], %[a1]"
      : [a0] "+x"(acc.low), [a1] "+x"(acc.high), [l] "=&x"(low), [h] "=&x"(high), [p] "=&x"(product)
      : [x0] "x"(x.low), [x1] "x"(x.high), [y0] "x"(y.low), [y1] "x"(y.high), [wx] "m"(wx), [wy] "m"(wy),
        [ones] "x"(ones));
}

// acc += w . x, where the sums of the pairs fit in int16
inline __attribute__((always_inline)) void add_narrow(Channel &acc, const Pixels &x, const Word &w, __m256i ones) {
  __m256i low, high;
  asm("vpbroadcastd %[w], %[h]\n\t"
      "vpmaddubsw %[h], %[x0], %[l]\n\t"
      "vpmaddubsw %[h], %[x1], %[h]\n\t"
      "vpmaddwd %[ones], %[l], %[l]\n\t"
      "vpmaddwd %[ones], %[h], %[h]\n\t"
      "vpaddd %[l], %[a0], %[a0]\n\t"
      "vpaddd %[h], %[a1], %[a1]"
      : [a0] "+x"(acc.low), [a1] "+x"(acc.high), [l] "=&x"(low), [h] "=&x"(high)
      : [x0] "x"(x.low), [x1] "x"(x.high), [w] "m"(w), [ones] "x"(ones));
}

// acc += w . x over the even or the odd bytes
inline __attribute__((always_inline)) void add_wide(Channel &acc, const Pixels &x, const Word &w) {
  __m256i low, high;
  asm("vpbroadcastd %[w], %[h]\n\t"
      "vpmaddwd %[h], %[x0], %[l]\n\t"
      "vpmaddwd %[h], %[x1], %[h]\n\t"
      "vpaddd %[l], %[a0], %[a0]\n\t"
      "vpaddd %[h], %[a1], %[a1]"
      : [a0] "+x"(acc.low), [a1] "+x"(acc.high), [l] "=&x"(low), [h] "=&x"(high)
      : [x0] "x"(x.low), [x1] "x"(x.high), [w] "m"(w));
}

struct Tile {
  const Act *x;
  const std::int32_t *offset;
  const std::int8_t *value;
  std::int32_t paired, narrow, blocks;  // ends of the classes
  std::int32_t channel;                 // the first of four
  const Epilogue *epilogue;
  const Output *output;
  Act *y;
  const std::uint16_t *valid;
  std::int32_t vectors;
};

template <class Scale>
inline void store(const Tile &tile, std::int32_t vector, const Channel &a, const Channel &b, const Channel &c,
                  const Channel &d) {
  const Epilogue &e = *tile.epilogue;
  const Output &output = *tile.output;
  Act *const y = tile.y + std::ptrdiff_t{vector} * kVectorBytes;
  const std::uint16_t valid = tile.valid[vector];
  const Scale s0 = Scale::one(e, tile.channel), s1 = Scale::one(e, tile.channel + 1);
  const Scale s2 = Scale::one(e, tile.channel + 2), s3 = Scale::one(e, tile.channel + 3);
  const __m256i low = output.pack(s0.apply(a.low), s1.apply(b.low), s2.apply(c.low), s3.apply(d.low));
  output.store(y, interleave_channels(low), valid_half(valid, 0));
  const __m256i high = output.pack(s0.apply(a.high), s1.apply(b.high), s2.apply(c.high), s3.apply(d.high));
  output.store(y + kHalfBytes, interleave_channels(high), valid_half(valid, 1));
}

template <class Scale>
inline __attribute__((always_inline)) void run_vector(const Tile &tile, std::int32_t vector) {
  const auto start = [&](int o) {
    const __m256i bias = word(tile.epilogue->bias + tile.channel + o);
    return Channel{bias, bias};
  };
  Channel a = start(0), b = start(1), c = start(2), d = start(3);
  const __m256i ones = _mm256_set1_epi16(1);
  const Act *const base = tile.x + std::ptrdiff_t{vector} * kVectorBytes;
  const std::int32_t *const offset = tile.offset;
  const std::int8_t *w = tile.value;
  std::int32_t i = 0;
  for (; i < tile.paired; i += 2, w += 2 * kBlockBytes) {
    const Pixels x(base + offset[i]), y(base + offset[i + 1]);
    add_paired(a, x, y, as_word(w), as_word(w + 16), ones);
    add_paired(b, x, y, as_word(w + 4), as_word(w + 20), ones);
    add_paired(c, x, y, as_word(w + 8), as_word(w + 24), ones);
    add_paired(d, x, y, as_word(w + 12), as_word(w + 28), ones);
  }
  for (; i < tile.narrow; ++i, w += kBlockBytes) {
    const Pixels x(base + offset[i]);
    add_narrow(a, x, as_word(w), ones);
    add_narrow(b, x, as_word(w + 4), ones);
    add_narrow(c, x, as_word(w + 8), ones);
    add_narrow(d, x, as_word(w + 12), ones);
  }
  for (; i < tile.blocks; ++i, w += kWideBytes) {
    const Pixels x(base + offset[i]), even = x.even(), odd = x.odd();
    add_wide(a, even, as_word(w));
    add_wide(b, even, as_word(w + 8));
    add_wide(c, even, as_word(w + 16));
    add_wide(d, even, as_word(w + 24));
    add_wide(a, odd, as_word(w + 4));
    add_wide(b, odd, as_word(w + 12));
    add_wide(c, odd, as_word(w + 20));
    add_wide(d, odd, as_word(w + 28));
  }
  store<Scale>(tile, vector, a, b, c, d);
}

template <class Scale>
__attribute__((noinline)) void run_tile(const Tile &tile) {
  for (std::int32_t v = 0; v < tile.vectors; ++v) run_vector<Scale>(tile, v);
}

// All output quads of a group, for some vectors of pixels.
template <class Scale>
void run_group(const ConvArgs &args, const Output &output, std::int32_t g, std::int32_t vector, std::int32_t vectors) {
  const Packed &weights = *args.weights;
  const ConvGroup &group = record<ConvGroup>(weights, g);
  const std::ptrdiff_t pixels = std::ptrdiff_t{vector} * kVectorBytes;
  const std::int32_t begin = weights.begin[g], blocks = weights.begin[g + 1] - begin;
  const std::int32_t narrow = group.paired + group.narrow;
  const std::ptrdiff_t quad_bytes = std::ptrdiff_t{narrow} * kBlockBytes + std::ptrdiff_t{blocks - narrow} * kWideBytes;
  const std::int32_t quads = weights.rows / kQuad, first = g * quads, last = std::min(first + quads, args.y_quads);
  for (std::int32_t quad = first; quad < last; ++quad)
    run_tile<Scale>({.x = args.x + pixels,
                     .offset = weights.offset.data() + begin,
                     .value = weights.value.data() + group.value + (quad - first) * quad_bytes,
                     .paired = group.paired,
                     .narrow = narrow,
                     .blocks = blocks,
                     .channel = quad * kQuad,
                     .epilogue = args.epilogue,
                     .output = &output,
                     .y = args.y + quad * args.y_plane + pixels,
                     .valid = args.valid + vector,
                     .vectors = vectors});
}

// How many vectors a quad of outputs takes before the next one: few where the inputs are many, so that they stay in the
// first-level cache; more where there are few, so that starting a tile weighs less.
std::int32_t block_vectors(const Packed &weights) {
  constexpr std::int32_t kMost = 4, kCachedBlocks = 64;
  const std::int32_t blocks = weights.begin.back() / std::max(weights.groups, 1);
  return std::clamp(kCachedBlocks / std::max(blocks, 1), 1, kMost);
}

template <class Scale>
void run(const ConvArgs &args) {
  const Output output = Output::of(*args.epilogue);
  const std::int32_t block = block_vectors(*args.weights);
  for (std::int32_t vector = args.vector_begin; vector < args.vector_end; vector += block)
    for (std::int32_t g = args.group_begin; g < args.group_end; ++g)
      run_group<Scale>(args, output, g, vector, std::min(block, args.vector_end - vector));
}

void dispatch(const ConvArgs &args) {
  args.epilogue->scheme == PRUNUS_F32 ? run<FloatScale>(args) : run<IntegerScale>(args);
}

}  // namespace

void conv_4x4(const ConvArgs &args) { dispatch(args); }
void conv_16x4(const ConvArgs &args) { dispatch(args); }

}  // namespace prunus::avx2
