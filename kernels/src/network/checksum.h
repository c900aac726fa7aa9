// CRC-32C (Castagnoli), reflected, as in iSCSI and ext4.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace prunus {

inline constexpr std::array<std::uint32_t, 256> kCrcTable = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ (value & 1 ? 0x82F63B78u : 0);
    table[i] = value;
  }
  return table;
}();

// Continues from the checksum of what came before, 0 at the beginning.
inline std::uint32_t crc32c(std::uint32_t before, const std::uint8_t *data, std::size_t bytes) {
  std::uint32_t value = ~before;
  for (std::size_t i = 0; i < bytes; ++i) value = value >> 8 ^ kCrcTable[(value ^ data[i]) & 0xFF];
  return ~value;
}

}  // namespace prunus
