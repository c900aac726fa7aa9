// Loads damaged copies of a packed file, with checksums that fit: built with sanitizers, which stop at the first byte
// that is read or written where it must not be.
//
//   packed_check FILE   prints how many copies were refused and how many were loaded
//
// Every word of the header and the metadata takes extreme values, every byte a few, every length is tried, and then
// random combinations. What loads must save and load again.
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

#include "network/file.h"

namespace {

using Bytes = std::vector<std::uint8_t>;

int refused = 0, loaded = 0;

void seal(Bytes &file) {
  if (file.size() < sizeof(prunus::FileHeader)) return;
  const std::uint32_t checksum = prunus::file_checksum(file.data(), file.size());
  std::memcpy(file.data() + offsetof(prunus::FileHeader, checksum), &checksum, sizeof checksum);
}

// A copy of its own on the heap, so that sanitizers see the end.
void load(Bytes file) {
  seal(file);
  const Bytes exact(file.begin(), file.end());
  prunus_network *net = nullptr;
  const prunus_status status = prunus_network_load(exact.data(), exact.size(), &net);
  if (status != PRUNUS_OK) {
    if (net || (status != static_cast<int>(PRUNUS_E_FILE) && status != static_cast<int>(PRUNUS_E_MEMORY))) std::abort();
    ++refused;
    return;
  }
  std::size_t bytes = 0;
  if (prunus_network_save(net, nullptr, &bytes) != PRUNUS_OK) std::abort();
  Bytes saved(bytes);
  if (prunus_network_save(net, saved.data(), &bytes) != PRUNUS_OK) std::abort();
  prunus_network_destroy(net);
  if (prunus_network_load(saved.data(), saved.size(), &net) != PRUNUS_OK) std::abort();
  prunus_network_destroy(net);
  ++loaded;
}

void set_word(Bytes &file, std::size_t at, std::uint32_t value) { std::memcpy(file.data() + at, &value, sizeof value); }

constexpr std::uint32_t kEdges[] = {0,      1,       2,         5,          6,          7,           63,        64,
                                    255,    0x7FFF,  0x10000,   0x1000000,  0x7FFFFFC0, 0x7FFFFFFF,  0x80000000, 0xFFFFFFC0,
                                    0xFFFFFFFF};

}  // namespace

int main(int, char **argv) {
  std::ifstream stream(argv[1], std::ios::binary);
  const Bytes file((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
  if (file.size() < sizeof(prunus::FileHeader)) return 2;
  load(file);
  if (loaded != 1) return 3;
  prunus::FileHeader header;
  std::memcpy(&header, file.data(), sizeof header);
  for (std::size_t at = 8; at < sizeof header + header.words * 4; at += 4) {
    for (std::uint32_t value : kEdges) {
      Bytes changed = file;
      set_word(changed, at, value);
      load(changed);
    }
  }
  for (std::size_t at = 0; at < file.size(); ++at) {
    for (std::uint8_t flip : {0x01, 0x80, 0xFF}) {
      Bytes changed = file;
      changed[at] ^= flip;
      load(changed);
    }
    Bytes shorter(file.begin(), file.begin() + static_cast<long>(at));
    load(shorter);
    if (at < sizeof header) continue;
    header.bytes = shorter.size();
    std::memcpy(shorter.data(), &header, sizeof header);
    load(shorter);
  }
  std::mt19937 random(1);
  for (int round = 0; round < 20000; ++round) {
    Bytes changed = file;
    for (unsigned count = random() % 4 + 1; count > 0; --count) {
      const std::size_t at = random() % (changed.size() / 4) * 4;
      set_word(changed, at, random() % 2 ? kEdges[random() % std::size(kEdges)] : random() % 70);
    }
    load(changed);
  }
  std::printf("refused %d loaded %d\n", refused, loaded);
}
