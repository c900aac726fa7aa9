// The packed model as a file: compiler/coding/FORMAT.md describes it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace prunus::coding {

struct Header {
  std::uint8_t magic[8];
  std::uint32_t version;
  std::uint32_t checksum;  // CRC-32 of the file without these four bytes
  std::uint64_t bytes;     // of the file
  std::uint64_t model_bytes;
  std::uint32_t model_checksum;
  std::uint32_t sections;
  std::uint8_t zeros[24];
};
static_assert(sizeof(Header) == 64);

#pragma pack(push, 1)
struct Section {
  std::uint64_t start;  // in the model; section 0, the graph, is what the others leave
  std::uint64_t bytes;
  std::uint64_t stored;
  std::uint32_t checksum;  // CRC-32 of its model bytes
  std::uint8_t method;     // Method
  std::uint8_t bits;       // of an element
  std::uint16_t zero;
};
#pragma pack(pop)
static_assert(sizeof(Section) == 32);

enum Method : std::uint8_t { kStored, kZstd, kHuffman, kSparseHuffman };

inline constexpr std::uint8_t kMagic[8] = {0x89, 'P', 'R', 'Z', '\r', '\n', 0x1A, '\n'};
inline constexpr std::uint32_t kVersion = 1;
inline constexpr std::uint64_t kMaxExpansion = 1 << 16;  // bytes of a section per byte that is stored

// The checksum that belongs into a file's header. The file has at least a header.
std::uint32_t file_checksum(const std::uint8_t *file, std::size_t bytes);

}  // namespace prunus::coding
