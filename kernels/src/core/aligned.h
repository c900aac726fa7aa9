// Arrays that begin on a 64-byte line.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

namespace prunus {

inline constexpr std::size_t kLine = 64;

template <class T>
struct AlignedAllocator {
  using value_type = T;
  AlignedAllocator() = default;
  template <class U>
  AlignedAllocator(const AlignedAllocator<U> &) {}
  T *allocate(std::size_t n) { return static_cast<T *>(::operator new(n * sizeof(T), std::align_val_t{kLine})); }
  void deallocate(T *p, std::size_t) { ::operator delete(p, std::align_val_t{kLine}); }
  template <class U>
  bool operator==(const AlignedAllocator<U> &) const {
    return true;
  }
};

template <class T>
using Aligned = std::vector<T, AlignedAllocator<T>>;

}  // namespace prunus

// Compiled once, in aligned.cc: a copy in the file of an instruction set would carry its instructions, and the linker
// might choose that copy for callers on other machines.
extern template class std::vector<std::int8_t, prunus::AlignedAllocator<std::int8_t>>;
extern template class std::vector<std::int32_t, prunus::AlignedAllocator<std::int32_t>>;
