// Unpacks damaged copies of a packed model, with checksums that fit: built with sanitizers, which stop at the first byte
// that is read or written where it must not be.
//
//   coding_check FILE   prints how many copies were refused and how many were unpacked
//
// Every word of the header and the table takes extreme values, every byte a few, every length is tried, and then random
// combinations. A decompressor that fills its buffer stands in for zstd.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

#include "coding/file.h"
#include "prunus/coding.h"

namespace {

using Bytes = std::vector<std::uint8_t>;
using prunus::coding::Header;

int refused = 0, unpacked = 0;
constexpr std::uint64_t kLimit = 1 << 22;

std::size_t fill(void *context, void *out, std::size_t out_bytes, const void *in, std::size_t in_bytes) {
  volatile std::uint8_t seen = 0;  // sanitizers see what is read
  for (std::size_t i = 0; i < in_bytes; ++i) seen = static_cast<const std::uint8_t *>(in)[i];
  std::memset(out, seen, out_bytes);
  return *static_cast<bool *>(context) ? out_bytes : out_bytes + 1;
}

void put(Bytes &file, std::size_t at, std::uint32_t value) { std::memcpy(file.data() + at, &value, sizeof value); }

// Checksums of the sections and the model cannot be made to fit without decoding, so that most copies end there.
bool unpack(Bytes file) {
  if (file.size() >= sizeof(Header))
    put(file, offsetof(Header, checksum), prunus::coding::file_checksum(file.data(), file.size()));
  const Bytes exact(file.begin(), file.end());  // on the heap of its own, so that sanitizers see the end
  std::uint64_t bytes = 0;
  const char *why = "";
  prunus_status status = prunus_model_bytes(exact.data(), exact.size(), &bytes, &why);
  if (status == PRUNUS_OK && bytes <= kLimit) {
    Bytes model(bytes + 1);
    bool whole = exact.size() % 2;
    status = prunus_model_unpack(exact.data(), exact.size(), fill, &whole, model.data(), bytes, &why);
  }
  if (status != PRUNUS_OK) {
    if (!*why || (status != static_cast<int>(PRUNUS_E_FILE) && status != static_cast<int>(PRUNUS_E_MEMORY))) std::abort();
    ++refused;
    return false;
  }
  ++unpacked;
  return true;
}

constexpr std::uint32_t kEdges[] = {0,      1,       2,         3,          7,          8,          63,        255,
                                    0x7FFF, 0x10000, 0x1000000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFC0, 0xFFFFFFFF};

}  // namespace

int main(int, char **argv) {
  std::ifstream stream(argv[1], std::ios::binary);
  const Bytes file((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
  if (file.size() < sizeof(Header)) return 2;
  if (!unpack(file)) return 3;
  Header header;
  std::memcpy(&header, file.data(), sizeof header);
  const std::size_t table_end = sizeof header + header.sections * sizeof(prunus::coding::Section);
  for (std::size_t at = 8; at < table_end; at += 4) {
    for (std::uint32_t value : kEdges) {
      Bytes changed = file;
      put(changed, at, value);
      unpack(changed);
    }
  }
  for (std::size_t at = 0; at < file.size(); ++at) {
    for (std::uint8_t flip : {0x01, 0x80, 0xFF}) {
      Bytes changed = file;
      changed[at] ^= flip;
      unpack(changed);
    }
    Bytes shorter(file.begin(), file.begin() + static_cast<long>(at));
    if (at >= sizeof header) {
      header.bytes = shorter.size();
      std::memcpy(shorter.data(), &header, sizeof header);
    }
    unpack(shorter);
  }
  std::mt19937 random(1);
  for (int round = 0; round < 5000; ++round) {
    Bytes changed = file;
    for (unsigned count = random() % 4 + 1; count > 0; --count) {
      const std::size_t at = random() % (changed.size() - 4);
      put(changed, at, random() % 2 ? kEdges[random() % std::size(kEdges)] : random());
    }
    unpack(changed);
  }
  std::printf("refused %d unpacked %d\n", refused, unpacked);
}
