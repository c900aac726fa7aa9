// Arrays of random bytes between pages that cannot be touched.
//
// An array stands against the page behind it, against the one before it, or a little off, so that reading or writing
// outside of it ends the program, and misalignment is the rule. What is left of its own pages is watched, too.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "random.h"

namespace prunus::check {

template <class T>
class Guarded {
 public:
  Guarded(Random &random, std::size_t count) : count_(count) {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    room_ = (count * sizeof(T) + kSlack + page - 1) / page * page;
    mapped_ = room_ + 2 * page;
    void *memory = mmap(nullptr, mapped_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) std::abort();
    base_ = static_cast<std::uint8_t *>(memory);
    begin_ = base_ + page;
    if (mprotect(begin_, room_, PROT_READ | PROT_WRITE) != 0) std::abort();
    for (std::size_t i = 0; i < room_; ++i) begin_[i] = kPattern;
    std::size_t at = room_ - count * sizeof(T);  // against the page behind
    if (random.chance(0.25)) at = 0;
    const auto off = alignof(T) * static_cast<std::size_t>(random.between(0, kSlack / alignof(T)));
    if (random.chance(0.25) && at > 0) at -= off;
    data_ = begin_ + at;
    for (std::size_t i = 0; i < count * sizeof(T); ++i) data_[i] = static_cast<std::uint8_t>(random.bits());
  }
  Guarded(Random &random, const std::vector<T> &values) : Guarded(random, values.size()) {
    for (std::size_t i = 0; i < count_; ++i) data()[i] = values[i];
  }
  Guarded(const Guarded &) = delete;
  Guarded &operator=(const Guarded &) = delete;
  ~Guarded() { munmap(base_, mapped_); }

  T *data() { return reinterpret_cast<T *>(data_); }
  const T *data() const { return reinterpret_cast<const T *>(data_); }
  std::size_t size() const { return count_; }
  T &operator[](std::size_t i) { return data()[i]; }
  const T &operator[](std::size_t i) const { return data()[i]; }
  std::vector<T> copy() const { return std::vector<T>(data(), data() + count_); }

  // Whether the bytes of the pages before and behind the array are as they were.
  bool intact() const {
    for (const std::uint8_t *p = begin_; p < data_; ++p)
      if (*p != kPattern) return false;
    for (const std::uint8_t *p = data_ + count_ * sizeof(T); p < begin_ + room_; ++p)
      if (*p != kPattern) return false;
    return true;
  }

 private:
  static constexpr std::size_t kSlack = 64;
  static constexpr std::uint8_t kPattern = 0xa5;
  std::size_t count_, room_ = 0, mapped_ = 0;
  std::uint8_t *base_ = nullptr, *begin_ = nullptr, *data_ = nullptr;
};

}  // namespace prunus::check
