#include "core/aligned.h"

template class std::vector<std::int8_t, prunus::AlignedAllocator<std::int8_t>>;
template class std::vector<std::int32_t, prunus::AlignedAllocator<std::int32_t>>;
