// Bounded reading of packed models. What breaks the format throws Refused, which never leaves the C interface.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace prunus::coding {

static_assert(std::endian::native == std::endian::little, "files are little-endian");

// Why a file is refused; static text.
struct Refused {
  const char *why;
};

inline void require(bool condition, const char *why) {
  if (!condition) throw Refused{why};
}

// The bytes from `at` to `end`; nothing beyond is ever read.
struct Reader {
  const std::uint8_t *at;
  const std::uint8_t *end;

  std::size_t left() const { return static_cast<std::size_t>(end - at); }

  const std::uint8_t *take(std::uint64_t bytes, const char *why) {
    require(bytes <= left(), why);
    const std::uint8_t *begin = at;
    at += bytes;
    return begin;
  }

  template <class T>
  T take(const char *why) {
    T value;
    std::memcpy(&value, take(sizeof value, why), sizeof value);
    return value;
  }
};

}  // namespace prunus::coding
