#include "network/lower.h"

#include <algorithm>
#include <string>

#include "network/builder.h"
#include "network/choose.h"
#include "network/conv.h"
#include "network/relayout.h"
#include "network/types.h"

namespace prunus {
Lowering::Lowering(Plan &plan) : plan_(plan), zero_(zero_points(plan.definition)), uses_(zero_.size()), known_(zero_.size()) {
  for (const Node &node : plan.definition.nodes)
    for (std::int32_t x : node.inputs) ++uses_[static_cast<std::size_t>(x)];
  for (std::int32_t y : plan.definition.outputs) ++uses_[static_cast<std::size_t>(y)];
}

void Lowering::run() {
  lower_inputs();
  const auto &nodes = plan_.definition.nodes;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    node_ = static_cast<std::int32_t>(i);
    std::visit([&](const auto &op) { lower_op(nodes[i], op); }, nodes[i].op);
  }
  node_ = -1;
  lower_outputs();
}

// -- values ----------------------------------------------------------------------------------------------------------

const prunus_tensor &Lowering::tensor(std::int32_t id) const {
  return plan_.definition.tensors[static_cast<std::size_t>(id)];
}

Geometry Lowering::image_of(std::int32_t id) const {
  const prunus_tensor &t = tensor(id);
  Geometry g;
  if (t.rank != 3 && t.rank != 4) return g;
  g.images = t.shape[0];
  g.channels = t.shape[1];
  g.height = t.rank == 4 ? t.shape[2] : 1;
  g.width = t.shape[t.rank - 1];
  return g;
}

// Where all dimensions behind the channels are 1, the channels are the last ones.
Geometry Lowering::rows_of(std::int32_t id) const {
  const prunus_tensor &t = tensor(id);
  const bool no_pixels = t.rank > 2 && std::all_of(t.shape + 2, t.shape + t.rank, [](std::int32_t d) { return d == 1; });
  Geometry g;
  g.channels = no_pixels ? t.shape[1] : t.shape[t.rank - 1];
  g.height = 1;
  g.width = g.pitch = static_cast<std::int32_t>(elements(t) / g.channels);
  return g;
}

std::int32_t Lowering::find(std::int32_t tensor, Layout layout) const {
  for (std::int32_t id : known_[static_cast<std::size_t>(tensor)]) {
    const Value &v = plan_.value(id);
    if (v.layout == layout && v.flip == 0 && v.output < 0) return id;
  }
  return -1;
}

std::int32_t Lowering::make(std::int32_t id, Layout layout) {
  const auto index = static_cast<std::int32_t>(plan_.values.size());
  Value value;
  value.tensor = id;
  value.layout = layout;
  value.elements = elements(tensor(id));
  value.element_bytes = tensor(id).element == PRUNUS_ELEMENT_F32 ? 4 : 1;
  value.fill = static_cast<Act>(zero_[static_cast<std::size_t>(id)]);
  if (layout == Layout::rows) value.geometry = rows_of(id);
  if (layout == Layout::image) value.geometry = image_of(id);
  plan_.values.push_back(std::move(value));
  parent_.push_back(index);
  if (layout != Layout::phases) known_[static_cast<std::size_t>(id)].push_back(index);
  return index;
}

void Lowering::add(std::unique_ptr<Step> step, const char *kind) {
  step->info.node = node_;
  step->info.kind = kind;
  plan_.steps.push_back(std::move(step));
}

// One pixel is a matrix of one row, and quicker to turn as such.
std::unique_ptr<Step> Lowering::flattened(std::int32_t from, std::int32_t to) const {
  const Value &x = plan_.value(from);
  const Geometry &g = x.geometry;
  const bool one_pixel = g.images == 1 && g.height == 1 && g.width == 1;
  if (x.layout == Layout::rows || (x.layout == Layout::image && one_pixel)) return rows_to_flat(from, to);
  return x.layout == Layout::image ? image_to_flat(from, to) : flat_to_flat(from, to);
}

std::int32_t Lowering::flat(std::int32_t id) {
  if (const std::int32_t found = find(id, Layout::flat); found >= 0) return found;
  const std::int32_t from = known_[static_cast<std::size_t>(id)].front(), to = make(id, Layout::flat);
  const Layout layout = plan_.value(from).layout;  // flat: a caller's array of the other signedness
  add(flattened(from, to), layout == Layout::image ? "image_to_flat" : layout == Layout::rows ? "rows_to_flat" : "copy");
  return to;
}

