// Convolution over blocks of 16 or 32 x 4 weights, vectors of 16 output channels: an accumulator belongs to one pixel.
//
// A row is cut into segments of kColumns pixels; the last one moves to the left until it fits, and computes some pixels
// twice. A tile is one or two vectors of channels by as many segments, of one or several rows, as registers hold: the
// weights of a block are one or two vectors, the quad of a pixel is a word that is broadcast to all lanes.
#include <algorithm>
#include <limits>

#include "avx512vnni/epilogue.h"
#include "avx512vnni/unroll.h"

namespace prunus::avx512vnni {
namespace {

constexpr int kMostAccumulators = 28;
constexpr int kMostSegments = 6;
constexpr int kFewestColumns = 4, kMostColumns = 7;
constexpr int kChannels = 16;  // of a vector
constexpr int kVectorQuads = kChannels / kQuad;

typedef std::int32_t Word __attribute__((may_alias, aligned(1)));

// a[v] += w[v] . x for one pixel: assembly for the reason that conv.cc gives.
template <int kVectors>
inline __attribute__((always_inline)) void pixel(const Act *x, const __m512i (&w)[kVectors], __m512i (&a)[kVectors]) {
  __m512i scratch;
  if constexpr (kVectors == 1)
    asm("vpbroadcastd %[x], %[s]\n\t"
        "vpdpbusd %[w0], %[s], %[a0]"
        : [a0] "+v"(a[0]), [s] "=&v"(scratch)
        : [x] "m"(*reinterpret_cast<const Word *>(x)), [w0] "v"(w[0]));
  else
    asm("vpbroadcastd %[x], %[s]\n\t"
        "vpdpbusd %[w0], %[s], %[a0]\n\t"
        "vpdpbusd %[w1], %[s], %[a1]"
        : [a0] "+v"(a[0]), [a1] "+v"(a[1]), [s] "=&v"(scratch)
        : [x] "m"(*reinterpret_cast<const Word *>(x)), [w0] "v"(w[0]), [w1] "v"(w[1]));
}

struct Tile {
  const Act *x[kMostSegments];
  Act *y[kMostSegments];
  std::ptrdiff_t x_step, y_plane;
  const std::int32_t *offset;
  const std::int8_t *value;
  std::int32_t blocks;
  std::int32_t channel;  // the first
  std::int32_t quads;    // of the output from there on
  const Epilogue *epilogue;
  const Output *output;
};

// Four pixels of 16 channels: lane i of `bytes` is what quad i gets.
inline __attribute__((always_inline)) void store_pixels(__m512i bytes, std::int32_t quads, std::ptrdiff_t plane,
                                                        Act *y) {
  const auto at = [&](int quad) { return reinterpret_cast<__m128i *>(y + quad * plane); };
  if (quads > 0) _mm_storeu_si128(at(0), _mm512_castsi512_si128(bytes));
  if (quads > 1) _mm_storeu_si128(at(1), _mm512_extracti32x4_epi32(bytes, 1));
  if (quads > 2) _mm_storeu_si128(at(2), _mm512_extracti32x4_epi32(bytes, 2));
  if (quads > 3) _mm_storeu_si128(at(3), _mm512_extracti32x4_epi32(bytes, 3));
}

// A segment of requantized pixels: the first four, and the last four, which may be some of them again.
template <int kColumns>
inline __attribute__((always_inline)) void store_segment(const Tile &tile, const __m512i *pixels, int vector, Act *y) {
  const std::int32_t quads = tile.quads - vector * kVectorQuads;
  y += vector * kVectorQuads * tile.y_plane;
  const Output &output = *tile.output;
  store_pixels(output.narrow(pixels[0], pixels[1], pixels[2], pixels[3]), quads, tile.y_plane, y);
  constexpr int kLast = kColumns - 4;
  if constexpr (kLast > 0)
    store_pixels(output.narrow(pixels[kLast], pixels[kLast + 1], pixels[kLast + 2], pixels[kLast + 3]), quads,
                 tile.y_plane, y + kLast * kQuad);
}

// The integer schemes, out of line: `a` in memory keeps them from taking registers from the loop.
template <int kColumns>
[[gnu::noinline]] void store_integer(const Tile &tile, int vectors, int segments, const __m512i *a) {
  for (int v = 0; v < vectors; ++v) {
    const ChannelScale scale(*tile.epilogue, tile.channel + v * kChannels);
    for (int s = 0; s < segments; ++s) {
      __m512i pixels[kColumns];
      for (int c = 0; c < kColumns; ++c) pixels[c] = scale.apply(a[(s * kColumns + c) * vectors + v]);
      store_segment<kColumns>(tile, pixels, v, tile.y[s]);
    }
  }
}

template <int kVectors, int kColumns, int kSegments>
void run_tile(const Tile &tile) {
  constexpr int kPixelCount = kSegments * kColumns;
  __m512i a[kPixelCount][kVectors];
  const std::int32_t *bias = tile.epilogue->bias + tile.channel;
  unroll<kPixelCount>([&](auto p) __attribute__((always_inline)) {
    unroll<kVectors>([&](auto v) __attribute__((always_inline)) {
      a[p][v] = _mm512_loadu_si512(bias + v * kChannels);
    });
  });

  const std::ptrdiff_t step = tile.x_step;
  const Act *x[kSegments];
  unroll<kSegments>([&](auto s) __attribute__((always_inline)) { x[s] = tile.x[s]; });
  const std::int8_t *value = tile.value;
  const std::int32_t *end = tile.offset + tile.blocks;
  for (const std::int32_t *offset = tile.offset; offset != end; ++offset, value += kVectors * kVectorBytes) {
    __m512i w[kVectors];
    unroll<kVectors>([&](auto v) __attribute__((always_inline)) {
      w[v] = _mm512_loadu_si512(value + v * kVectorBytes);
    });
    unroll<kSegments>([&](auto s) __attribute__((always_inline)) {
      const Act *first = x[s] + *offset;
      unroll<kColumns>([&](auto c) __attribute__((always_inline)) {
        pixel<kVectors>(first + c * step, w, a[s * kColumns + c]);
      });
    });
  }

  if (tile.epilogue->scheme != PRUNUS_F32) {
    __m512i memory[kPixelCount][kVectors];
    unroll<kPixelCount>([&](auto p) __attribute__((always_inline)) {
      unroll<kVectors>([&](auto v) __attribute__((always_inline)) { memory[p][v] = a[p][v]; });
    });
    return store_integer<kColumns>(tile, kVectors, kSegments, memory[0]);
  }
  unroll<kVectors>([&](auto v) __attribute__((always_inline)) {
    const __m512 scale = _mm512_loadu_ps(tile.epilogue->scale + tile.channel + v * kChannels);
    unroll<kSegments>([&](auto s) __attribute__((always_inline)) {
      __m512i pixels[kColumns];
      unroll<kColumns>([&](auto c) __attribute__((always_inline)) {
        pixels[c] = requantize_float(a[s * kColumns + c][v], scale);
      });
      store_segment<kColumns>(tile, pixels, v, tile.y[s]);
    });
  });
}

constexpr int most_segments(int vectors, int columns) {
  return std::min(kMostSegments, kMostAccumulators / (vectors * columns));
}

using RunTile = void (*)(const Tile &);

template <int kVectors, int kColumns, int... kIndex>
constexpr RunTile tile_of(int segments, std::integer_sequence<int, kIndex...>) {
  constexpr RunTile kRun[] = {run_tile<kVectors, kColumns, kIndex + 1>...};
  return kRun[segments - 1];
}

template <int kVectors>
RunTile tile_of(int columns, int segments) {
  const auto with = [&](auto c) {
    return tile_of<kVectors, c>(segments, std::make_integer_sequence<int, most_segments(kVectors, c)>{});
  };
  switch (columns) {
    case 4: return with(std::integral_constant<int, 4>{});
    case 5: return with(std::integral_constant<int, 5>{});
    case 6: return with(std::integral_constant<int, 6>{});
    default: return with(std::integral_constant<int, 7>{});
  }
}

// How rows are cut: the fewest pixels that are computed twice, then the longest segments.
struct Cut {
  std::int32_t columns = 0, per_row = 0;

