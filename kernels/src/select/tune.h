// Timing the candidates of a layer, and remembering what was timed.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "select/select.h"

namespace prunus {

// Seconds of each of `count` alternatives: the least of several interleaved rounds, so that a disturbance of the machine
// hits all alike. `run(i)` runs alternative i once; what it needs is prepared. Takes about `budget_seconds`, but three
// rounds at least.
std::vector<double> race(std::size_t count, const std::function<void(std::size_t)> &run, double budget_seconds = 0.05);

// The candidates that take part in a race: the first `count`, and the first dense one, whose speed no structure of zeros
// can spoil. Reorders `ranked` so that they come first, and returns how many they are.
std::size_t contestants(std::vector<Candidate> &ranked, std::size_t count);

// Names a layer by what its speed depends on: counts, densities in percent, and who took part. `more` is the caller's.
std::string timing_key(const Problem &problem, const std::vector<Candidate> &candidates, const std::string &more);

// A file of timed seconds by layer and kernel. Missing, damaged, or another machine's: empty, and `note` says why.
class Timings {
 public:
  explicit Timings(std::string path);  // "": in memory only

  const std::string &note() const { return note_; }
  // The candidates with their timed seconds, fastest first; empty when one of them was not timed.
  std::vector<Candidate> find(const std::string &key, const std::vector<Candidate> &candidates) const;
  void add(const std::string &key, const std::vector<Candidate> &timed);
  // Merges what other processes added meanwhile and replaces the file; false where it cannot be written.
  bool save() const;

 private:
  using Entries = std::map<std::string, std::map<std::string, double>>;  // key, kernel
  static Entries read(const std::string &path, std::string &why);

  std::string path_, note_;
  Entries entries_;
};

}  // namespace prunus
