#include "plans.h"

#include <algorithm>
#include <new>
#include <string>
#include <utility>

#include "runtime.h"

namespace prunus::ort {
namespace {

constexpr std::align_val_t kAlignment{64};  // what prunus_network_run asks for

void require(prunus_status status, const char *what, const prunus_network *network) {
  if (status == PRUNUS_OK) return;
  std::string message = std::string("prunus.Network: ") + what + ": " + prunus_status_text(status);
  const char *detail = network != nullptr ? prunus_network_error(network) : "";
  if (*detail != '\0') message += std::string(" (") + detail + ")";
  throw Failure{ORT_FAIL, message};
}

template <class Get>
std::vector<prunus_tensor> tensors(const prunus_network *network, std::int32_t count, Get get) {
  std::vector<prunus_tensor> found(static_cast<std::size_t>(count));
  for (std::int32_t i = 0; i < count; ++i) {
    require(get(network, i, &found[static_cast<std::size_t>(i)]), "the network does not tell its tensors", network);
  }
  return found;
}

}  // namespace

Network load(std::span<const std::byte> packed) {
  prunus_network *raw = nullptr;
  const prunus_status status = prunus_network_load(packed.data(), packed.size(), &raw);
  Network network(raw);
  require(status, "the packed network cannot be loaded", network.get());
  return network;
}

void Plan::FreeWorkspace::operator()(std::byte *memory) const { ::operator delete(memory, kAlignment); }

Plan::Plan(Network network, std::int32_t batch) : network_(std::move(network)), batch_(batch) {}

std::vector<prunus_tensor> Plan::inputs() const {
  return tensors(network_.get(), prunus_network_input_count(network_.get()), prunus_network_input_tensor);
}

std::vector<prunus_tensor> Plan::outputs() const {
  return tensors(network_.get(), prunus_network_output_count(network_.get()), prunus_network_output_tensor);
}

Plan::Workspace Plan::take() {
  {
    const std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      Workspace workspace = std::move(idle_.back());
      idle_.pop_back();
      return workspace;
    }
  }
  const std::size_t bytes = std::max<std::size_t>(prunus_network_workspace_bytes(network_.get()), 1);
  return Workspace(static_cast<std::byte *>(::operator new(bytes, kAlignment)));
}

void Plan::give_back(Workspace workspace) {
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(workspace));
}

void Plan::run(const void *const *inputs, void *const *outputs, const prunus_threads &threads) {
  Workspace workspace = take();
  const prunus_status status =
      prunus_network_run(network_.get(), inputs, outputs, workspace.get(), &threads, nullptr);
  give_back(std::move(workspace));
  require(status, "the network cannot be run", network_.get());
}

std::shared_ptr<Plan> Plans::get(std::span<const std::byte> packed, std::int32_t batch) {
  const std::lock_guard lock(mutex_);
  const auto fits = [batch](const std::shared_ptr<Plan> &plan) { return plan->batch() == batch; };
  const auto found = std::find_if(plans_.begin(), plans_.end(), fits);
  if (found != plans_.end()) {
    plans_.splice(plans_.begin(), plans_, found);
    return plans_.front();
  }
  Network network = load(packed);
  prunus_plan_options options{};
  options.timed = timed_;
  options.batch = batch;
  require(prunus_network_plan(network.get(), &options), "the network cannot be planned", network.get());
  plans_.push_front(std::make_shared<Plan>(std::move(network), batch));
  if (plans_.size() > kKept) plans_.pop_back();
  return plans_.front();
}

}  // namespace prunus::ort
