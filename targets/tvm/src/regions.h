// The integer regions of a model, packed: data that is linked into the library (written by networks.py).
#pragma once

#include <cstdint>

namespace prunus::tvm {

// `packed` .. `end`: what prunus_network_load takes. `traced`: tensors of the network that a trace shows besides its
// outputs, by number.
struct Region {
  const unsigned char *packed, *end;
  const std::int32_t *traced;
  std::int32_t traced_count;
};

extern const Region regions[];
extern const std::int32_t region_count;

}  // namespace prunus::tvm
