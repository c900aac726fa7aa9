// The Huffman forms of a tensor, dense and sparse.
#pragma once

#include "coding/reader.h"

namespace prunus::coding {

// Decodes the whole of `reader` into the tensor's bytes; elements have `bits` bits. Throws Refused or std::bad_alloc.
void read_tensor(Reader reader, bool sparse, unsigned bits, std::uint8_t *out, std::size_t bytes);

}  // namespace prunus::coding
