// Convolution over blocks of R x 4 weights, R in {4, 16, 32}; without zeros all quads are in the list.
//
// A tile is one output quad by up to six vectors of 16 pixels: 24 accumulators, the four weight words of a block in
// registers, one vector of activations at a time. Per block that is 10 loads for 24 vpdpbusd, with few registers to
// spare: column() is assembly, because compilers that schedule the loads of several columns first run out of them.
#include <algorithm>

#include "avx512vnni/epilogue.h"
#include "avx512vnni/unroll.h"

namespace prunus::avx512vnni {
namespace {

constexpr int kTileVectors = 6;
constexpr int kBlockBytes = kQuad * kQuad;

// acc[o] += w[o] . x for the 16 quads at x
inline __attribute__((always_inline)) void column(const Act *x, __m512i w0, __m512i w1, __m512i w2, __m512i w3,
                                                  __m512i &a0, __m512i &a1, __m512i &a2, __m512i &a3) {
  __m512i scratch;
  asm("vmovdqu64 %[x], %[s]\n\t"
      "vpdpbusd %[w0], %[s], %[a0]\n\t"
      "vpdpbusd %[w1], %[s], %[a1]\n\t"
      "vpdpbusd %[w2], %[s], %[a2]\n\t"
      "vpdpbusd %[w3], %[s], %[a3]"
      : [a0] "+v"(a0), [a1] "+v"(a1), [a2] "+v"(a2), [a3] "+v"(a3), [s] "=&v"(scratch)
      : [x] "m"(*reinterpret_cast<const __m512i_u *>(x)), [w0] "v"(w0), [w1] "v"(w1), [w2] "v"(w2), [w3] "v"(w3));
}

inline __m512i broadcast(const std::int8_t *word) {
  std::int32_t value;
  __builtin_memcpy(&value, word, sizeof value);
  return _mm512_set1_epi32(value);
}

struct Tile {
  const Act *x;
  const std::int32_t *offset;
  const std::int8_t *value;
  std::int32_t blocks;
  std::int32_t channel;  // the first of four
  const Epilogue *epilogue;
  const Output *output;
  Act *y;
  const std::uint16_t *valid;
};

// The integer schemes, out of line: `a` in memory keeps them from taking registers from the loop.
[[gnu::noinline]] void store_integer(const Tile &tile, int vectors, const __m512i (*a)[kQuad]) {
  const IntegerScale s0(*tile.epilogue, tile.channel), s1(*tile.epilogue, tile.channel + 1),
      s2(*tile.epilogue, tile.channel + 2), s3(*tile.epilogue, tile.channel + 3);
  for (int v = 0; v < vectors; ++v) {
    const __m512i bytes =
        tile.output->narrow(s0.apply(a[v][0]), s1.apply(a[v][1]), s2.apply(a[v][2]), s3.apply(a[v][3]));
    tile.output->store(tile.y + v * kVectorBytes, transpose_lanes(bytes), tile.valid[v]);
  }
}

template <int kVectors>
void run_tile(const Tile &tile) {
  __m512i a[kVectors][kQuad];
  const std::int32_t *bias = tile.epilogue->bias + tile.channel;
  unroll<kVectors>([&](auto v) __attribute__((always_inline)) {
    unroll<kQuad>([&](auto o) __attribute__((always_inline)) { a[v][o] = _mm512_set1_epi32(bias[o]); });
  });

  const std::int8_t *value = tile.value;
  const Act *base = tile.x;
  const std::int32_t *end = tile.offset + tile.blocks;
  for (const std::int32_t *offset = tile.offset; offset != end; ++offset, value += kBlockBytes) {
    const Act *x = base + *offset;
    const __m512i w0 = broadcast(value), w1 = broadcast(value + 4), w2 = broadcast(value + 8),
                  w3 = broadcast(value + 12);
    unroll<kVectors>([&](auto v) __attribute__((always_inline)) {
      column(x + v * kVectorBytes, w0, w1, w2, w3, a[v][0], a[v][1], a[v][2], a[v][3]);
    });
  }

  const Epilogue &epilogue = *tile.epilogue;
  if (epilogue.scheme != PRUNUS_F32) {
    __m512i memory[kVectors][kQuad];
    unroll<kVectors>([&](auto v) __attribute__((always_inline)) {
      unroll<kQuad>([&](auto o) __attribute__((always_inline)) { memory[v][o] = a[v][o]; });
    });
    return store_integer(tile, kVectors, memory);
  }
  const Output &output = *tile.output;
  const float *scale = epilogue.scale + tile.channel;
  const __m512 s0 = _mm512_set1_ps(scale[0]), s1 = _mm512_set1_ps(scale[1]), s2 = _mm512_set1_ps(scale[2]),
               s3 = _mm512_set1_ps(scale[3]);
  Act *const y = tile.y;
  const std::uint16_t *const valid = tile.valid;
  unroll<kVectors>([&](auto v) __attribute__((always_inline)) {
    const __m512i bytes = output.narrow(requantize_float(a[v][0], s0), requantize_float(a[v][1], s1),
                                        requantize_float(a[v][2], s2), requantize_float(a[v][3], s3));
    output.store(y + v * kVectorBytes, transpose_lanes(bytes), valid[v]);
  });
}

using RunTile = void (*)(const Tile &);
constexpr RunTile kRunTile[kTileVectors] = {run_tile<1>, run_tile<2>, run_tile<3>,
                                            run_tile<4>, run_tile<5>, run_tile<6>};

// One strip of at most six vectors for all groups. Rows of a group are adjacent output quads; their weights follow
// each other in `value`, quad by quad.
void run_strip(const ConvArgs &args, const Output &output, std::int32_t vector, std::int32_t vectors) {
  const Packed &weights = *args.weights;
  const std::int32_t quads_per_group = weights.rows / kQuad;
  for (std::int32_t group = args.group_begin; group < args.group_end; ++group) {
    const std::int32_t begin = weights.begin[group], blocks = weights.begin[group + 1] - begin;
    const std::int8_t *value = weights.value.data() + std::ptrdiff_t{begin} * weights.rows * kQuad;
    const std::int32_t first = group * quads_per_group;
    const std::int32_t last = std::min(first + quads_per_group, args.y_quads);
    for (std::int32_t quad = first; quad < last; ++quad, value += std::ptrdiff_t{blocks} * kBlockBytes) {
      kRunTile[vectors - 1]({.x = args.x + std::ptrdiff_t{vector} * kVectorBytes,
                             .offset = weights.offset.data() + begin,
                             .value = value,
                             .blocks = blocks,
                             .channel = quad * kQuad,
                             .epilogue = args.epilogue,
                             .output = &output,
                             .y = args.y + quad * args.y_plane + std::ptrdiff_t{vector} * kVectorBytes,
                             .valid = args.valid + vector});
    }
  }
}

// Strips of about equal width. Within one, activations stay in the second cache and weights stream through it, which
// hides behind the products: a block of 24 vpdpbusd takes seven lines.
void run(const ConvArgs &args) {
  const Output output(*args.epilogue);
  const std::int32_t vectors = args.vector_end - args.vector_begin;
  const std::int32_t strips = (vectors + kTileVectors - 1) / kTileVectors;
  for (std::int32_t strip = 0; strip < strips; ++strip) {
    const std::int32_t begin = static_cast<std::int32_t>(std::int64_t{vectors} * strip / strips);
    const std::int32_t end = static_cast<std::int32_t>(std::int64_t{vectors} * (strip + 1) / strips);
    run_strip(args, output, args.vector_begin + begin, end - begin);
  }
}

}  // namespace

void conv_4x4(const ConvArgs &args) { run(args); }
void conv_16x4(const ConvArgs &args) { run(args); }
void conv_32x4(const ConvArgs &args) { run(args); }

}  // namespace prunus::avx512vnni
