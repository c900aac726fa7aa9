// prunus_network and prunus_pool as objects of Python: arrays are checked against the definition, results are fresh
// arrays, workspaces are kept between runs.
#pragma once

#include <mutex>
#include <new>
#include <shared_mutex>

#include "bindings_args.h"

namespace prunus {

// Threads to run networks with; one run at a time.
class Pool {
 public:
  explicit Pool(int32_t threads);
  int32_t threads() const { return prunus_pool_threads(pool_.get()).count; }
  prunus_threads handle() const { return prunus_pool_threads(pool_.get()); }
  std::mutex &guard() { return guard_; }

 private:
  struct Destroy {
    void operator()(prunus_pool *pool) const { prunus_pool_destroy(pool); }
  };
  std::unique_ptr<prunus_pool, Destroy> pool_;
  std::mutex guard_;
};

class Network {
 public:
  Network();
  static std::unique_ptr<Network> load(nb::bytes packed);
  nb::bytes save() const;

  int32_t input(const std::string &dtype, const std::vector<int32_t> &shape);
  void output(int32_t id);

  int32_t conv2d(int32_t x, const Array &w, const Array &bias, const Requant &requant, const Output &y,
                 int32_t x_zero_point, Pair strides, Pads pads, Pair dilations, int32_t group);
  int32_t depthwise2d(int32_t x, const Array &w, const Array &bias, const Requant &requant, const Output &y,
                      int32_t x_zero_point, Pair strides, Pads pads, Pair dilations);
  int32_t gemm(int32_t x, const Array &w, const Array &bias, const Requant &requant, const Output &y,
               int32_t x_zero_point);
  int32_t add(int32_t a, int32_t b, const Requant &requant, const Output &y, int32_t a_zero_point,
              int32_t b_zero_point);
  int32_t mul(int32_t a, int32_t b, const Requant &requant, const Output &y, int32_t a_zero_point,
              int32_t b_zero_point);
  int32_t concat(const std::vector<int32_t> &xs, const Requant &requant, const Output &y, size_t axis,
                 const std::vector<int32_t> &zero_points, const std::vector<bool> &copy);
  int32_t requantize(int32_t x, const Requant &requant, const Output &y, int32_t x_zero_point);
  int32_t maxpool2d(int32_t x, Pair kernel, Pair strides, Pads pads, Pair dilations, std::optional<int32_t> fill);
  int32_t avgpool2d(int32_t x, const Array &count_index, const Requant &requant, const Output &y, Pair kernel,
                    int32_t x_zero_point, Pair strides, Pads pads, Pair dilations);
  int32_t lut(int32_t x, const Array &table);
  int32_t softmax(int32_t x, const Array &table, int32_t reciprocal, const Output &y, int32_t axis);
  int32_t slice(int32_t x, const std::vector<int32_t> &start, const std::vector<int32_t> &step,
                const std::vector<int32_t> &shape, int32_t fill);
  int32_t transpose(int32_t x, const std::vector<int32_t> &perm);
  int32_t resize_nearest(int32_t x, const Array &rows, const Array &columns);
  int32_t reshape(int32_t x, const std::vector<int32_t> &shape);
  int32_t quantize(int32_t x, float scale, const Output &y);
  int32_t dequantize(int32_t x, float scale, int32_t x_zero_point);

  void plan(const std::optional<std::string> &isa, const std::optional<std::string> &kernel, int32_t timed,
            const std::optional<std::string> &cache, int32_t batch);
  size_t workspace_bytes() const { return prunus_network_workspace_bytes(net_.get()); }
  nb::object describe() const;
  std::vector<std::pair<std::string, std::vector<int32_t>>> inputs() const;
  std::vector<std::pair<std::string, std::vector<int32_t>>> outputs() const;

  std::vector<Result> run(const std::vector<Array> &inputs, Pool *pool);
  void run_into(const std::vector<Array> &inputs, const std::vector<Target> &outputs, Pool *pool);
  std::vector<double> profile(const std::vector<Array> &inputs, Pool *pool);

 private:
  struct Destroy {
    void operator()(prunus_network *network) const { prunus_network_destroy(network); }
  };
  struct Free {
    void operator()(uint8_t *bytes) const { ::operator delete(bytes, std::align_val_t{64}); }
  };
  using Workspace = std::unique_ptr<uint8_t, Free>;

  // Held by a run from the checks of its arrays to its end: no other plan may take the place of the one they fit.
  using Running = std::shared_lock<std::shared_mutex>;

  explicit Network(prunus_network *net) : net_(net) {}
  void check(const char *what, prunus_status status) const;
  const Operand &at(const char *what, int32_t id) const;
  int32_t tensor(const char *what, const Shape &shape, int32_t element);
  std::vector<const void *> addresses(const std::vector<Array> &inputs) const;
  void execute(Running running, const std::vector<const void *> &inputs, const std::vector<void *> &outputs, Pool *pool,
               double *seconds);
  Workspace take_workspace();
  void give_workspace(Workspace workspace);

  std::unique_ptr<prunus_network, Destroy> net_;
  std::vector<Operand> tensors_;  // by id; a loaded network has none that Python could name
  std::shared_mutex plan_guard_;
  std::mutex idle_guard_;
  std::vector<Workspace> idle_;
};

}  // namespace prunus
