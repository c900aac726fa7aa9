// Table-driven decoding: the next `depth` bits name the symbol and its length. Segments begin on bytes of their own, so
// four of them are decoded side by side, which hides the latency of the table.
#include "coding/huffman.h"

#include <algorithm>
#include <array>
#include <vector>

namespace prunus::coding {
namespace {

constexpr std::size_t kSegment = 4096;  // symbols
constexpr std::size_t kSymbols = 256;
constexpr std::size_t kLanes = 4;
constexpr std::size_t kWord = 8;   // bytes of one load, of which at least 57 bits are fresh
constexpr std::size_t kPerLoad = 3;  // codes of up to 15 bits in them

struct Entry {
  std::uint8_t symbol, length;
};

struct Code {
  unsigned depth = 0;  // bits that index the table; 0: a lone symbol that takes no bits
  std::vector<Entry> table;
};

Code read_code(Reader &reader) {
  const auto first = reader.take<std::uint8_t>("A code is cut short.");
  const std::size_t span = std::size_t{reader.take<std::uint8_t>("A code is cut short.")} + 1;
  const std::uint8_t *nibbles = reader.take((span + 1) / 2, "A code or the sizes of its segments are cut short.");
  require(span % 2 == 0 || nibbles[span / 2] >> 4 == 0, "A code has a length beyond its last symbol.");
  std::array<std::uint8_t, kSymbols> lengths{};
  std::size_t used = 0;
  Code code;
  for (std::size_t i = 0; i < span; ++i) {
    const std::uint8_t length = i % 2 ? nibbles[i / 2] >> 4 : nibbles[i / 2] & 15;
    lengths[(first + i) % kSymbols] = length;
    used += length > 0;
    code.depth = std::max<unsigned>(code.depth, length);
  }
  if (span == 1 && used == 0) {
    code.table = {{first, 0}};
    return code;
  }
  std::size_t leaves = 0;  // of the complete tree, that the codes cover
  for (std::uint8_t length : lengths) leaves += length ? std::size_t{1} << (code.depth - length) : 0;
  require(used >= 2 && leaves == std::size_t{1} << code.depth,
          "The lengths of a code do not make a complete prefix code.");
  code.table.reserve(leaves);
  for (unsigned length = 1; length <= code.depth; ++length) {
    for (std::size_t symbol = 0; symbol < kSymbols; ++symbol) {
      if (lengths[symbol] == length)
        code.table.insert(code.table.end(), std::size_t{1} << (code.depth - length),
                          Entry{static_cast<std::uint8_t>(symbol), static_cast<std::uint8_t>(length)});
    }
  }
  return code;
}

std::uint64_t big_endian(const std::uint8_t *bytes) {
  std::uint64_t word = 0;
  for (std::size_t i = 0; i < kWord; ++i) word = word << 8 | bytes[i];  // compilers make it one load and a swap
  return word;
}

// One segment: its bytes, the bit that comes next, and where its symbols go.
struct Lane {
  const std::uint8_t *bytes;
  std::size_t size;
  std::size_t bit = 0;
  std::uint8_t *out;
  std::size_t left;  // symbols

  bool roomy() const { return bit / 8 + kWord <= size && left >= kPerLoad; }

  void step(const Code &code, std::size_t stride) {
    std::uint64_t word = big_endian(bytes + bit / 8) << bit % 8;
    for (std::size_t i = 0; i < kPerLoad; ++i) {
      const Entry entry = code.table[word >> (64 - code.depth)];
      *out = entry.symbol;
      out += stride;
      word <<= entry.length;
      bit += entry.length;
    }
    left -= kPerLoad;
  }

  // The last symbols, from a copy with zeros behind the segment.
  void finish(const Code &code, std::size_t stride) {
    while (roomy()) step(code, stride);
    for (; left > 0; --left, out += stride) {
      std::uint8_t tail[kWord] = {};
      const std::size_t from = std::min(bit / 8, size);
      std::copy_n(bytes + from, std::min(kWord, size - from), tail);
      const Entry entry = code.table[big_endian(tail) << bit % 8 >> (64 - code.depth)];
      *out = entry.symbol;
      bit += entry.length;
      require(bit <= size * 8, "A segment's codes do not end where the segment ends.");
    }
    require((bit + 7) / 8 == size, "A segment's codes do not end where the segment ends.");
    const unsigned spare = static_cast<unsigned>(size * 8 - bit);
    require(size == 0 || (bytes[size - 1] & ((1u << spare) - 1)) == 0, "Bits behind the codes of a segment are not zero.");
  }
};

void decode_segments(std::vector<Lane> &lanes, const Code &code, std::size_t stride) {
  std::size_t first = 0;
  for (; first + kLanes <= lanes.size(); first += kLanes) {
    std::array<Lane, kLanes> group;
    std::copy_n(lanes.begin() + static_cast<std::ptrdiff_t>(first), kLanes, group.begin());
    while (group[0].roomy() && group[1].roomy() && group[2].roomy() && group[3].roomy()) {
      for (Lane &lane : group) lane.step(code, stride);
    }
    for (Lane &lane : group) lane.finish(code, stride);
  }
  for (; first < lanes.size(); ++first) lanes[first].finish(code, stride);
}

// A lone symbol: no segment has a byte.
void repeat(Reader &sizes, std::size_t count, std::uint8_t symbol, std::uint8_t *out, std::size_t stride) {
  while (sizes.left()) require(sizes.take<std::uint16_t>("") == 0, "A segment's codes do not end where the segment ends.");
  for (std::size_t i = 0; i < count; ++i) out[i * stride] = symbol;
}

}  // namespace

void read_stream(Reader &reader, std::size_t count, std::uint8_t *out, std::size_t stride) {
  const auto kind = reader.take<std::uint8_t>("A stream has no kind that this version knows.");
  require(kind <= 1, "A stream has no kind that this version knows.");
  if (kind == 0) {
    const std::uint8_t *plain = reader.take(count, "A stream of plain bytes is cut short.");
    for (std::size_t i = 0; i < count; ++i) out[i * stride] = plain[i];
    return;
  }
  const Code code = read_code(reader);
  const std::size_t segments = (count + kSegment - 1) / kSegment;
  const std::uint8_t *sizes_at = reader.take(2 * segments, "A code or the sizes of its segments are cut short.");
  Reader sizes{sizes_at, sizes_at + 2 * segments};
  if (code.depth == 0) return repeat(sizes, count, code.table[0].symbol, out, stride);
  std::vector<Lane> lanes;
  lanes.reserve(segments);
  for (std::size_t done = 0; done < count; done += kSegment) {
    const std::size_t size = sizes.take<std::uint16_t>("");
    lanes.push_back({reader.take(size, "A stream's segments are cut short."), size, 0, out + done * stride,
                     std::min(kSegment, count - done)});
  }
  decode_segments(lanes, code, stride);
}

}  // namespace prunus::coding
