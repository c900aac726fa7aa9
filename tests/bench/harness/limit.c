/* What one core can do at most: int8 multiply-accumulates per second of each instruction, bytes read per second.
 * Built and called by limit.py, which asks only for instructions that the CPU has. Each function runs for about
 * `seconds` and returns the best rate that it saw. */
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { kChains = 12, kRounds = 20000 }; /* enough independent chains to hide the latency of one */

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The best rate of `run`, which does `work` per call. */
static double best_rate(void (*run)(void), double work, double seconds) {
  double best = 0;
  for (double end = now() + seconds; now() < end;) {
    double start = now();
    run();
    double rate = work / (now() - start);
    if (rate > best) best = rate;
  }
  return best;
}

/* The empty asm makes the compiler compute each step anew, in a register. */
__attribute__((target("avx512f,avx512vnni"))) static void run_avx512vnni(void) {
  __m512i x = _mm512_set1_epi32(0x01010101), acc[kChains] = {0};
  for (int round = 0; round < kRounds; ++round) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) {
      acc[i] = _mm512_dpbusd_epi32(acc[i], x, x);
      __asm__ volatile("" : "+v"(acc[i]));
    }
  }
}

__attribute__((target("avx2,avxvnni"))) static void run_avxvnni(void) {
  __m256i x = _mm256_set1_epi32(0x01010101), acc[kChains] = {0};
  for (int round = 0; round < kRounds; ++round) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) {
      acc[i] = _mm256_dpbusd_avx_epi32(acc[i], x, x);
      __asm__ volatile("" : "+x"(acc[i]));
    }
  }
}

/* Without VNNI: products in pairs to int16, those in pairs to int32, and an addition. */
__attribute__((target("avx2"))) static void run_avx2(void) {
  __m256i x = _mm256_set1_epi32(0x01010101), one = _mm256_set1_epi16(1), acc[kChains] = {0};
  for (int round = 0; round < kRounds; ++round) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) {
      __m256i pairs = _mm256_maddubs_epi16(x, x);
      __asm__ volatile("" : "+x"(pairs));
      acc[i] = _mm256_add_epi32(acc[i], _mm256_madd_epi16(pairs, one));
      __asm__ volatile("" : "+x"(acc[i]));
    }
  }
}

/* Four accumulator tiles, one of weights and one of activations. */
__attribute__((target("amx-tile,amx-int8"))) static void run_amx(void) {
  for (int round = 0; round < kRounds / 20; ++round) {
    _tile_dpbusd(0, 4, 5);
    _tile_dpbusd(1, 4, 5);
    _tile_dpbusd(2, 4, 5);
    _tile_dpbusd(3, 4, 5);
  }
}

double avx512vnni_macs(double seconds) { return best_rate(run_avx512vnni, 64.0 * kChains * kRounds, seconds); }
double avxvnni_macs(double seconds) { return best_rate(run_avxvnni, 32.0 * kChains * kRounds, seconds); }
double avx2_macs(double seconds) { return best_rate(run_avx2, 32.0 * kChains * kRounds, seconds); }

/* 0 if the operating system does not hand out tiles. */
__attribute__((target("amx-tile,amx-int8"))) double amx_macs(double seconds) {
  enum { kArchReqXcompPerm = 0x1023, kTileData = 18 };
  if (syscall(SYS_arch_prctl, kArchReqXcompPerm, kTileData)) return 0;
  struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t bytes_per_row[16];
    uint8_t rows[16];
  } config = {.palette = 1};
  for (int tile = 0; tile < 6; ++tile) {
    config.bytes_per_row[tile] = 64;
    config.rows[tile] = 16;
  }
  _tile_loadconfig(&config); /* zeroes the tiles, too */
  double rate = best_rate(run_amx, 4.0 * 16 * 16 * 64 * (kRounds / 20), seconds);
  _tile_release();
  return rate;
}

/* Reading `bytes` of `data` from its start to its end, a multiple of 256. */
__attribute__((target("avx2"))) double read_bytes(const uint8_t *data, size_t bytes, double seconds) {
  size_t passes = bytes < 1u << 22 ? (1u << 22) / bytes : 1;
  double best = 0;
  for (double end = now() + seconds; now() < end;) {
    double start = now();
    for (size_t pass = 0; pass < passes; ++pass) {
      for (size_t i = 0; i < bytes; i += 256) {
#pragma GCC unroll 8
        for (size_t j = 0; j < 256; j += 32) {
          __m256i v = _mm256_loadu_si256((const __m256i *)(data + i + j));
          __asm__ volatile("" : : "x"(v));
        }
      }
    }
    double rate = (double)(bytes * passes) / (now() - start);
    if (rate > best) best = rate;
  }
  return best;
}
