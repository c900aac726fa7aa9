#include "coding/tensor.h"

#include <algorithm>
#include <bit>
#include <vector>

#include "coding/huffman.h"

namespace prunus::coding {
namespace {

enum Layout : std::uint8_t { kSymbols, kPalette, kPlanes };
enum Places : std::uint8_t { kGaps, kBitmap };
constexpr unsigned kFiller = 255;  // a gap of 255 after which no element follows

using Bytes = std::vector<std::uint8_t>;

struct Head {
  std::uint8_t layout, per_symbol;
  std::uint16_t entries;  // of the palette
  std::uint8_t left_out;
  std::uint8_t places;  // Places
  std::uint8_t zeros[2];
};
static_assert(sizeof(Head) == 8);

unsigned index_bits(unsigned entries) { return entries <= 2 ? 1 : entries <= 4 ? 2 : entries <= 16 ? 4 : 8; }

// Bits of an element in a symbol.
unsigned symbol_bits(const Head &head, unsigned bits) {
  return head.layout == kPalette ? index_bits(head.entries) : std::min(bits, 8u);
}

bool layout_fits(const Head &head, unsigned bits) {
  switch (head.layout) {
    case kSymbols: return bits <= 8 && head.entries == 0 && head.left_out < 1u << bits;
    case kPalette: return bits >= 8 && head.entries > 0 && head.entries <= 256 && head.left_out < head.entries;
    case kPlanes: return bits >= 16 && head.entries == 0 && head.left_out == 0 && head.per_symbol == 1;
    default: return false;
  }
}

Head read_head(Reader &reader, bool sparse, unsigned bits) {
  const Head head = reader.take<Head>("The form of a tensor is cut short.");
  require(!head.zeros[0] && !head.zeros[1] && head.places <= (sparse ? kBitmap : 0), "Spare bytes of a form are not zero.");
  require(layout_fits(head, bits), "A tensor has a layout that does not fit its elements.");
  const unsigned per = head.per_symbol;
  require((per == 1 || per == 2 || per == 4 || per == 8) && per * symbol_bits(head, bits) <= 8,
          "A tensor has more elements in a symbol than fit.");
  return head;
}

constexpr const char *kMisfit = "A sparse tensor's places do not fit its elements.";

using Positions = std::vector<std::uint64_t>;

Positions of_gaps(const Bytes &gaps, std::size_t count) {
  Positions positions;
  std::uint64_t at = 0;
  for (std::uint8_t gap : gaps) {
    at += gap;
    if (gap != kFiller) positions.push_back(at++);
    require(at <= count, "The gaps of a sparse tensor lead beyond its end.");
  }
  return positions;
}

Positions of_bitmap(const Bytes &symbols, std::size_t count) {
  Positions positions;
  for (std::size_t i = 0; i < symbols.size(); ++i) {
    for (unsigned rest = symbols[i]; rest; rest &= rest - 1)
      positions.push_back(i * 8 + static_cast<unsigned>(std::countr_zero(rest)));
  }
  require(positions.empty() || positions.back() < count, kMisfit);
  return positions;
}

// Positions of the elements that a sparse tensor keeps.
Positions read_positions(Reader &reader, const Head &head, std::uint64_t kept, std::size_t count) {
  const auto size = reader.take<std::uint64_t>("The form of a tensor is cut short.");
  const bool bitmap = head.places == kBitmap;
  const bool fits = bitmap ? size == (count + 7) / 8 : size >= kept && size - kept <= count / kFiller;
  require(kept <= count && fits, "A sparse tensor names more elements than it has.");
  Bytes symbols(size);
  read_stream(reader, symbols.size(), symbols.data(), 1);
  Positions positions = bitmap ? of_bitmap(symbols, count) : of_gaps(symbols, count);
  require(positions.size() == kept, kMisfit);
  return positions;
}

// One byte per element: the symbols taken apart.
Bytes read_codes(Reader &reader, const Head &head, unsigned bits, std::size_t count) {
  const unsigned per = head.per_symbol, width = symbol_bits(head, bits);
  Bytes symbols((count + per - 1) / per);
  read_stream(reader, symbols.size(), symbols.data(), 1);
  if (per > 1) {
    Bytes codes(symbols.size() * per);
    for (std::size_t i = 0; i < codes.size(); ++i)
      codes[i] = static_cast<std::uint8_t>(symbols[i / per] >> i % per * width & ((1u << width) - 1));
    bool spare = std::any_of(codes.begin() + static_cast<std::ptrdiff_t>(count), codes.end(), [](auto c) { return c; });
    if (per * width < 8) spare |= std::any_of(symbols.begin(), symbols.end(), [&](auto s) { return s >> per * width; });
    require(!spare, "Spare bits of a symbol are not zero.");
    codes.resize(count);
    return codes;
  }
  const unsigned limit = head.layout == kPalette ? head.entries : 1u << width;
  require(std::all_of(symbols.begin(), symbols.end(), [&](auto s) { return s < limit; }),
          head.layout == kPalette ? "An index is beyond its palette." : "A 4-bit element has more than four bits.");
  return symbols;
}

// Elements of `width` bytes, one behind the other.
Bytes read_elements(Reader &reader, const Head &head, const std::uint8_t *palette, unsigned bits, std::size_t count) {
  if (head.layout != kPlanes) {
    Bytes codes = read_codes(reader, head, bits, count);
    if (head.layout == kSymbols) return codes;
    require(std::all_of(codes.begin(), codes.end(), [&](auto c) { return c < head.entries; }),
            "An index is beyond its palette.");
    const std::size_t width = bits / 8;
    Bytes elements(count * width);
    for (std::size_t i = 0; i < count; ++i) std::copy_n(palette + codes[i] * width, width, &elements[i * width]);
    return elements;
  }
  const std::size_t width = bits / 8;
  Bytes elements(count * width);
  for (std::size_t plane = 0; plane < width; ++plane)
    read_stream(reader, count, elements.data() + plane, width);
  return elements;
}

// The element that a sparse tensor leaves out, at every place.
Bytes background(const Head &head, const std::uint8_t *palette, std::size_t count, std::size_t width) {
  Bytes all(count * width, head.layout == kSymbols ? head.left_out : std::uint8_t{0});
  if (head.layout == kPalette) {
    for (std::size_t i = 0; i < count; ++i) std::copy_n(palette + head.left_out * width, width, &all[i * width]);
  }
  return all;
}

}  // namespace

void read_tensor(Reader reader, bool sparse, unsigned bits, std::uint8_t *out, std::size_t bytes) {
  require((bits == 4 || bits == 8 || bits == 16 || bits == 32 || bits == 64) && bytes * 8 % bits == 0,
          "A tensor's bytes are no whole number of its elements.");
  const Head head = read_head(reader, sparse, bits);
  const std::size_t count = bytes * 8 / bits, width = std::max(bits / 8, 1u);
  const std::uint8_t *palette = reader.take(std::uint64_t{head.entries} * width, "A palette is cut short.");
  Bytes elements;
  if (!sparse) {
    elements = read_elements(reader, head, palette, bits, count);
  } else {
    const auto kept = reader.take<std::uint64_t>("The form of a tensor is cut short.");
    const Positions positions = read_positions(reader, head, kept, count);
    const Bytes values = read_elements(reader, head, palette, bits, kept);
    elements = background(head, palette, count, width);
    for (std::size_t i = 0; i < kept; ++i) std::copy_n(&values[i * width], width, &elements[positions[i] * width]);
  }
  require(reader.left() == 0, "Bytes behind the form of a tensor belong to nothing.");
  if (bits != 4) {
    std::copy(elements.begin(), elements.end(), out);
    return;
  }
  for (std::size_t i = 0; i < bytes; ++i) out[i] = static_cast<std::uint8_t>(elements[2 * i] | elements[2 * i + 1] << 4);
}

}  // namespace prunus::coding
