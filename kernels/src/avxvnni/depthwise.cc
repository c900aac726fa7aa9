// Depthwise convolution: four taps of a channel at a time.
#include "avx2/taps.h"
#include "avxvnni/dot.h"

namespace prunus::avxvnni {
namespace {

constexpr std::ptrdiff_t kTapBytes = kTapsTogether * kQuad;

template <class Scale>
void run(const DepthwiseArgs &args) {
  const Packed &weights = *args.weights;
  const std::int32_t *const offset = weights.offset.data();
  const std::ptrdiff_t taps = std::ssize(weights.offset);
  run_depthwise<Scale>(args, [&](std::int32_t quad, const Act *x, PixelLanes acc) {
    const std::int8_t *w = weights.value.data() + quad * taps * kQuad;
    for (std::ptrdiff_t t = 0; t < taps; t += kTapsTogether, w += kTapBytes) {
      const PixelLanes lanes = four_taps(x, offset + t);
      const __m256i weight = both_halves(w);
      acc = {dot(acc.r0, lanes.r0, weight), dot(acc.r1, lanes.r1, weight), dot(acc.r2, lanes.r2, weight),
             dot(acc.r3, lanes.r3, weight)};
    }
    return acc;
  });
}

}  // namespace

void depthwise_taps(const DepthwiseArgs &args) {
  args.epilogue->scheme == PRUNUS_F32 ? run<FloatScale>(args) : run<IntegerScale>(args);
}

}  // namespace prunus::avxvnni
