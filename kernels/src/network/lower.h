// From operators to steps: which layouts each operator reads and writes, with changes of layout where they differ.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "network/linear.h"
#include "network/plan.h"

namespace prunus {

class Lowering {
 public:
  explicit Lowering(Plan &plan);
  void run();
  // Values with equal roots share one pitch.
  std::vector<std::int32_t> pitch_classes();

 private:
  // [images, channels, height, width] of a tensor; channels 0 where it is no image.
  Geometry image_of(std::int32_t tensor) const;
  Geometry rows_of(std::int32_t tensor) const;
  const prunus_tensor &tensor(std::int32_t id) const;
  Value &value(std::int32_t id) { return plan_.values[static_cast<std::size_t>(id)]; }

  // A value of the tensor in the layout that exists already, or -1.
  std::int32_t find(std::int32_t tensor, Layout layout) const;
  std::int32_t make(std::int32_t tensor, Layout layout);
  // The step that copies a value of any layout into one of layout flat.
  std::unique_ptr<Step> flattened(std::int32_t from, std::int32_t to) const;
  // Values in the layout, converted where needed.
  std::int32_t flat(std::int32_t tensor);
  std::int32_t given(std::int32_t tensor);   // flat, the caller's array of the other signedness included
  std::int32_t padded(std::int32_t tensor);  // flat in the arena, so that vectors may reach beyond its end
  std::int32_t rows(std::int32_t tensor);
  std::int32_t image(std::int32_t tensor);
  std::int32_t in_layout(std::int32_t tensor, Layout layout);
  // The best layout for operators that take any: the first one that an input is in.
  Layout common_layout(const Node &node) const;
  // Sets x to an image, or the phases of one, on which the window is a run over pixels, joined in pitch with the image
  // y; outside of it lies `fill`. Returns the window's taps on x.
  std::vector<Tap> windowed(std::int32_t tensor, prunus_window window, std::int32_t y, Act fill, std::int32_t &x);
  // The taps on an image that keeps its pixels, for kernels that step over them.
  std::vector<Tap> stepped(std::int32_t x, const prunus_window &window, std::int32_t y);
  bool steps(const Node &node, const Conv &op, std::int32_t y);
  void join(std::int32_t a, std::int32_t b);
  std::int32_t root(std::int32_t id);

  void add(std::unique_ptr<Step> step, const char *kind);
  void lower_inputs();
  void lower_outputs();

  void lower_op(const Node &node, const Conv &op);
  void lower_op(const Node &node, const Gemm &op);
  void lower_op(const Node &node, const Binary &op);
  void lower_op(const Node &node, const Concat &op);
  void lower_op(const Node &node, const Requantize &op);
  void lower_op(const Node &node, const MaxPool &op);
  void lower_op(const Node &node, const AvgPool &op);
  void lower_op(const Node &node, const Lut &op);
  void lower_op(const Node &node, const Softmax &op);
  void lower_op(const Node &node, const Slice &op);
  void lower_op(const Node &node, const Transpose &op);
  void lower_op(const Node &node, const Resize &op);
  void lower_op(const Node &node, const Reshape &op);
  void lower_op(const Node &node, const Quantize &op);
  void lower_op(const Node &node, const Dequantize &op);
  // Few rows one at a time, many as pixels.
  void lower_matrix(const Node &node, const LinearLayer &layer, std::int32_t rows_count);
  bool absorbed(const Node &node, const Binary &op, std::int32_t a, std::int32_t b, std::int32_t y);
  std::size_t step_writing(std::int32_t id) const;
  // One element per channel with an image, else the portable kernel.
  void lower_broadcast(const Node &node, const Binary &op);
  // The portable kernel, on flat tensors.
  void lower_portable(const Node &node);

  Plan &plan_;
  std::vector<std::int32_t> zero_;                  // per tensor
  std::vector<std::int32_t> uses_;                  // per tensor: operators that read it, and outputs
  std::vector<std::vector<std::int32_t>> known_;    // values per tensor
  std::vector<std::int32_t> parent_;                // per value
  std::int32_t node_ = -1;
};

}  // namespace prunus
