// The tile instructions: eight registers of 16 rows of 64 bytes.
//
// Compiled with PRUNUS_EMULATED_TILES they are plain C++ with the same results, so that tests run the kernels of this
// folder on machines without AMX. The wrappers are assembly, because GCC 12's intrinsics take no template arguments as
// tile numbers and do not tell the compiler which memory they read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace prunus::amx::tile {
namespace {

inline constexpr int kTiles = 8, kRows = 16, kRowBytes = 64, kBytes = kRows * kRowBytes;

// What ldtilecfg reads: palette 1, all tiles at their full size.
struct alignas(64) Config {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};

  constexpr Config() {
    for (int t = 0; t < kTiles; ++t) {
      row_bytes[t] = kRowBytes;
      rows[t] = kRows;
    }
  }
};
static_assert(sizeof(Config) == 64);
inline constexpr Config kConfig;

#if PRUNUS_EMULATED_TILES

struct Registers {
  bool configured = false;
  std::uint8_t tile[kTiles][kRows][kRowBytes];
};
inline thread_local Registers registers;

inline void configure() { registers.configured = true; }
inline void release() { registers.configured = false; }

// Hardware faults where tiles are not configured.
inline auto &configured_tile(int t) {
  if (!registers.configured) std::abort();
  return registers.tile[t];
}

template <int kTile>
inline void zero() {
  std::memset(configured_tile(kTile), 0, kBytes);
}
template <int kTile>
inline void load(const void *p, std::ptrdiff_t stride) {
  for (int r = 0; r < kRows; ++r)
    std::memcpy(configured_tile(kTile)[r], static_cast<const std::uint8_t *>(p) + r * stride, kRowBytes);
}
template <int kTile>
inline void store(void *p) {
  std::memcpy(p, configured_tile(kTile), kBytes);
}
template <int kC, int kA, int kB>
inline void dot() {
  const auto &a = configured_tile(kA), &b = configured_tile(kB);
  auto &c = configured_tile(kC);
  for (int r = 0; r < kRows; ++r) {
    std::int32_t sum[kRowBytes / 4];
    std::memcpy(sum, c[r], kRowBytes);
    for (int k = 0; k < kRowBytes; ++k)
      for (int n = 0; n < kRowBytes / 4; ++n) sum[n] += static_cast<std::int8_t>(a[r][k]) * b[k / 4][4 * n + k % 4];
    std::memcpy(c[r], sum, kRowBytes);
  }
}

#else

inline void configure() { asm volatile("ldtilecfg %0" : : "m"(kConfig)); }
inline void release() { asm volatile("tilerelease"); }

template <int kTile>
inline void zero() {
  asm volatile("tilezero %%tmm%c0" : : "i"(kTile));
}
// Rows of 64 bytes, `stride` bytes apart.
template <int kTile>
inline void load(const void *p, std::ptrdiff_t stride) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(p), "r"(stride), "i"(kTile) : "memory");
}
// 1024 contiguous bytes.
template <int kTile>
inline void store(void *p) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(p), "r"(std::ptrdiff_t{kRowBytes}), "i"(kTile) : "memory");
}
// c[i][j] += sum over k of a[i][k] (s8) * b[k / 4][4 j + k % 4] (u8), 16 x 16 sums of 64 products
template <int kC, int kA, int kB>
inline void dot() {
  asm volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kC), "i"(kA), "i"(kB));
}

#endif

// Tiles are configured for the length of a call: their state slows down context switches, and is nobody else's.
class Session {
 public:
  Session() { configure(); }
  ~Session() { release(); }
  Session(const Session &) = delete;
  Session &operator=(const Session &) = delete;
};

}  // namespace
}  // namespace prunus::amx::tile
