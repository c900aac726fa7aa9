#include "select/cache.h"

#include <unistd.h>

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "core/cpu.h"
#include "prunus/kernels.h"

namespace prunus {
namespace {

namespace fs = std::filesystem;

constexpr int kCacheVersion = 1;
constexpr std::uintmax_t kMaxBytes = 4 << 20;

std::string header(std::string_view kind) { return "prunus " + std::string(kind) + " " + std::to_string(kCacheVersion); }

std::vector<std::string> lines_of(std::istream &file) {
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

}  // namespace

std::string cache_path(std::string_view name) {
  const char *own = std::getenv("PRUNUS_CACHE"), *shared = std::getenv("XDG_CACHE_HOME"), *home = std::getenv("HOME");
  fs::path folder;
  if (own) {
    folder = own;
  } else if (shared && *shared) {
    folder = fs::path(shared) / "prunus";
  } else if (home && *home) {
    folder = fs::path(home) / ".cache" / "prunus";
  }
  return folder.empty() ? std::string() : (folder / name).string();
}

std::string machine_key() {
  return cpu_description() + "; kernels " + std::to_string(PRUNUS_KERNELS_VERSION);
}

std::optional<std::vector<std::string>> read_cache(const std::string &path, std::string_view kind, std::string &why) {
  std::error_code error;
  if (path.empty()) return why = "no cache folder", std::nullopt;
  if (!fs::is_regular_file(path, error)) return why = "no file " + path, std::nullopt;
  if (fs::file_size(path, error) > kMaxBytes || error) return why = path + " is too large", std::nullopt;
  std::ifstream file(path, std::ios::binary);
  std::vector<std::string> lines = lines_of(file);
  if (lines.size() < 3 || lines[0] != header(kind)) return why = path + " is not a file of this version", std::nullopt;
  if (lines[1] != "machine " + machine_key()) return why = path + " was written for another machine", std::nullopt;
  if (lines.back() != "end") return why = path + " is incomplete", std::nullopt;
  return std::vector<std::string>(lines.begin() + 2, lines.end() - 1);
}

bool write_cache(const std::string &path, std::string_view kind, const std::vector<std::string> &lines) {
  if (path.empty()) return false;
  std::error_code error;
  fs::path target(path), folder = target.parent_path();
  if (!folder.empty()) fs::create_directories(folder, error);
  fs::path temporary = path + "." + std::to_string(getpid());
  {
    std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
    file << header(kind) << "\nmachine " << machine_key() << "\n";
    for (const std::string &line : lines) file << line << "\n";
    file << "end\n";
    if (!file.flush()) {
      fs::remove(temporary, error);
      return false;
    }
  }
  fs::rename(temporary, target, error);
  if (!error) return true;
  std::error_code ignored;
  fs::remove(temporary, ignored);
  return false;
}

std::vector<std::string_view> words(std::string_view line) {
  std::vector<std::string_view> found;
  while (!line.empty()) {
    std::size_t end = std::min(line.find(' '), line.size());
    found.push_back(line.substr(0, end));
    line.remove_prefix(std::min(end + 1, line.size()));
  }
  return found;
}

std::optional<double> number(std::string_view word, bool or_zero) {
  double value = 0;
  auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  bool read = error == std::errc() && end == word.data() + word.size() && std::isfinite(value);
  if (!read || value < 0 || (value == 0 && !or_zero)) return std::nullopt;
  return value;
}

std::string number_text(double value) {
  char text[32];
  return std::string(text, std::to_chars(text, text + sizeof text, value).ptr);
}

}  // namespace prunus
