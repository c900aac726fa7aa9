// The packed file: FORMAT.md describes it.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "network/definition.h"

namespace prunus {

static_assert(std::endian::native == std::endian::little, "files and arrays are little-endian");

struct FileHeader {
  std::uint8_t magic[8];
  std::uint32_t version;
  std::uint32_t checksum;  // CRC-32C of the file without these four bytes
  std::uint64_t bytes;     // of the file
  std::uint64_t words;     // of 32 bits, behind the header: tensors, inputs, outputs, operators
  std::uint32_t tensors, inputs, outputs, operators;
  std::uint8_t zeros[16];
};
static_assert(sizeof(FileHeader) == 64);

// Carriage return and newline show a file that was transferred as text.
inline constexpr std::uint8_t kFileMagic[8] = {'P', 'R', 'U', 'N', 'U', 'S', '\r', '\n'};
inline constexpr std::uint32_t kFileVersion = 1;
inline constexpr std::size_t kFileAlignment = 64;  // of the words and of each array

std::uint32_t file_checksum(const std::uint8_t *file, std::size_t bytes);

// The same bytes for the same definition, on every machine.
std::vector<std::uint8_t> packed_file(const Definition &definition);

// A new network with the file's definition. Throws Failure(PRUNUS_E_FILE) for anything malformed; what the operators'
// own checks refuse is malformed, too.
prunus_network *read_packed_file(const std::uint8_t *file, std::size_t bytes);

// prunus_network_load with the reason for a failure.
prunus_status load_network(const void *data, std::size_t bytes, prunus_network **network, std::string &why);

}  // namespace prunus
