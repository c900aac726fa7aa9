// Matrix times one vector: all quads, or the 16 x 4 blocks that have a nonzero. Each weight is read once and in order:
// the memory is the limit.
#include "avx512vnni/gemv.h"

namespace prunus::avx512vnni {

void gemv_dense(const GemvArgs &args) {
  const Packed &packed = *args.weights;
  for (std::int32_t group = args.group_begin; group < args.group_end; ++group) {
    const std::int32_t begin = packed.begin[group], channel = group * kGemvRows;
    const std::int8_t *value = packed.value.data() + std::ptrdiff_t{begin} * kGemvBlockBytes;
    const __m512i acc = dot(
        args.epilogue->bias + channel, packed.begin[group + 1] - begin,
        [&](std::int32_t b) { return _mm512_loadu_si512(value + std::ptrdiff_t{b} * kGemvBlockBytes); },
        [&](std::int32_t b) { return broadcast_quad(args.x + b * kQuad); });
    store_rows(*args.epilogue, channel, acc, args.y + channel);
  }
}

void gemv_blocks(const GemvArgs &args) {
  const Packed &packed = *args.weights;
  for (std::int32_t group = args.group_begin; group < args.group_end; ++group) {
    const std::int32_t begin = packed.begin[group], channel = group * kGemvRows;
    const std::int8_t *value = packed.value.data() + std::ptrdiff_t{begin} * kGemvBlockBytes;
    const std::int32_t *offset = packed.offset.data() + begin;
    const __m512i acc = dot(
        args.epilogue->bias + channel, packed.begin[group + 1] - begin,
        [&](std::int32_t b) { return _mm512_loadu_si512(value + std::ptrdiff_t{b} * kGemvBlockBytes); },
        [&](std::int32_t b) { return broadcast_quad(args.x + offset[b]); });
    store_rows(*args.epilogue, channel, acc, args.y + channel);
  }
}

}  // namespace prunus::avx512vnni
