#include "select/tune.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "select/cache.h"

namespace prunus {
namespace {

constexpr std::string_view kKind = "timings";
constexpr double kSliceSeconds = 20e-6;
constexpr int kFewestRounds = 3, kMostRounds = 101;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double seconds_per_run(const std::function<void(std::size_t)> &run, std::size_t index, int repeats) {
  const double begin = now();
  for (int i = 0; i < repeats; ++i) run(index);
  return (now() - begin) / repeats;
}

std::string percent(double share) { return std::to_string(std::lround(share * 100)); }

}  // namespace

std::vector<double> race(std::size_t count, const std::function<void(std::size_t)> &run, double budget_seconds) {
  std::vector<double> best(count, std::numeric_limits<double>::max());
  std::vector<int> repeats(count);
  const double begin = now();
  for (std::size_t i = 0; i < count; ++i) {
    run(i);  // caches and pages
    repeats[i] = std::max(1, static_cast<int>(kSliceSeconds / std::max(seconds_per_run(run, i, 1), 1e-9)));
  }
  for (int round = 0; round < kMostRounds; ++round) {
    if (round >= kFewestRounds && now() - begin > budget_seconds) break;
    for (std::size_t i = 0; i < count; ++i) best[i] = std::min(best[i], seconds_per_run(run, i, repeats[i]));
  }
  return best;
}

std::size_t contestants(std::vector<Candidate> &ranked, std::size_t count) {
  count = std::min(count, ranked.size());
  const auto end = ranked.begin() + static_cast<std::ptrdiff_t>(count);
  const auto dense = std::find_if(ranked.begin(), ranked.end(), [](const Candidate &c) { return c.dense; });
  if (dense == ranked.end() || dense < end) return count;
  std::rotate(end, dense, dense + 1);
  return count + 1;
}

std::string timing_key(const Problem &p, const std::vector<Candidate> &candidates, const std::string &more) {
  std::string key = more + "/" + std::to_string(p.out_c) + "x" + std::to_string(p.quads) + "x" +
                    std::to_string(p.vectors) + "/" + percent(p.density_4) + "," + percent(p.density_16) + "," +
                    percent(p.density_32) + "," + percent(p.density_32x64) + "," + percent(p.weight_density);
  std::vector<std::string> names;
  for (const Candidate &candidate : candidates) names.emplace_back(candidate.kernel);
  std::sort(names.begin(), names.end());
  for (const std::string &name : names) key += "/" + name;
  std::replace(key.begin(), key.end(), ' ', '_');  // a word of the file
  return key;
}

Timings::Timings(std::string path) : path_(std::move(path)) {
  if (path_.empty()) {
    note_ = "kept in memory";
    return;
  }
  entries_ = read(path_, note_);
}

Timings::Entries Timings::read(const std::string &path, std::string &why) {
  auto lines = read_cache(path, kKind, why);
  if (!lines) return {};
  Entries entries;
  for (const std::string &line : *lines) {
    const auto word = words(line);
    const auto seconds = word.size() == 3 ? number(word[2]) : std::nullopt;
    if (!seconds) {
      why = path + " holds a damaged line";
      return {};
    }
    entries[std::string(word[0])][std::string(word[1])] = *seconds;
  }
  why = path;
  return entries;
}

std::vector<Candidate> Timings::find(const std::string &key, const std::vector<Candidate> &candidates) const {
  const auto entry = entries_.find(key);
  if (entry == entries_.end()) return {};
  std::vector<Candidate> found;
  for (const Candidate &candidate : candidates) {
    const auto timed = entry->second.find(candidate.kernel);
    if (timed == entry->second.end()) return {};
    found.push_back({candidate.kernel, timed->second});
  }
  std::stable_sort(found.begin(), found.end(), [](const auto &a, const auto &b) { return a.seconds < b.seconds; });
  return found;
}

void Timings::add(const std::string &key, const std::vector<Candidate> &timed) {
  for (const Candidate &candidate : timed) entries_[key][candidate.kernel] = candidate.seconds;
}

bool Timings::save() const {
  std::string ignored;
  Entries all = read(path_, ignored);
  for (const auto &[key, kernels] : entries_) all[key] = kernels;
  std::vector<std::string> lines;
  for (const auto &[key, kernels] : all) {
    for (const auto &[kernel, seconds] : kernels) lines.push_back(key + " " + kernel + " " + number_text(seconds));
  }
  return write_cache(path_, kKind, lines);
}

}  // namespace prunus
