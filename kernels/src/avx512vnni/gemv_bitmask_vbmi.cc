// vpexpandb puts the stored weights of a block where its mask says.
#include "avx512vnni/gemv.h"

namespace prunus::avx512vnni {

void gemv_bitmask_vbmi(const GemvArgs &args) {
  bitmask(args, [](std::uint64_t mask, const std::int8_t *value) __attribute__((always_inline)) {
    return _mm512_maskz_expand_epi8(mask, _mm512_loadu_si512(value));
  });
}

}  // namespace prunus::avx512vnni
