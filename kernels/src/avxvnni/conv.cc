// Convolution over blocks of R x 4 weights: four products a lane and instruction.
//
// A tile is one output quad by 24 pixels: 12 accumulators hide the latency of the dot product, three registers of
// activations and one weight word fill up the 16. Three vectors are two such tiles; what is left takes 16 pixels.
#include <algorithm>

#include "avxvnni/dot.h"

namespace prunus::avxvnni {
namespace {

constexpr std::int32_t kWideTile = 3;  // registers of eight pixels
constexpr std::int32_t kVectorHalves = 2;

struct Tile {
  const Act *x;
  const std::int32_t *offset;
  const std::int8_t *value;
  std::ptrdiff_t value_step;  // bytes from block to block
  std::int32_t blocks;
  std::int32_t channel;  // the first of four
  const Epilogue *epilogue;
  const Output *output;
  Act *y;
  const std::uint16_t *valid;
  std::int32_t half;  // of the vectors at `valid`
};

template <int kHalves>
using Sums = __m256i[kQuad][kHalves];

template <class Scale, int kHalves>
inline void store(const Tile &tile, const Sums<kHalves> &acc) {
  const Epilogue &e = *tile.epilogue;
  const Output &output = *tile.output;
  const Scale s0 = Scale::one(e, tile.channel), s1 = Scale::one(e, tile.channel + 1);
  const Scale s2 = Scale::one(e, tile.channel + 2), s3 = Scale::one(e, tile.channel + 3);
#pragma GCC unroll 3
  for (int h = 0; h < kHalves; ++h) {
    const int half = tile.half + h;
    const __m256i bytes =
        output.pack(s0.apply(acc[0][h]), s1.apply(acc[1][h]), s2.apply(acc[2][h]), s3.apply(acc[3][h]));
    output.store(tile.y + h * kHalfBytes, interleave_channels(bytes), valid_half(tile.valid[half / 2], half % 2));
  }
}

template <class Scale, int kHalves>
__attribute__((noinline)) void run_tile(const Tile &tile) {
  Sums<kHalves> acc;
#pragma GCC unroll 4
  for (int o = 0; o < kQuad; ++o)
#pragma GCC unroll 3
    for (int h = 0; h < kHalves; ++h) acc[o][h] = word(tile.epilogue->bias + tile.channel + o);
  const std::int8_t *w = tile.value;
  for (std::int32_t i = 0; i < tile.blocks; ++i, w += tile.value_step) {
    const Act *from = tile.x + tile.offset[i];
    __m256i x[kHalves];
#pragma GCC unroll 3
    for (int h = 0; h < kHalves; ++h) x[h] = load(from + h * kHalfBytes);
#pragma GCC unroll 4
    for (int o = 0; o < kQuad; ++o) {
      const __m256i weights = word(w + o * kQuad);
#pragma GCC unroll 3
      for (int h = 0; h < kHalves; ++h) {
        acc[o][h] = dot(acc[o][h], x[h], weights);
        asm("" : "+x"(acc[o][h]));  // stays where it is: GCC 12 would copy accumulators and run out of registers
      }
    }
  }
  store<Scale, kHalves>(tile, acc);
}

// Some halves of vectors, from `half` on, of all output quads of all groups.
template <class Scale, int kHalves>
void run_strip(const ConvArgs &args, const Output &output, std::int32_t half) {
  const Packed &weights = *args.weights;
  const std::int32_t quads = weights.rows / kQuad;
  const std::ptrdiff_t pixels = std::ptrdiff_t{half} * kHalfBytes, block_bytes = std::ptrdiff_t{weights.rows} * kQuad;
  for (std::int32_t g = args.group_begin; g < args.group_end; ++g) {
    const std::int32_t begin = weights.begin[g], first = g * quads, last = std::min(first + quads, args.y_quads);
    for (std::int32_t quad = first; quad < last; ++quad)
      run_tile<Scale, kHalves>({.x = args.x + pixels,
                                .offset = weights.offset.data() + begin,
                                .value = weights.value.data() + begin * block_bytes + (quad - first) * kQuad * kQuad,
                                .value_step = block_bytes,
                                .blocks = weights.begin[g + 1] - begin,
                                .channel = quad * kQuad,
                                .epilogue = args.epilogue,
                                .output = &output,
                                .y = args.y + quad * args.y_plane + pixels,
                                .valid = args.valid,
                                .half = half});
  }
}

template <class Scale>
void run(const ConvArgs &args) {
  const Output output = Output::of(*args.epilogue);
  const std::int32_t end = kVectorHalves * args.vector_end;
  std::int32_t half = kVectorHalves * args.vector_begin;
  for (; half + 2 * kWideTile <= end; half += 2 * kWideTile) {
    run_strip<Scale, kWideTile>(args, output, half);
    run_strip<Scale, kWideTile>(args, output, half + kWideTile);
  }
  for (; half < end; half += kVectorHalves) run_strip<Scale, kVectorHalves>(args, output, half);
}

void dispatch(const ConvArgs &args) {
  args.epilogue->scheme == PRUNUS_F32 ? run<FloatScale>(args) : run<IntegerScale>(args);
}

}  // namespace

void conv_4x4(const ConvArgs &args) { dispatch(args); }
void conv_16x4(const ConvArgs &args) { dispatch(args); }

}  // namespace prunus::avxvnni
