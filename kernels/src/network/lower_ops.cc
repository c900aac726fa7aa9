// Which step each operator becomes, in which layouts.
#include <algorithm>
#include <string>

#include "network/builder.h"
#include "network/conv.h"
#include "network/elementwise.h"
#include "network/lower.h"
#include "network/move.h"
#include "network/pooling.h"
#include "network/portable.h"
#include "network/relayout.h"

namespace prunus {
namespace {

constexpr std::int32_t kRowsForVectors = 4;  // from so many rows on, 16 rows at a time are faster than one at a time

const char *kind_of(const Operator &op) {
  static constexpr const char *kNames[] = {"conv2d",    "gemm",    "binary",    "concat", "requantize",
                                           "maxpool2d", "avgpool2d", "lut",     "softmax", "slice",
                                           "transpose", "resize_nearest", "reshape", "quantize", "dequantize"};
  if (const auto *conv = std::get_if<Conv>(&op); conv && conv->depthwise) return "depthwise2d";
  if (const auto *binary = std::get_if<Binary>(&op)) return binary->mul ? "mul" : "add";
  return kNames[op.index()];
}

bool moves_no_pixel(const prunus_window &w) {
  return w.kernel_h == 1 && w.kernel_w == 1 && w.pad_top == 0 && w.pad_left == 0;
}

}  // namespace

void Lowering::lower_matrix(const Node &node, const LinearLayer &layer, std::int32_t rows_count) {
  if (rows_count >= kRowsForVectors) {
    const std::int32_t x = rows(node.inputs[0]);
    const std::int32_t y = make(node.output, Layout::rows);
    value(x).reads.push_back({1, 0, 0});
    add(conv_step(x, y, layer, {Tap{0, 0, 0}}), kind_of(node.op));
    return;
  }
  const std::int32_t x = padded(node.inputs[0]);
  const std::int32_t y = make(node.output, Layout::flat);
  for (std::int32_t row = 0; row < rows_count; ++row) add(gemv_step(x, y, layer, row), kind_of(node.op));
}

void Lowering::lower_op(const Node &node, const Conv &op) {
  const prunus_conv2d_args &args = op.args;
  const LinearLayer layer = linear_layer(op);
  if (args.in_h == 1 && args.in_w == 1 && args.out_h == 1 && args.out_w == 1 && moves_no_pixel(args.window) && layer.group == 1)
    return lower_matrix(node, layer, args.batch);
  const std::int32_t y = make(node.output, Layout::image);
  const bool depthwise = layer.group == layer.in_c && layer.out_c == layer.in_c;
  std::int32_t x;
  if (!depthwise && steps(node, op, y)) {
    x = image(node.inputs[0]);
    const Stride stride{args.window.stride_h, args.window.stride_w};
    return add(conv_step(x, y, layer, stepped(x, args.window, y), stride), kind_of(node.op));
  }
  std::vector<Tap> taps = windowed(node.inputs[0], args.window, y, static_cast<Act>(args.x.zero_point), x);
  add(depthwise ? depthwise_step(x, y, layer, std::move(taps)) : conv_step(x, y, layer, std::move(taps)),
      kind_of(node.op));
}

void Lowering::lower_op(const Node &node, const Gemm &op) {
  const Geometry g = rows_of(node.inputs[0]), out = rows_of(node.output);
  if (g.channels != op.args.in_c || out.channels != op.args.out_c) return lower_portable(node);  // [.., 1] after pixels
  lower_matrix(node, linear_layer(op), op.args.rows);
}

void Lowering::lower_op(const Node &node, const Binary &op) {
  if (!same_shape(tensor(node.inputs[0]), tensor(node.inputs[1]))) return lower_broadcast(node, op);
  const Layout layout = common_layout(node);
  const std::int32_t a = in_layout(node.inputs[0], layout), b = in_layout(node.inputs[1], layout);
  const std::int32_t y = make(node.output, layout);
  join(a, b), join(a, y);
  if (layout != Layout::image || !absorbed(node, op, a, b, y)) add(binary_step(a, b, y, op), kind_of(node.op));
}

// Whether the step that made a or b, if nothing else reads that, computes y in its stead.
bool Lowering::absorbed(const Node &node, const Binary &op, std::int32_t a, std::int32_t b, std::int32_t y) {
  for (std::size_t i = 0; i < 2; ++i) {
    const std::int32_t own = i ? b : a, other = i ? a : b;
    if (uses_[static_cast<std::size_t>(node.inputs[i])] != 1 || value(own).tensor != node.inputs[i]) continue;
    const std::size_t at = step_writing(own);
    if (at == plan_.steps.size() || (step_writing(other) != plan_.steps.size() && step_writing(other) > at)) continue;
    Step &step = *plan_.steps[at];
    if (!step.absorb(op, other, i == 1, y)) continue;
    step.info.absorbed = node_;
    return true;
  }
  return false;
}

// The number of steps where none writes it: a caller's array.
std::size_t Lowering::step_writing(std::int32_t id) const {
  std::size_t at = plan_.steps.size();
  while (at > 0 && plan_.steps[at - 1]->writes != id) --at;
  return at > 0 ? at - 1 : plan_.steps.size();
}

void Lowering::lower_broadcast(const Node &node, const Binary &op) {
  for (std::size_t big = 0; big < 2; ++big) {
    const std::int32_t image_id = node.inputs[big], channels_id = node.inputs[1 - big];
    const prunus_tensor &channels = tensor(channels_id);
    const Geometry g = image_of(image_id), one = image_of(channels_id);
    if (find(image_id, Layout::image) < 0 || channels.rank != tensor(image_id).rank || one.images != g.images ||
        one.channels != g.channels || one.height != 1 || one.width != 1)
      continue;
    const std::int32_t x = image(image_id), c = flat(channels_id), y = make(node.output, Layout::image);
    join(x, y);
    return add(channelwise_step(big ? c : x, big ? x : c, y, op, big == 0), kind_of(node.op));
  }
  lower_portable(node);
}

void Lowering::lower_op(const Node &node, const Requantize &op) {
  const Layout layout = common_layout(node);
  const std::int32_t x = in_layout(node.inputs[0], layout), y = make(node.output, layout);
  join(x, y);
  add(requantize_step(x, y, op), kind_of(node.op));
}

void Lowering::lower_op(const Node &node, const Lut &op) {
  const Layout layout = common_layout(node);
  const std::int32_t x = in_layout(node.inputs[0], layout), y = make(node.output, layout);
  join(x, y);
  add(lut_step(x, y, op), kind_of(node.op));
}

void Lowering::lower_op(const Node &node, const Reshape &) {
  const std::int32_t x = node.inputs[0];
  auto &known = known_[static_cast<std::size_t>(node.output)];
  const auto same = [](const Geometry &a, const Geometry &b) {
    return a.images == b.images && a.channels == b.channels && a.height == b.height && a.width == b.width;
  };
  const bool fills_agree = zero_[static_cast<std::size_t>(x)] == zero_[static_cast<std::size_t>(node.output)];
  if (const std::int32_t id = find(x, Layout::image); id >= 0 && fills_agree && same(image_of(node.output), value(id).geometry))
    known.push_back(id);
  if (const std::int32_t id = find(x, Layout::rows); id >= 0 && same(rows_of(node.output), value(id).geometry))
    known.push_back(id);
  if (known.empty()) known.push_back(flat(x));
}

void Lowering::lower_op(const Node &node, const MaxPool &op) {
  const std::int32_t y = make(node.output, Layout::image);
  std::int32_t x;
  std::vector<Tap> taps = windowed(node.inputs[0], op.args.window, y, static_cast<Act>(op.args.fill), x);
  add(maxpool_step(x, y, std::move(taps)), kind_of(node.op));
}

void Lowering::lower_op(const Node &node, const AvgPool &op) {
  const prunus_pool2d_args &args = op.args;
  const prunus_window &w = args.window;
  const bool pads = w.pad_top || w.pad_left || w.pad_bottom || w.pad_right;
  const bool whole = w.kernel_h == args.in_h && w.kernel_w == args.in_w && !pads;
  if (find(node.inputs[0], Layout::image) < 0) return lower_portable(node);
  if (whole) {
    const std::int32_t x = image(node.inputs[0]), y = make(node.output, Layout::flat);
    return add(global_average_step(x, y, op), kind_of(node.op));
  }
  const bool alike = std::all_of(op.count_index.begin(), op.count_index.end(),
                                 [&](std::int32_t i) { return i == op.count_index[0]; });
  if (!alike) return lower_portable(node);
  const std::int32_t y = make(node.output, Layout::image);
  std::int32_t x;
  std::vector<Tap> taps = windowed(node.inputs[0], w, y, static_cast<Act>(args.x.zero_point), x);
  add(average_step(x, y, op, std::move(taps)), kind_of(node.op));
}

// Quads of inputs become quads of the output where every input but the last fills its own.
void Lowering::lower_op(const Node &node, const Concat &op) {
  const Layout layout = common_layout(node);
  const std::int32_t channel_axis = layout == Layout::image ? 1 : tensor(node.output).rank - 1;
  bool whole = layout != Layout::flat && op.axis == channel_axis;
  for (std::size_t i = 0; i + 1 < node.inputs.size(); ++i) whole = whole && tensor(node.inputs[i]).shape[op.axis] % kQuad == 0;
  if (layout == Layout::rows)  // rows_of must have taken the last dimension for the channels
    for (std::int32_t x : node.inputs) whole = whole && rows_of(x).channels == tensor(x).shape[op.axis];
  if (!whole) return lower_portable(node);
  std::vector<std::int32_t> xs;
  for (std::int32_t x : node.inputs) xs.push_back(in_layout(x, layout));
  const std::int32_t y = make(node.output, layout);
  for (std::int32_t x : xs) join(x, y);
  add(concat_step(std::move(xs), y, op), kind_of(node.op));
}

void Lowering::lower_op(const Node &node, const Resize &op) {
  if (find(node.inputs[0], Layout::image) < 0) return lower_portable(node);
  const std::int32_t x = image(node.inputs[0]), y = make(node.output, Layout::image);
  add(pixel_step(x, y, {0, op.rows, op.columns, 0}), kind_of(node.op));
}

// Whole quads of whole images, any rows and columns.
void Lowering::lower_op(const Node &node, const Slice &op) {
  const prunus_slice_args &args = op.args;
  const Geometry in = image_of(node.inputs[0]), out = image_of(node.output);
  const bool all_images = args.start[0] == 0 && args.step[0] == 1 && in.images == out.images;
  const bool whole_quads = args.rank >= 3 && args.start[1] >= 0 && args.start[1] % kQuad == 0 && args.step[1] == 1 &&
                           args.start[1] + std::int64_t{out.channels} <= in.channels;
  if (find(node.inputs[0], Layout::image) < 0 || !all_images || !whole_quads) return lower_portable(node);
  const auto positions = [&](std::int32_t dimension, std::int32_t size) {
    std::vector<std::int32_t> indices;
    for (std::int64_t i = 0; i < args.y_shape[dimension]; ++i) {
      const std::int64_t at = args.start[dimension] + i * args.step[dimension];
      indices.push_back(at >= 0 && at < size ? static_cast<std::int32_t>(at) : -1);
    }
    return indices;
  };
  PixelMap map{args.start[1] / kQuad, {0}, positions(args.rank - 1, in.width), static_cast<Act>(args.fill)};
  if (args.rank == 4) map.rows = positions(2, in.height);
  const std::int32_t x = image(node.inputs[0]), y = make(node.output, Layout::image);
  add(pixel_step(x, y, std::move(map)), kind_of(node.op));
}

// Between channels that are the last dimension and images; Keras' networks begin so.
void Lowering::lower_op(const Node &node, const Transpose &op) {
  const std::int32_t *perm = op.args.perm, rank = op.args.rank;
  const bool image_rank = (rank == 3 || rank == 4) && perm[0] == 0;
  bool to_image = image_rank && perm[1] == rank - 1, from_image = image_rank && perm[rank - 1] == 1;
  for (std::int32_t i = 2; i < rank; ++i) to_image = to_image && perm[i] == i - 1;
  for (std::int32_t i = 1; i + 1 < rank; ++i) from_image = from_image && perm[i] == i + 1;
  if (to_image && image_of(node.output).channels > 1) {
    const std::int32_t x = given(node.inputs[0]), y = make(node.output, Layout::image);
    return add(channels_last_to_image(x, y), kind_of(node.op));
  }
  if (from_image && find(node.inputs[0], Layout::image) >= 0) {
    const std::int32_t x = image(node.inputs[0]), y = make(node.output, Layout::flat);
    return add(image_to_channels_last(x, y), kind_of(node.op));
  }
  lower_portable(node);
}

void Lowering::lower_op(const Node &node, const Softmax &) { lower_portable(node); }
void Lowering::lower_op(const Node &node, const Quantize &) { lower_portable(node); }
void Lowering::lower_op(const Node &node, const Dequantize &) { lower_portable(node); }

void Lowering::lower_portable(const Node &node) {
  std::vector<std::int32_t> xs;
  for (std::int32_t x : node.inputs) xs.push_back(flat(x));
  const std::int32_t y = make(node.output, Layout::flat);
  add(portable_step(std::move(xs), y, node), kind_of(node.op));
}

}  // namespace prunus