std::int32_t Lowering::padded(std::int32_t id) {
  const std::int32_t from = flat(id);
  if (!plan_.value(from).external()) return from;
  const std::int32_t to = make(id, Layout::flat);
  add(flat_to_flat(from, to), "copy");
  auto &known = known_[static_cast<std::size_t>(id)];
  std::swap(*std::find(known.begin(), known.end(), from), known.back());  // the better one is found first
  return to;
}

std::int32_t Lowering::given(std::int32_t id) {
  const std::int32_t first = known_[static_cast<std::size_t>(id)].front();
  return plan_.value(first).layout == Layout::flat ? first : flat(id);
}

std::int32_t Lowering::rows(std::int32_t id) {
  if (const std::int32_t found = find(id, Layout::rows); found >= 0) return found;
  const std::int32_t from = given(id), to = make(id, Layout::rows);
  add(flat_to_rows(from, to), "flat_to_rows");
  return to;
}

std::int32_t Lowering::image(std::int32_t id) {
  if (const std::int32_t found = find(id, Layout::image); found >= 0) return found;
  const std::int32_t from = given(id), to = make(id, Layout::image);
  add(flat_to_image(from, to), "flat_to_image");
  return to;
}

std::int32_t Lowering::in_layout(std::int32_t id, Layout layout) {
  return layout == Layout::image ? image(id) : layout == Layout::rows ? rows(id) : flat(id);
}

Layout Lowering::common_layout(const Node &node) const {
  for (Layout layout : {Layout::image, Layout::rows})
    for (std::int32_t x : node.inputs)
      if (find(x, layout) >= 0) return layout;
  return Layout::flat;
}

// -- windows and pitches ---------------------------------------------------------------------------------------------

std::int32_t Lowering::root(std::int32_t id) {
  while (parent_[static_cast<std::size_t>(id)] != id) id = parent_[static_cast<std::size_t>(id)];
  return id;
}

void Lowering::join(std::int32_t a, std::int32_t b) {
  a = root(a), b = root(b);
  parent_[static_cast<std::size_t>(std::max(a, b))] = std::min(a, b);
}

std::vector<std::int32_t> Lowering::pitch_classes() {
  std::vector<std::int32_t> roots;
  for (std::size_t i = 0; i < parent_.size(); ++i) roots.push_back(root(static_cast<std::int32_t>(i)));
  return roots;
}

namespace {

// How far taps reach from the pixel; negative upwards and to the left.
struct Extent {
  std::int32_t top = 0, left = 0, bottom = 0, right = 0;

  explicit Extent(const std::vector<Tap> &taps) {
    const auto compare = [](auto member) { return [=](const Tap &a, const Tap &b) { return a.*member < b.*member; }; };
    const auto [first_row, last_row] = std::minmax_element(taps.begin(), taps.end(), compare(&Tap::row));
    const auto [first_column, last_column] = std::minmax_element(taps.begin(), taps.end(), compare(&Tap::column));
    top = first_row->row, bottom = last_row->row, left = first_column->column, right = last_column->column;
  }

  // What that is outside of a height x width image, read from its pixel (0, 0) to (last_row, last_column).
  Halo outside(std::int32_t height, std::int32_t width, std::int32_t last_row, std::int32_t last_column) const {
    return {std::max(0, -top), std::max(0, -left), std::max(0, last_row + 1 + bottom - height),
            std::max(0, last_column + 1 + right - width)};
  }
};

void widen(Halo &halo, const Halo &by) {
  halo = {std::max(halo.top, by.top), std::max(halo.left, by.left), std::max(halo.bottom, by.bottom),
          std::max(halo.right, by.right)};
}

}  // namespace

