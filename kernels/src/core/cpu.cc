#include "core/cpu.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace prunus {
namespace {

constexpr std::array<std::string_view, 8> kNames{"amx",      "avx512vnni", "avxvnni", "avx2",
                                                 "neoni8mm", "neondot",    "neon",    "generic"};

#if defined(__x86_64__)

struct Registers {
  std::uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Registers cpuid(std::uint32_t leaf, std::uint32_t subleaf = 0) {
  Registers r;
  if (!__get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx)) return {};
  return r;
}

constexpr bool all_set(std::uint32_t word, std::initializer_list<int> bits) {
  return std::ranges::all_of(bits, [&](int bit) { return word >> bit & 1; });
}

// The register files that the operating system saves and restores: XCR0.
std::uint32_t enabled_state() {
  if (!all_set(cpuid(1).ecx, {27})) return 0;
  std::uint32_t low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

// Linux hands out the 8 KB of tile registers on request only, once per process.
bool tiles_granted() {
#if defined(__linux__)
  constexpr int kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

bool has_avx512() {
  return all_set(enabled_state(), {1, 2, 5, 6, 7}) && all_set(cpuid(7).ebx, {16, 17, 30, 31});  // F DQ BW VL
}

bool has_avx2() {
  return all_set(enabled_state(), {1, 2}) && all_set(cpuid(1).ecx, {12}) && all_set(cpuid(7).ebx, {5});  // FMA, AVX2
}

#if PRUNUS_STAND_INS
constexpr bool kStandIns = true;  // avxvnni and amx are built of avx512vnni's instructions, for tests
#else
constexpr bool kStandIns = false;
#endif

bool machine_has(std::string_view isa) {
  if (kStandIns && (isa == "avxvnni" || isa == "amx")) return machine_has("avx512vnni");
  if (isa == "avx2") return has_avx2();
  if (isa == "avxvnni") return has_avx2() && all_set(cpuid(7, 1).eax, {4});
  if (isa == "avx512vnni") return has_avx2() && has_avx512() && all_set(cpuid(7).ecx, {11});
  if (isa == "amx")
    return machine_has("avx512vnni") && all_set(enabled_state(), {17, 18}) && all_set(cpuid(7).edx, {24, 25}) &&
           tiles_granted();
  return isa == "generic";
}

std::string processor_name() {
  char text[49] = {};
  for (std::uint32_t i = 0; i < 3; ++i) {
    const Registers r = cpuid(0x80000002 + i);
    std::memcpy(text + 16 * i, &r, 16);
  }
  const std::string_view name = text;
  const std::size_t first = name.find_first_not_of(' '), last = name.find_last_not_of(' ');
  return first == name.npos ? "x86-64" : std::string(name.substr(first, last - first + 1));
}

#elif defined(__aarch64__)

#if defined(__linux__)
bool has_dotprod() { return getauxval(AT_HWCAP) >> 20 & 1; }  // HWCAP_ASIMDDP
bool has_i8mm() { return getauxval(AT_HWCAP2) >> 13 & 1; }    // HWCAP2_I8MM
#elif defined(__APPLE__)
bool feature(const char *name) {
  std::int32_t value = 0;
  std::size_t size = sizeof(value);
  return sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value == 1;
}
bool has_dotprod() { return feature("hw.optional.arm.FEAT_DotProd"); }
bool has_i8mm() { return feature("hw.optional.arm.FEAT_I8MM"); }
#else
bool has_dotprod() { return false; }
bool has_i8mm() { return false; }
#endif

bool machine_has(std::string_view isa) {
  if (isa == "neondot") return has_dotprod();
  if (isa == "neoni8mm") return has_dotprod() && has_i8mm();
  return isa == "neon" || isa == "generic";
}

std::string processor_name() { return "aarch64"; }

#else

bool machine_has(std::string_view isa) { return isa == "generic"; }
std::string processor_name() { return "unknown processor"; }

#endif

// Whether `name` stands in the comma-separated `list`.
bool contains(std::string_view list, std::string_view name) {
  while (!list.empty()) {
    const std::size_t comma = std::min(list.find(','), list.size());
    if (list.substr(0, comma) == name) return true;
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return false;
}

std::vector<std::string> find_usable() {
  const char *wanted = std::getenv("PRUNUS_ISA");
  std::vector<std::string> isas;
  for (std::string_view isa : kNames) {
    const bool allowed = isa == "generic" || wanted == nullptr || *wanted == '\0' || contains(wanted, isa);
    if (allowed && machine_has(isa)) isas.emplace_back(isa);
  }
  return isas;
}

}  // namespace

const std::vector<std::string> &usable_isas() {
  static const std::vector<std::string> isas = find_usable();
  return isas;
}

std::span<const std::string_view> all_isas() { return kNames; }

std::string cpu_description() {
  std::string text = processor_name() + ",";
  for (const std::string &isa : usable_isas()) text += " " + isa;
  return text;
}

bool has_avx512vbmi() {
#if defined(__x86_64__)
  static const bool has = machine_has("avx512vnni") && all_set(cpuid(7).ecx, {1, 6});
  return has;
#else
  return false;
#endif
}

}  // namespace prunus
