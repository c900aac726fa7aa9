// Matrix times one vector with zeros anywhere: per 16 x 4 block 64 bits that say which weights are stored. It reads the
// fewest bytes, so it wins where weights come from memory.
#include <bit>

#include "avx512vnni/gemv.h"
#include "core/cpu.h"

namespace prunus::avx512vnni {

void gemv_bitmask_vbmi(const GemvArgs &args);  // gemv_bitmask_vbmi.cc

void gemv_bitmask(const GemvArgs &args) {
  if (has_avx512vbmi()) return gemv_bitmask_vbmi(args);
  bitmask(args, [](std::uint64_t mask, const std::int8_t *value) {  // what vpexpandb does
    alignas(64) std::int8_t block[kGemvBlockBytes] = {};
    for (; mask != 0; mask &= mask - 1) block[std::countr_zero(mask)] = *value++;
    return _mm512_load_si512(block);
  });
}

}  // namespace prunus::avx512vnni
