// Streams of symbols: plain bytes, or a canonical Huffman code of at most 15 bits in segments of 4096 symbols.
#pragma once

#include "coding/reader.h"

namespace prunus::coding {

// Reads a stream of `count` symbols into out[0], out[stride], … Throws Refused.
void read_stream(Reader &reader, std::size_t count, std::uint8_t *out, std::size_t stride);

}  // namespace prunus::coding
