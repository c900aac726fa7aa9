// Convolution in tiles: 16 output channels x 64 products of weights (signed, the left operand) times 64 products x 16
// pixels of activations (unsigned, as quad-planar memory has them).
//
// Four tiles hold sums: 32 channels x 32 pixels, or 16 channels x 64 pixels for groups of 16. The quads of a step are
// loaded from the planes where they are equally spaced; else their rows are gathered into a scratch tile, one step
// ahead, so that the copies have left the store buffer when the tile is loaded. Sums are finished (biased, requantized
// and stored) in portions between the steps of the next tiles, while the matrix unit is busy.
//
// Modelled for Sapphire Rapids, from published figures (a product of tiles 16 cycles, a tile from the first-level cache
// 8): a step of 32 x 32 sums has four of each, 64 cycles for 65,536 products, beside which stand 32 loads and 32 stores
// where rows are gathered. Finishing 32 x 32 sums takes the vector units some 170 cycles, so that groups of less than
// three steps are bound by their outputs, not by their weights.
#include <algorithm>
#include <utility>

#include "amx/steps.h"
#include "amx/tile.h"
#include "avx512vnni/epilogue.h"

namespace prunus::amx {
namespace {

using avx512vnni::IntegerScale;
using avx512vnni::Output;

constexpr int kSumTiles = 4;
constexpr std::int32_t kBlockVectors = 4;  // pixels that a group's weights are used for before the next group's

struct FloatScale {
  float scale;
  FloatScale(const Epilogue &e, std::int32_t channel) : scale(e.scale[channel]) {}
  __m512i apply(__m512i acc) const { return avx512vnni::requantize_float(acc, _mm512_set1_ps(scale)); }
};

// Sixteen quads of up to four vectors of pixels: rows of a tile are `row` bytes apart, tiles `vector` bytes.
struct Activations {
  const Act *x;
  std::ptrdiff_t row, vector;
};

// Sums that wait to be finished: some output quads of up to four vectors.
struct Pending {
  const std::int32_t *sums = nullptr;  // [channels / 16][vectors of a full tile][16][16]
  std::int32_t channel = 0, quads = 0, vectors = 0;
  Act *y = nullptr;
  const std::uint16_t *valid = nullptr;
  std::int32_t quad = 0;  // the next one
};

// Tiles of kHalves x 16 output channels.
template <class Scale, int kHalves>
class Convolution {
 public:
  explicit Convolution(const ConvArgs &args) : args_(args), output_(*args.epilogue) {}

  void run() {
    const tile::Session session;
    for (std::int32_t block = args_.vector_begin; block < args_.vector_end; block += kBlockVectors)
      for (std::int32_t g = args_.group_begin; g < args_.group_end && kQuads * g < args_.y_quads; ++g)
        run_group(g, block, std::min(block + kBlockVectors, args_.vector_end));
    finish(kQuads);
  }

 private:
  static constexpr int kVectors = kSumTiles / kHalves;
  static constexpr std::int32_t kQuads = kHalves * kTileChannels / kQuad;
  static constexpr int kWeightTile = kSumTiles, kPixelTile = kWeightTile + kHalves;
  static constexpr int kPixelTiles = tile::kTiles - kPixelTile, kTileSums = kTileChannels * kPixels;

  void run_group(std::int32_t g, std::int32_t vector, std::int32_t end) {
    for (; end - vector >= kVectors; vector += kVectors) run_tile<kVectors>(g, vector);
    if constexpr (kVectors > 3)
      if (end - vector == 3) return run_tile<3>(g, vector);
    if constexpr (kVectors > 2)
      if (end - vector == 2) return run_tile<2>(g, vector);
    if (end - vector == 1) run_tile<1>(g, vector);
  }

  template <int kCount>
  void run_tile(std::int32_t g, std::int32_t vector) {
    const Packed &weights = *args_.weights;
    const std::int32_t begin = weights.begin[g] / kStepQuads, steps = weights.begin[g + 1] / kStepQuads - begin;
    const Act *x = args_.x + std::ptrdiff_t{vector} * kVectorBytes;
    const std::int8_t *w = weights.value.data() + std::ptrdiff_t{begin} * kHalves * tile::kBytes;
    const std::int32_t portion = (kQuads + steps) / (steps + 1);
    for_each<kSumTiles>([]<int t>() { tile::zero<t>(); });
    Activations next{};
    if (steps > 0) next = activations<kCount>(x, begin);
    finish(portion);
    for (std::int32_t s = 0; s < steps; ++s, w += kHalves * tile::kBytes) {
      const Activations now = next;
      if (s + 1 < steps) next = activations<kCount>(x, begin + s + 1);
      for_each<kCount>([=]<int v>() { multiply<v>(w, now); });
      finish(portion);
    }
    finish(kQuads);
    put_off<kCount>(g, vector);
  }

