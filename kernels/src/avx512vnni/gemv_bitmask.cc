// Matrix times one vector with zeros anywhere: per 16 x 4 block 64 bits that say which weights are stored. It reads the
// fewest bytes, so it wins where weights come from memory.
//
// Packed: begin[group] is the first stored byte of the group, extra[block] two words of mask, all quads in order.
#include <bit>
#include <cstring>

#include "avx512vnni/gemv.h"
#include "core/cpu.h"
#include "core/pack.h"

namespace prunus::avx512vnni {

void gemv_bitmask_vbmi(const GemvArgs &args);  // gemv_bitmask_vbmi.cc

void pack_bitmask(const Matrix &matrix, Packed &packed) {
  pack_all(matrix, kGemvRows, packed);
  packed.offset.clear();
  packed.extra.resize(std::size_t{2} * packed.groups * matrix.quads);
  const std::int8_t *from = packed.value.data();
  std::int8_t *to = packed.value.data();
  std::int32_t *extra = packed.extra.data();
  for (std::int32_t group = 0; group < packed.groups; ++group) {
    packed.begin[group] = static_cast<std::int32_t>(to - packed.value.data());
    for (std::int32_t quad = 0; quad < matrix.quads; ++quad, from += kGemvBlockBytes, extra += 2) {
      std::uint64_t mask = 0;
      for (int i = 0; i < kGemvBlockBytes; ++i) {
        const std::int8_t w = from[i];
        mask |= std::uint64_t{w != 0} << i;
        *to = w;
        to += w != 0;
      }
      std::memcpy(extra, &mask, sizeof mask);
    }
  }
  packed.begin[packed.groups] = static_cast<std::int32_t>(to - packed.value.data());
  packed.value.resize(packed.begin[packed.groups] + kGemvBlockBytes);  // whole vectors are read
  packed.value.shrink_to_fit();
}

void gemv_bitmask(const GemvArgs &args) {
  if (has_avx512vbmi()) return gemv_bitmask_vbmi(args);
  bitmask(args, [](std::uint64_t mask, const std::int8_t *value) {  // what vpexpandb does
    alignas(64) std::int8_t block[kGemvBlockBytes] = {};
    for (; mask != 0; mask &= mask - 1) block[std::countr_zero(mask)] = *value++;
    return _mm512_load_si512(block);
  });
}

}  // namespace prunus::avx512vnni
