// Compares every micro-kernel of the table with a slow definition, over random shapes, between guard pages.
//
//   cmake -S tests/kernels/native -B /tmp/check && cmake --build /tmp/check -j2 && /tmp/check/kernel_check
//
// For another machine: add -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64
// -DCMAKE_C_COMPILER=aarch64-linux-gnu-gcc -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ -DCMAKE_EXE_LINKER_FLAGS=-static
// and run it with qemu-aarch64 -cpu max. For avxvnni and amx on a machine that has AVX512-VNNI only: add
// -DPRUNUS_STAND_INS=ON, which compiles the same sources for 256-bit AVX512-VNNI (the same products, another encoding)
// and for emulated tiles (amx/tile.h). With sanitizers: add -DCMAKE_CXX_FLAGS=-fsanitize=address,undefined.
//
// Options: --cases N (of every kernel, 300), --seed S, --isa NAME, --kernel NAME (a part of it will do), --case I (only
// this one, as a failure names it), --fault weight|halo|write|read (a seeded fault: the check must fail).
// Exit status: 0 all agree, 1 some differ or touched bytes that they must not, 2 usage, 3 this machine lacks the --isa.
#include <signal.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "check.h"
#include "core/cpu.h"
#include "core/table.h"

namespace prunus::check {
namespace {

struct Options {
  std::int64_t cases = 300, seed = 1;
  std::optional<std::int64_t> only;
  std::string isa, kernel;
  Fault fault = Fault::none;
};

struct Totals {
  std::int64_t kernels = 0, cases = 0, failed = 0;
};

char running[128];  // what a signal handler may name

// A guard page was touched: which kernel, which case.
void on_fault(int) {
  constexpr char kText[] = " touched memory outside of its arguments\n";
  static_cast<void>(!write(STDOUT_FILENO, running, std::strlen(running)));
  static_cast<void>(!write(STDOUT_FILENO, kText, sizeof(kText) - 1));
  _exit(1);
}

// Whether this machine runs the kernels of `isa` as they were built.
bool runs_here(std::string_view isa) {
#if PRUNUS_STAND_INS
  if (isa == "avxvnni" || isa == "amx") return usable("avx512vnni");
#endif
  return usable(isa);
}

bool wanted(const Options &options, std::string_view isa, const std::string &name) {
  if (!options.isa.empty() && options.isa != isa) return false;
  if (name.find(options.kernel) == name.npos) return false;
  if (runs_here(isa)) return true;
  std::printf("%-24s skipped: this machine has no %s\n", name.c_str(), std::string(isa).c_str());
  return false;
}

// Runs the cases of one kernel until the first that fails. Case i is the same whatever else is run.
void run_kernel(const Options &options, std::string_view isa, const std::string &name, Totals &totals,
                const std::function<std::string(Case &)> &check) {
  if (!wanted(options, isa, name)) return;
  const std::int64_t first = options.only.value_or(0), end = options.only ? first + 1 : options.cases;
  ++totals.kernels;
  for (std::int64_t i = first; i < end; ++i) {
    std::snprintf(running, sizeof(running), "%s case %lld", name.c_str(), static_cast<long long>(i));
    Case c{Random(static_cast<std::uint64_t>(options.seed) * 0x9e3779b97f4a7c15u + static_cast<std::uint64_t>(i)),
           options.fault};
    const std::string message = check(c);
    ++totals.cases;
    if (message.empty()) continue;
    std::printf("%s: %s\n", running, message.c_str());
    ++totals.failed;
    return;
  }
  std::printf("%-24s %lld cases agree\n", name.c_str(), static_cast<long long>(end - first));
}

Totals run_all(const Options &options) {
  Totals totals;
  for (const ConvKernel &k : conv_kernels())
    run_kernel(options, k.isa, k.name, totals, [&](Case &c) { return check_conv(k, c); });
  for (const RowsKernel &k : rows_kernels())
    run_kernel(options, k.isa, k.name, totals, [&](Case &c) { return check_rows(k, c); });
  for (const GemvKernel &k : gemv_kernels())
    run_kernel(options, k.isa, std::string(k.name) + " gemv", totals, [&](Case &c) { return check_gemv(k, c); });
  for (const DepthwiseKernel &k : depthwise_kernels())
    run_kernel(options, k.isa, std::string(k.name) + " depthwise", totals,
               [&](Case &c) { return check_depthwise(k, c); });
  for (std::string_view isa : all_isas()) {
    const VectorKernels *tier = vector_kernels(isa);
    for (int m = 0; tier != nullptr && m < static_cast<int>(std::size(kMembers)); ++m)
      if (has_member(*tier, m))
        run_kernel(options, isa, std::string(isa) + " " + kMembers[m], totals,
                   [&](Case &c) { return check_member(*tier, m, c); });
  }
  return totals;
}

// -- command line ----------------------------------------------------------------------------------------------------

bool parse(std::string_view text, std::int64_t &number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} && end == text.data() + text.size();
}

bool parse(std::string_view text, Fault &fault) {
  constexpr std::pair<std::string_view, Fault> kFaults[] = {
      {"weight", Fault::weight}, {"halo", Fault::halo}, {"write", Fault::write}, {"read", Fault::read}};
  for (const auto &[name, value] : kFaults)
    if (text == name) {
      fault = value;
      return true;
    }
  return false;
}

bool set(Options &options, std::string_view name, std::string_view value) {
  if (name == "--cases") return parse(value, options.cases);
  if (name == "--seed") return parse(value, options.seed);
  if (name == "--case") return parse(value, options.only.emplace());
  if (name == "--fault") return parse(value, options.fault);
  if (name == "--isa") options.isa = value;
  if (name == "--kernel") options.kernel = value;
  return name == "--isa" || name == "--kernel";
}

}  // namespace

std::string differs(const char *what, std::int64_t i, std::int64_t j, double is, double should) {
  char text[160];
  std::snprintf(text, sizeof(text), "%s %lld, %lld: is %.9g, should be %.9g", what, static_cast<long long>(i),
                static_cast<long long>(j), is, should);
  return text;
}

int main(int argc, char **argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);  // what has been printed survives a fault
  Options options;
  for (int i = 1; i < argc; i += 2)
    if (i + 1 == argc || !set(options, argv[i], argv[i + 1])) {
      std::fprintf(stderr, "unknown option or value at '%s'; the options stand in kernel_check.cc\n", argv[i]);
      return 2;
    }
  std::printf("%s\n", cpu_description().c_str());
  if (!options.isa.empty() && !runs_here(options.isa)) {
    std::printf("this machine has no %s\n", options.isa.c_str());
    return 3;
  }
  signal(SIGSEGV, on_fault);
  signal(SIGBUS, on_fault);
  const Totals totals = run_all(options);
  std::printf("%lld kernels, %lld cases, %lld failed\n", static_cast<long long>(totals.kernels),
              static_cast<long long>(totals.cases), static_cast<long long>(totals.failed));
  return totals.failed == 0 && totals.cases > 0 ? 0 : 1;
}

}  // namespace prunus::check

int main(int argc, char **argv) { return prunus::check::main(argc, argv); }
