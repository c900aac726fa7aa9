// Planned networks by batch size, made from one packed network when they are first asked for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "prunus/network.h"

namespace prunus::ort {

struct DestroyNetwork {
  void operator()(prunus_network *network) const { prunus_network_destroy(network); }
};
using Network = std::unique_ptr<prunus_network, DestroyNetwork>;

// A network planned for one batch size, and memory to run it: as many workspaces as runs were ever under way at once.
class Plan {
 public:
  Plan(Network network, std::int32_t batch);

  std::int32_t batch() const { return batch_; }
  std::vector<prunus_tensor> inputs() const;
  std::vector<prunus_tensor> outputs() const;

  // Runs the network; safe on several threads at once. Throws Failure.
  void run(const void *const *inputs, void *const *outputs, const prunus_threads &threads);

 private:
  struct FreeWorkspace {
    void operator()(std::byte *memory) const;
  };
  using Workspace = std::unique_ptr<std::byte, FreeWorkspace>;

  Workspace take();
  void give_back(Workspace workspace);

  Network network_;
  std::int32_t batch_;
  std::mutex mutex_;
  std::vector<Workspace> idle_;  // guarded by mutex_
};

// Plans of one packed network, the most recently used first; the others are forgotten.
class Plans {
 public:
  explicit Plans(std::int32_t timed) : timed_(timed) {}

  // `packed` is the same at every call. Throws Failure.
  std::shared_ptr<Plan> get(std::span<const std::byte> packed, std::int32_t batch);

 private:
  static constexpr std::size_t kKept = 4;  // each holds weights of its own

  const std::int32_t timed_;
  std::mutex mutex_;
  std::list<std::shared_ptr<Plan>> plans_;  // guarded by mutex_
};

// The packed form as a network that is not planned yet. Throws Failure.
Network load(std::span<const std::byte> packed);

}  // namespace prunus::ort
