// One random case of one kernel.
#pragma once

#include <string>

#include "core/kernel.h"
#include "random.h"

namespace prunus::check {

// What a seeded fault does, to show that the check would see it.
enum class Fault {
  none,
  weight,  // a weight (an input, a table) differs by one from what the definition sees
  halo,    // pixels outside of `valid` are computed like all others
  write,   // a byte that the kernel was not asked for changes
  read,    // the byte behind an input is read
};

struct Case {
  Random random;
  Fault fault = Fault::none;
};

// Empty where kernel and definition agree; else where they do not.
std::string check_conv(const ConvKernel &kernel, Case &c);
std::string check_rows(const RowsKernel &kernel, Case &c);
std::string check_gemv(const GemvKernel &kernel, Case &c);
std::string check_depthwise(const DepthwiseKernel &kernel, Case &c);

// The members of a tier by name, in the order of kernel.h.
inline constexpr const char *kMembers[] = {
    "add",        "mul",          "requantize", "lut",       "max",      "sum",
    "interleave", "deinterleave", "stride",     "transpose", "rgb",      "quantize",
    "dequantize",
};
bool has_member(const VectorKernels &tier, int member);
std::string check_member(const VectorKernels &tier, int member, Case &c);

// For messages.
std::string differs(const char *what, std::int64_t i, std::int64_t j, double is, double should);

// Reads one byte where none may be read, for Fault::read.
template <class Buffer>
void read_behind(const Buffer &buffer) {
  const auto *end = reinterpret_cast<const volatile std::uint8_t *>(buffer.data() + buffer.size());
  for (int i = 0; i < 1 << 14; ++i) static_cast<void>(end[i]);  // some arrays end before their page does
}

}  // namespace prunus::check
