// Instruction sets: their names, which of them this machine has, and the order in which they are preferred.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace prunus {

// Best first; `generic` is always last. PRUNUS_ISA=name[,name...] restricts the list (`generic` always stays), for
// tests and comparisons. Names: amx avx512vnni avxvnni avx2 / neoni8mm neondot neon / generic.
// AMX is listed only after the kernel has granted its tile state to this process.
const std::vector<std::string> &usable_isas();

// Every name that there is, of any machine: what an option or PRUNUS_ISA may say.
std::span<const std::string_view> all_isas();

// What the processor reports, for messages: "AMD EPYC, avx512vnni avx2".
std::string cpu_description();

// Whether AVX512-VBMI and VBMI2 come with avx512vnni (Ice Lake, Zen 4): files named *_vbmi.cc need it.
bool has_avx512vbmi();

}  // namespace prunus
