// Small text files that outlive a process: what this machine measured. A file that is missing, foreign or damaged is
// ignored with a reason; nothing depends on it but speed.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace prunus {

// The folder is $PRUNUS_CACHE, else $XDG_CACHE_HOME/prunus, else ~/.cache/prunus; "" where there is none, or where
// PRUNUS_CACHE is set and empty, which turns caching off.
std::string cache_path(std::string_view name);

// What a measurement holds for: processor, instruction sets, version of the kernels. One line.
std::string machine_key();

// The lines between the header of `kind` and "end". Otherwise nothing, and `why` says what is wrong.
std::optional<std::vector<std::string>> read_cache(const std::string &path, std::string_view kind, std::string &why);

// Replaces the file at once, so that a reader sees the old or the new one whole. False where that is impossible.
bool write_cache(const std::string &path, std::string_view kind, const std::vector<std::string> &lines);

// The words of a line, and a positive finite number (zero is fine with `or_zero`), exactly as `number_text` wrote it.
std::vector<std::string_view> words(std::string_view line);
std::optional<double> number(std::string_view word, bool or_zero = false);
std::string number_text(double value);

}  // namespace prunus
