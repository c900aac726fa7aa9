// Depthwise convolution: taps that are neighbours in a row are the bytes of one vpdpbusd.
//
// A load at a tap holds in each lane 4 pixels of 4 channels; transposed within the lane it holds 4 taps of each
// channel, for the pixel in question and for those right of it:
//
//   pixel 0: taps 0 1 2 .      so three taps of pixels 0 and 1 come from one load, with the weights moved by a byte,
//   pixel 1: . taps 0 1 2      and those of pixels 2 and 3 from a load two pixels to the right: the third tap's.
//
// Accumulator i holds pixels i, 4 + i, 8 + i, 12 + i, four channels each, which four packs put in order.
#include "avx512vnni/epilogue.h"
#include "avx512vnni/unroll.h"
#include "generic/epilogue.h"

namespace prunus::avx512vnni {
namespace {

constexpr int kLanes = 4;
constexpr int kRun = 3;                   // taps of a run at most
constexpr int kRunBytes = kQuad * kQuad;  // weights [channel][tap]

// The weights of a run for a pixel `byte` pixels right of the load.
inline __m512i moved(__m512i w, int byte) { return _mm512_slli_epi32(w, 8 * byte); }

inline __m512i load_run(const std::int8_t *w) {
  return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i *>(w)));
}

// Adds a run of kTaps taps whose first one is at x.
template <int kTaps>
[[gnu::always_inline]] inline void add_run(const Act *x, __m512i w, __m512i (&acc)[kLanes]) {
  const __m512i first = transpose_lanes(_mm512_loadu_si512(x));
  acc[0] = _mm512_dpbusd_epi32(acc[0], first, w);
  acc[1] = _mm512_dpbusd_epi32(acc[1], first, moved(w, 1));
  if constexpr (kTaps == 1) {
    acc[2] = _mm512_dpbusd_epi32(acc[2], first, moved(w, 2));
    acc[3] = _mm512_dpbusd_epi32(acc[3], first, moved(w, 3));
  } else {
    constexpr int kLast = kTaps - 1;  // the load at the last tap
    const __m512i last = transpose_lanes(_mm512_loadu_si512(x + kLast * kQuad));
    acc[2] = _mm512_dpbusd_epi32(acc[2], last, moved(w, 2 - kLast));
    acc[3] = _mm512_dpbusd_epi32(acc[3], last, moved(w, 3 - kLast));
  }
}

// What does not change along a plane.
struct Plane {
  const Epilogue &epilogue;
  std::int32_t channel;
  Output output;
  __m512i bias;
  __m512 scale;

  Plane(const Epilogue &e, std::int32_t quad)
      : epilogue(e),
        channel(quad * kQuad),
        output(e),
        bias(_mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i *>(e.bias + channel)))),
        scale(e.scheme == PRUNUS_F32 ? _mm512_broadcast_f32x4(_mm_loadu_ps(e.scale + channel)) : _mm512_setzero_ps()) {}

  [[gnu::always_inline]] inline void start(__m512i (&acc)[kLanes]) const {
    unroll<kLanes>([&](auto i) __attribute__((always_inline)) { acc[i] = bias; });
  }

  [[gnu::always_inline]] inline void store(const __m512i (&acc)[kLanes], std::uint16_t valid, Act *y) const {
    if (epilogue.scheme != PRUNUS_F32) return store_integer(acc[0], acc[1], acc[2], acc[3], valid, y);
    const __m512i bytes = output.narrow(requantize_float(acc[0], scale), requantize_float(acc[1], scale),
                                        requantize_float(acc[2], scale), requantize_float(acc[3], scale));
    output.store(y, bytes, valid);
  }

  [[gnu::noinline]] void store_integer(__m512i a, __m512i b, __m512i c, __m512i d, std::uint16_t valid, Act *y) const;
};

void Plane::store_integer(__m512i a, __m512i b, __m512i c, __m512i d, std::uint16_t valid, Act *y) const {
  const __m512i acc[kLanes] = {a, b, c, d};
  alignas(64) std::int32_t memory[kLanes][kPixels];  // [accumulator][lane][channel]
  for (int i = 0; i < kLanes; ++i) _mm512_store_si512(memory[i], acc[i]);
  std::int32_t tile[kQuad][kPixels];
  for (int p = 0; p < kPixels; ++p)
    for (int o = 0; o < kQuad; ++o) tile[o][p] = memory[p % kLanes][p / kLanes * kQuad + o];
  store_tile(epilogue, channel, tile, valid, y);
}

// Runs of three, two and one taps, in this order.
struct Runs {
  std::int32_t count[kRun];
  const std::int32_t *offset;
};

void run_plane(const DepthwiseArgs &args, const Runs &runs, std::int32_t quad) {
  const Plane plane(*args.epilogue, quad);
  const std::int32_t total = runs.count[0] + runs.count[1] + runs.count[2];
  const std::int8_t *weights = args.weights->value.data() + std::ptrdiff_t{quad} * total * kRunBytes;
  for (std::int32_t v = args.vector_begin; v < args.vector_end; ++v) {
    const Act *x = args.x + quad * args.x_plane + std::ptrdiff_t{v} * kVectorBytes;
    const std::int8_t *w = weights;
    const std::int32_t *offset = runs.offset;
    __m512i acc[kLanes];
    plane.start(acc);
    for (const auto *end = offset + runs.count[0]; offset != end; ++offset, w += kRunBytes)
      add_run<3>(x + *offset, load_run(w), acc);
    for (const auto *end = offset + runs.count[1]; offset != end; ++offset, w += kRunBytes)
      add_run<2>(x + *offset, load_run(w), acc);
    for (const auto *end = offset + runs.count[2]; offset != end; ++offset, w += kRunBytes)
      add_run<1>(x + *offset, load_run(w), acc);
    plane.store(acc, args.valid[v], args.y + quad * args.y_plane + std::ptrdiff_t{v} * kVectorBytes);
  }
}

// Three runs of three, 3x3: all weights stay in registers.
void run_plane_3x3(const DepthwiseArgs &args, const Runs &runs, std::int32_t quad) {
  const Plane plane(*args.epilogue, quad);
  const std::int8_t *weights = args.weights->value.data() + std::ptrdiff_t{quad} * kRun * kRunBytes;
  const __m512i w0 = load_run(weights), w1 = load_run(weights + kRunBytes), w2 = load_run(weights + 2 * kRunBytes);
  const std::int32_t offset0 = runs.offset[0], offset1 = runs.offset[1], offset2 = runs.offset[2];
  for (std::int32_t v = args.vector_begin; v < args.vector_end; ++v) {
    const Act *x = args.x + quad * args.x_plane + std::ptrdiff_t{v} * kVectorBytes;
    __m512i acc[kLanes];
    plane.start(acc);
    add_run<3>(x + offset0, w0, acc);
    add_run<3>(x + offset1, w1, acc);
    add_run<3>(x + offset2, w2, acc);
    plane.store(acc, args.valid[v], args.y + quad * args.y_plane + std::ptrdiff_t{v} * kVectorBytes);
  }
}

}  // namespace

void depthwise_runs(const DepthwiseArgs &args) {
  const Packed &packed = *args.weights;
  const Runs runs{{packed.extra[0], packed.extra[1], packed.extra[2]}, packed.offset.data()};
  const bool is_3x3 = runs.count[0] == kRun && runs.count[1] == 0 && runs.count[2] == 0;
  for (std::int32_t quad = args.quad_begin; quad < args.quad_end; ++quad)
    is_3x3 ? run_plane_3x3(args, runs, quad) : run_plane(args, runs, quad);
}

}  // namespace prunus::avx512vnni
