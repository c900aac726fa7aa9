// Memory of a run: values whose lifetimes do not meet share it.
#include <algorithm>
#include <numeric>

#include "network/plan.h"

namespace prunus {
namespace {

struct Lifetime {
  std::size_t first, last;  // steps, both inclusive
};

std::vector<Lifetime> lifetimes(const Plan &plan) {
  std::vector<Lifetime> lives(plan.values.size(), {plan.steps.size(), 0});
  const auto touch = [&](std::int32_t value, std::size_t step) {
    Lifetime &life = lives[static_cast<std::size_t>(value)];
    life.first = std::min(life.first, step);
    life.last = std::max(life.last, step);
  };
  for (std::size_t step = 0; step < plan.steps.size(); ++step) {
    touch(plan.steps[step]->writes, step);
    for (std::int32_t value : plan.steps[step]->reads) touch(value, step);
  }
  return lives;
}

struct Block {
  std::int64_t begin, end;
};

// The lowest gap of `bytes` between the blocks.
std::int64_t first_fit(std::vector<Block> blocks, std::int64_t bytes) {
  std::sort(blocks.begin(), blocks.end(), [](const Block &a, const Block &b) { return a.begin < b.begin; });
  std::int64_t offset = 0;
  for (const Block &block : blocks) {
    if (block.begin - offset >= bytes) break;
    offset = std::max(offset, block.end);
  }
  return offset;
}

}  // namespace

void assign_arena(Plan &plan) {
  const std::vector<Lifetime> lives = lifetimes(plan);
  std::vector<std::size_t> order(plan.values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return plan.values[a].bytes > plan.values[b].bytes; });
  std::vector<std::size_t> placed;
  for (std::size_t i : order) {
    Value &value = plan.values[i];
    if (value.external() || lives[i].first > lives[i].last) continue;  // not in the arena, or never used
    std::vector<Block> blocks;
    for (std::size_t j : placed)
      if (lives[i].first <= lives[j].last && lives[j].first <= lives[i].last)
        blocks.push_back({plan.values[j].offset, plan.values[j].offset + plan.values[j].bytes});
    value.offset = first_fit(std::move(blocks), value.bytes);
    plan.arena_bytes = std::max(plan.arena_bytes, value.offset + value.bytes);
    placed.push_back(i);
  }
}

}  // namespace prunus
