#include "select/coefficients.h"

#include <algorithm>
#include <cmath>
#include <mutex>

#include "select/cache.h"

namespace prunus {
namespace {

constexpr std::string_view kKind = "coefficients";
constexpr std::size_t kMaxPoints = 16;

std::mutex guard;
std::shared_ptr<const Coefficients> current;  // guarded

std::shared_ptr<const Coefficients> from_cache() {
  std::string why;
  std::unique_ptr<Coefficients> measured = load_coefficients(cache_path("coefficients.txt"), why);
  if (measured) return measured;
  return std::make_shared<const Coefficients>(default_coefficients(why));
}

bool parse_bandwidth(const std::vector<std::string_view> &word, Coefficients &out) {
  if (word.size() != 3 || out.bandwidth.size() == kMaxPoints) return false;
  auto bytes = number(word[1]), rate = number(word[2]);
  if (!bytes || !rate) return false;
  if (!out.bandwidth.empty()) {
    const Bandwidth &last = out.bandwidth.back();
    if (*bytes <= last.bytes || *rate > last.bytes_per_second) return false;
  }
  out.bandwidth.push_back({*bytes, *rate});
  return true;
}

bool parse_kernel(const std::vector<std::string_view> &word, Coefficients &out) {
  if (word.size() != 6) return false;
  auto rate = number(word[2]), block = number(word[3], true), output = number(word[4], true), call = number(word[5], true);
  if (!rate || !block || !output || !call) return false;
  return out.kernels.emplace(word[1], KernelCost{*rate, *block, *output, *call}).second;
}

bool parse_line(std::string_view line, Coefficients &out) {
  std::vector<std::string_view> word = words(line);
  if (word.empty()) return false;
  if (word[0] == "bandwidth") return parse_bandwidth(word, out);
  if (word[0] == "kernel") return parse_kernel(word, out);
  if (word[0] != "relayout" || word.size() != 2 || out.relayout_bytes_per_second != 0) return false;
  out.relayout_bytes_per_second = number(word[1]).value_or(0);
  return out.relayout_bytes_per_second > 0;
}

}  // namespace

double Coefficients::bandwidth_at(double bytes) const {
  auto above = std::find_if(bandwidth.begin(), bandwidth.end(), [&](const Bandwidth &b) { return b.bytes >= bytes; });
  if (above == bandwidth.begin()) return above->bytes_per_second;
  if (above == bandwidth.end()) return bandwidth.back().bytes_per_second;
  const Bandwidth &low = above[-1], &high = above[0];
  double share = std::log(bytes / low.bytes) / std::log(high.bytes / low.bytes);
  return low.bytes_per_second * std::pow(high.bytes_per_second / low.bytes_per_second, share);
}

std::shared_ptr<const Coefficients> coefficients() {
  std::lock_guard lock(guard);
  if (!current) current = from_cache();
  return current;
}

void reload_coefficients() {
  std::lock_guard lock(guard);
  current = from_cache();
}

void use_coefficients(Coefficients coefficients) {
  std::lock_guard lock(guard);
  current = std::make_shared<const Coefficients>(std::move(coefficients));
}

std::unique_ptr<Coefficients> load_coefficients(const std::string &path, std::string &why) {
  auto lines = read_cache(path, kKind, why);
  if (!lines) return nullptr;
  auto out = std::make_unique<Coefficients>();
  for (const std::string &line : *lines) {
    if (!parse_line(line, *out)) return why = path + " holds a damaged line", nullptr;
  }
  if (out->bandwidth.empty() || out->relayout_bytes_per_second == 0) return why = path + " is incomplete", nullptr;
  out->source = "measured: " + path;
  return out;
}

bool save_coefficients(const Coefficients &coefficients, const std::string &path) {
  std::vector<std::string> lines;
  for (const Bandwidth &point : coefficients.bandwidth) {
    lines.push_back("bandwidth " + number_text(point.bytes) + " " + number_text(point.bytes_per_second));
  }
  lines.push_back("relayout " + number_text(coefficients.relayout_bytes_per_second));
  for (const auto &[name, cost] : coefficients.kernels) {
    lines.push_back("kernel " + name + " " + number_text(cost.macs_per_second) + " " + number_text(cost.block_seconds) +
                    " " + number_text(cost.output_seconds) + " " + number_text(cost.call_seconds));
  }
  return write_cache(path, kKind, lines);
}

}  // namespace prunus