  // One tile of activations times all weights of the step.
  template <int v>
  static void multiply(const std::int8_t *w, const Activations &from) {
    constexpr int kX = kPixelTile + v % kPixelTiles;
    if constexpr (v == 0) tile::load<kWeightTile>(w, tile::kRowBytes);
    tile::load<kX>(from.x + v * from.vector, from.row);
    tile::dot<v, kWeightTile, kX>();
    if constexpr (kHalves == 2) {
      if constexpr (v == 0) tile::load<kWeightTile + 1>(w + tile::kBytes, tile::kRowBytes);
      tile::dot<kVectors + v, kWeightTile + 1, kX>();
    }
  }

  // The quads of a step, in their planes or gathered.
  template <int kCount>
  Activations activations(const Act *x, std::int32_t step) {
    const std::int32_t *offset = args_.weights->offset.data() + std::ptrdiff_t{step} * kStepQuads;
    const std::int32_t spacing = args_.weights->extra[step];
    if (spacing != 0) return {x + offset[0], spacing, kVectorBytes};
    Act *scratch = scratch_[step % 2];
    for (int q = 0; q < kStepQuads; ++q)
      for_each<kCount>([&]<int v>() {
        const __m512i row = _mm512_loadu_si512(x + offset[q] + v * kVectorBytes);
        _mm512_store_si512(scratch + v * tile::kBytes + q * tile::kRowBytes, row);
      });
    return {scratch, tile::kRowBytes, tile::kBytes};
  }

  // Moves the sums out of the tiles; finish() does the rest.
  template <int kCount>
  void put_off(std::int32_t g, std::int32_t vector) {
    turn_ ^= 1;
    for_each<kSumTiles>([&]<int t>() {
      if constexpr (t % kVectors < kCount) tile::store<t>(sums_[turn_][t]);
    });
    pending_ = {.sums = sums_[turn_][0],
                .channel = g * kHalves * kTileChannels,
                .quads = std::min(kQuads, args_.y_quads - kQuads * g),
                .vectors = kCount,
                .y = args_.y + kQuads * g * args_.y_plane + std::ptrdiff_t{vector} * kVectorBytes,
                .valid = args_.valid + vector};
  }

  // Requantizes and stores up to `count` output quads.
  void finish(std::int32_t count) {
    for (; count > 0 && pending_.quad < pending_.quads; --count, ++pending_.quad) finish_quad();
  }

  void finish_quad() const {
    constexpr std::int32_t kTileQuads = kTileChannels / kQuad;
    const Epilogue &e = *args_.epilogue;
    const Pending &p = pending_;
    const std::int32_t channel = p.channel + p.quad * kQuad;
    const std::int32_t first_tile = p.quad / kTileQuads * kVectors, row = p.quad % kTileQuads * kQuad;
    const std::int32_t *sums = p.sums + first_tile * kTileSums + row * kPixels;
    const Scale scale[kQuad] = {{e, channel}, {e, channel + 1}, {e, channel + 2}, {e, channel + 3}};
    Act *y = p.y + p.quad * args_.y_plane;
    for (std::int32_t v = 0; v < p.vectors; ++v, sums += kTileSums, y += kVectorBytes) {
      const auto requantized = [&](int o) {
        const __m512i bias = _mm512_set1_epi32(e.bias[channel + o]);
        return scale[o].apply(_mm512_add_epi32(bias, _mm512_load_si512(sums + o * kPixels)));
      };
      const __m512i bytes = output_.narrow(requantized(0), requantized(1), requantized(2), requantized(3));
      output_.store(y, avx512vnni::transpose_lanes(bytes), p.valid[v]);
    }
  }

  // f.operator()<0>() .. <kCount - 1>: tile numbers are part of the instruction.
  template <int kCount, class Function>
  static inline __attribute__((always_inline)) void for_each(Function f) {
    [&]<int... i>(std::integer_sequence<int, i...>) { (f.template operator()<i>(), ...); }
    (std::make_integer_sequence<int, kCount>{});
  }

  const ConvArgs &args_;
  const Output output_;
  Pending pending_;
  int turn_ = 0;
  alignas(64) Act scratch_[2][kVectors * tile::kBytes];
  alignas(64) std::int32_t sums_[2][kSumTiles][kTileSums];
};

template <int kHalves>
void run(const ConvArgs &args) {
  if (args.epilogue->scheme == PRUNUS_F32)
    Convolution<FloatScale, kHalves>(args).run();
  else
    Convolution<IntegerScale, kHalves>(args).run();
}

}  // namespace

void conv_16x4(const ConvArgs &args) { run<1>(args); }
void conv_32x4(const ConvArgs &args) { run<2>(args); }
void conv_32x64(const ConvArgs &args) { run<2>(args); }

}  // namespace prunus::amx