  explicit Cut(std::int32_t width) {
    std::int32_t fewest = std::numeric_limits<std::int32_t>::max();
    for (std::int32_t c = std::min<std::int32_t>(kMostColumns, width); c >= kFewestColumns; --c) {
      const std::int32_t segments = (width + c - 1) / c;
      if (segments * c < fewest) fewest = segments * c, columns = c, per_row = segments;
    }
  }
};

// All segments of the rows, in tiles of about equal numbers, for one group: its weights come from the second cache.
template <int kVectors>
void run_group(const RowsArgs &args, const Cut &cut, const Output &output, std::int32_t group) {
  const Packed &weights = *args.weights;
  const std::int32_t begin = args.block_begin[group];
  const std::int32_t first_quad = group * kVectors * kVectorQuads;
  Tile tile{.x = {},
            .y = {},
            .x_step = args.x_step,
            .y_plane = args.y_plane,
            .offset = weights.offset.data() + begin,
            .value = weights.value.data() + std::ptrdiff_t{begin} * kVectors * kVectorBytes,
            .blocks = args.block_end[group] - begin,
            .channel = first_quad * kQuad,
            .quads = args.y_quads - first_quad,
            .epilogue = args.epilogue,
            .output = &output};
  Act *const y = args.y + first_quad * args.y_plane;
  const std::int32_t segments = (args.row_end - args.row_begin) * cut.per_row;
  const std::int32_t most = most_segments(kVectors, cut.columns), tiles = (segments + most - 1) / most;
  std::int32_t row = args.row_begin, in_row = 0;
  for (std::int32_t t = 0, done = 0; t < tiles; ++t) {
    const auto next = static_cast<std::int32_t>(std::int64_t{segments} * (t + 1) / tiles);
    for (std::int32_t s = 0; s < next - done; ++s) {
      const std::int32_t column = std::min(in_row * cut.columns, args.width - cut.columns);
      tile.x[s] = args.x + row * args.x_row + column * args.x_step;
      tile.y[s] = y + row * args.y_row + std::ptrdiff_t{column} * kQuad;
      if (++in_row == cut.per_row) in_row = 0, ++row;
    }
    tile_of<kVectors>(cut.columns, next - done)(tile);
    done = next;
  }
}

template <int kVectors>
void run(const RowsArgs &args) {
  const Output output(*args.epilogue);
  const Cut cut(args.width);
  for (std::int32_t group = args.group_begin; group < args.group_end; ++group) {
    if (group * kVectors * kVectorQuads >= args.y_quads) return;
    run_group<kVectors>(args, cut, output, group);
  }
}

}  // namespace

void rows_16x4(const RowsArgs &args) { run<1>(args); }
void rows_32x4(const RowsArgs &args) { run<2>(args); }

}  // namespace prunus::avx512vnni