std::vector<Tap> Lowering::windowed(std::int32_t id, prunus_window window, std::int32_t y, Act fill, std::int32_t &x) {
  const Geometry out = image_of(plan_.value(y).tensor);
  if (out.height == 1) window.stride_h = 1;  // there is nothing to step to
  if (out.width == 1) window.stride_w = 1;
  x = image(id);
  std::vector<Phase> phases;
  std::vector<Tap> taps = taps_of(window, window.stride_h, window.stride_w, phases);
  const Extent extent(taps);
  const bool strided = window.stride_h > 1 || window.stride_w > 1;
  const Geometry in = value(x).geometry;
  const std::int32_t height = strided ? (in.height + window.stride_h - 1) / window.stride_h : in.height;
  const std::int32_t width = strided ? (in.width + window.stride_w - 1) / window.stride_w : in.width;
  const Halo halo = extent.outside(height, width, out.height - 1, out.width - 1);
  const bool bordered = halo.top || halo.left || halo.bottom || halo.right;
  if (strided || (bordered && value(x).fill != fill)) {
    const std::int32_t from = x;
    x = make(id, Layout::phases);
    Value &v = value(x);
    v.geometry = in;
    v.geometry.channels = static_cast<std::int32_t>(phases.size()) * in.quads() * kQuad;
    v.geometry.height = height;
    v.geometry.width = width;
    v.stride_h = window.stride_h;
    v.stride_w = window.stride_w;
    v.phases = phases;
    v.fill = fill;
    add(image_to_phases(from, x), "phases");
  }
  Value &v = value(x);
  widen(v.halo, halo);
  v.reads.push_back({out.height, extent.bottom, extent.right});
  join(x, y);
  return taps;
}

// Where the image is padded with what the window expects, and a kernel of rows is faster than phases.
bool Lowering::steps(const Node &node, const Conv &op, std::int32_t y) {
  const prunus_window &w = op.args.window;
  const std::int32_t x = image(node.inputs[0]);
  const Geometry &in = value(x).geometry, &out = value(y).geometry;
  if ((w.stride_h == 1 && w.stride_w == 1) || value(x).fill != static_cast<Act>(op.args.x.zero_point)) return false;
  std::vector<Phase> phases;
  const LinearLayer layer = linear_layer(op);
  const std::vector<Tap> taps = taps_of(w, w.stride_h, w.stride_w, phases);
  const std::int64_t halo = w.pad_left || w.pad_right;
  const std::int64_t vectors = (out.height * (out.width + halo) + kPixels - 1) / kPixels * out.images;
  const DenseMatrix matrix(layer, std::vector<std::int32_t>(taps.size()), 0);
  const std::int64_t image_bytes = std::int64_t{in.images} * in.quads() * kQuad * in.height * in.width;
  return skip_phases(plan_.options, matrix.problem(vectors, rows_pixels(out, layer.in_c)),
                     image_bytes * static_cast<std::int64_t>(phases.size()) / (w.stride_h * w.stride_w),
                     LinearEpilogue(layer).conversion_is_safe());
}

std::vector<Tap> Lowering::stepped(std::int32_t x, const prunus_window &window, std::int32_t y) {
  const Geometry &out = value(y).geometry, &in = value(x).geometry;
  std::vector<Phase> phases;
  std::vector<Tap> taps = taps_of(window, 1, 1, phases);
  widen(value(x).halo, Extent(taps).outside(in.height, in.width, (out.height - 1) * window.stride_h,
                                            (out.width - 1) * window.stride_w));
  return taps;
}

// -- operators -------------------------------------------------------------------------------------------------------

void Lowering::lower_inputs() {
  const auto &inputs = plan_.definition.inputs;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const std::int32_t id = make(inputs[i], Layout::flat);
    value(id).input = static_cast<std::int32_t>(i);
    value(id).flip = flip_of(plan_.tensors[static_cast<std::size_t>(inputs[i])].element);
  }
}

void Lowering::lower_outputs() {
  const auto &outputs = plan_.definition.outputs;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const auto &known = known_[static_cast<std::size_t>(outputs[i])];
    if (known.empty()) throw Failure(PRUNUS_E_STATE, "output " + std::to_string(i) + " is never computed");
    const std::int32_t from = known.front(), to = make(outputs[i], Layout::flat);
    value(to).output = static_cast<std::int32_t>(i);
    value(to).flip = flip_of(plan_.tensors[static_cast<std::size_t>(outputs[i])].element);
    add(flattened(from, to), "output");
  }
}

}  // namespace prunus
