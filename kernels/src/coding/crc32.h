// CRC-32 as in zlib and PNG, eight bytes at a time (slicing-by-8, Kounavis and Berry 2005).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace prunus::coding {

inline constexpr std::array<std::array<std::uint32_t, 256>, 8> kSlices = [] {
  std::array<std::array<std::uint32_t, 256>, 8> slices{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ (value & 1 ? 0xEDB88320u : 0);
    slices[0][i] = value;
  }
  for (std::size_t slice = 1; slice < 8; ++slice) {
    for (std::size_t i = 0; i < 256; ++i)
      slices[slice][i] = slices[slice - 1][i] >> 8 ^ slices[0][slices[slice - 1][i] & 0xFF];
  }
  return slices;
}();

// Continues from the checksum of what came before, 0 at the beginning.
inline std::uint32_t crc32(std::uint32_t before, const std::uint8_t *data, std::size_t bytes) {
  std::uint32_t value = ~before;
  for (; bytes >= 8; data += 8, bytes -= 8) {
    std::uint32_t low, high;
    std::memcpy(&low, data, 4), std::memcpy(&high, data + 4, 4);
    low ^= value;
    value = kSlices[7][low & 0xFF] ^ kSlices[6][low >> 8 & 0xFF] ^ kSlices[5][low >> 16 & 0xFF] ^ kSlices[4][low >> 24] ^
            kSlices[3][high & 0xFF] ^ kSlices[2][high >> 8 & 0xFF] ^ kSlices[1][high >> 16 & 0xFF] ^
            kSlices[0][high >> 24];
  }
  for (; bytes > 0; ++data, --bytes) value = value >> 8 ^ kSlices[0][(value ^ *data) & 0xFF];
  return ~value;
}

}  // namespace prunus::coding
