#include "bindings_args.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

namespace prunus {

using namespace nb::literals;

Requant Requant::f32(const Array &multiplier) {
  return {PRUNUS_F32, vector_of<float>(multiplier, "multiplier", "float32"), {}, {}};
}

Requant Requant::fixed(const Array &multiplier, const Array &shift) {
  if (multiplier.size() != shift.size()) throw KernelError("E_SHAPE: as many multipliers as shifts are needed");
  return {PRUNUS_FIXED, {}, vector_of<int32_t>(multiplier, "multiplier", "int32"),
          vector_of<int32_t>(shift, "shift", "int32")};
}

Requant Requant::pow2(const Array &shift) {
  return {PRUNUS_POW2, {}, {}, vector_of<int32_t>(shift, "shift", "int32")};
}

const char *Requant::scheme_name() const {
  return scheme == PRUNUS_F32 ? "f32" : scheme == PRUNUS_FIXED ? "fixed" : "pow2";
}

prunus_requant Requant::c() const {
  return {scheme, dimension(size()), multiplier_f32.data(), multiplier.data(), shift.data()};
}

Output::Output(const std::string &name, int32_t zero, std::optional<int32_t> low, std::optional<int32_t> high) {
  if (name != "u8" && name != "s8") throw KernelError("E_TYPE: dtype is 'u8' or 's8'");
  dtype = name == "s8" ? PRUNUS_S8 : PRUNUS_U8;
  zero_point = zero;
  qmin = low.value_or(dtype == PRUNUS_S8 ? -128 : 0);
  qmax = high.value_or(dtype == PRUNUS_S8 ? 127 : 255);
}

prunus_epilogue epilogue_of(const Requant &requant, const Output &y) {
  return {requant.c(), y.type(), y.qmin, y.qmax};
}

size_t Operand::size() const {
  size_t product = 1;
  for (size_t size : shape) product *= size;
  return product;
}

Operand operand(const Array &array, const char *name) { return {shape_of(array), dtype_of(array, name)}; }

namespace {

prunus_window window_of(Pair kernel, const Windowing &w) {
  return {kernel[0], kernel[1], w.strides[0], w.strides[1],   w.pads[0],
          w.pads[1], w.pads[2], w.pads[3],    w.dilations[0], w.dilations[1]};
}

int32_t positions(int64_t in, int64_t kernel, int64_t stride, int64_t before, int64_t after, int64_t dilation) {
  int64_t room = in + before + after - dilation * (kernel - 1) - 1;
  if (room < 0 || stride < 1 || kernel < 1) return 0;
  return dimension(static_cast<size_t>(room / stride + 1));
}

}  // namespace

int32_t out_height(int32_t in_h, const prunus_window &w) {
  return positions(in_h, w.kernel_h, w.stride_h, w.pad_top, w.pad_bottom, w.dilation_h);
}

int32_t out_width(int32_t in_w, const prunus_window &w) {
  return positions(in_w, w.kernel_w, w.stride_w, w.pad_left, w.pad_right, w.dilation_w);
}

Call<prunus_conv2d_args> conv_call(const char *name, const Operand &x, const Array &w, const Array &bias,
                                   const Requant &requant, const Output &y, int32_t x_zero_point,
                                   const Windowing &window, int32_t group) {
  expect(x.rank() == 4 && w.ndim() == 4 && bias.ndim() == 1, name, "x and w have 4 dimensions, bias has 1");
  elements<int8_t>(w, "w", "int8");
  elements<int32_t>(bias, "bias", "int32");
  expect(bias.shape(0) == w.shape(0), name, "one bias per output channel is needed");
  expect(group > 0 && w.shape(1) * static_cast<size_t>(group) == x.shape[1], name, "w does not match x and group");
  Call<prunus_conv2d_args> call;
  prunus_conv2d_args &args = call.args;
  args.batch = dimension(x.shape[0]), args.in_c = dimension(x.shape[1]);
  args.in_h = dimension(x.shape[2]), args.in_w = dimension(x.shape[3]);
  args.out_c = dimension(w.shape(0)), args.group = group;
  args.window = window_of({dimension(w.shape(2)), dimension(w.shape(3))}, window);
  args.out_h = out_height(args.in_h, args.window), args.out_w = out_width(args.in_w, args.window);
  args.x = {x.dtype, x_zero_point};
  args.y = epilogue_of(requant, y);
  call.y = {x.shape[0], w.shape(0), static_cast<size_t>(args.out_h), static_cast<size_t>(args.out_w)};
  return call;
}

Call<prunus_gemm_args> gemm_call(const char *name, const Operand &x, const Array &w, const Array &bias,
                                 const Requant &requant, const Output &y, int32_t x_zero_point) {
  expect(x.rank() >= 1 && w.ndim() == 2 && bias.ndim() == 1, name, "w has 2 dimensions, bias has 1");
  elements<int8_t>(w, "w", "int8");
  elements<int32_t>(bias, "bias", "int32");
  expect(bias.shape(0) == w.shape(0), name, "one bias per output channel is needed");
  expect(w.shape(1) == x.shape.back() && w.shape(1) > 0, name, "w does not match the last dimension of x");
  Call<prunus_gemm_args> call{{dimension(x.size() / w.shape(1)), dimension(w.shape(1)), dimension(w.shape(0)),
                               {x.dtype, x_zero_point}, epilogue_of(requant, y)},
                              x.shape};
  call.y.back() = w.shape(0);
  return call;
}

Call<prunus_binary_args> binary_call(const char *name, const Operand &a, const Operand &b, const Requant &requant,
                                     const Output &y, int32_t a_zero_point, int32_t b_zero_point) {
  size_t rank = std::max<size_t>({a.rank(), b.rank(), 1});
  expect(rank <= PRUNUS_MAX_RANK, name, "too many dimensions");
  Call<prunus_binary_args> call;
  call.args.rank = static_cast<int32_t>(rank);
  call.y.resize(std::max(a.rank(), b.rank()));
  for (size_t i = 0; i < rank; ++i) {  // shorter shapes are filled up with ones in front
    size_t size_a = i + a.rank() >= rank && a.rank() ? a.shape[i + a.rank() - rank] : 1;
    size_t size_b = i + b.rank() >= rank && b.rank() ? b.shape[i + b.rank() - rank] : 1;
    call.args.a_shape[i] = dimension(size_a), call.args.b_shape[i] = dimension(size_b);
    if (!call.y.empty()) call.y[i] = std::max(size_a, size_b);
  }
  call.args.a = {a.dtype, a_zero_point}, call.args.b = {b.dtype, b_zero_point};
  call.args.y = epilogue_of(requant, y);
  return call;
}

Shape concat_shape(const char *name, const std::vector<Operand> &xs, size_t axis, size_t zero_points, size_t copies) {
  expect(!xs.empty() && axis < xs[0].rank(), name, "at least one input and an axis inside of it are needed");
  expect(zero_points == xs.size() && copies == xs.size(), name, "one zero point and one copy per input");
  Shape shape = xs[0].shape;
  shape[axis] = 0;
  size_t length = 0;
  for (const Operand &x : xs) {
    Shape others = x.shape;
    expect(others.size() == shape.size(), name, "inputs differ in rank");
    length += std::exchange(others[axis], 0);
    expect(others == shape, name, "inputs differ in another dimension than the axis");
  }
  shape[axis] = length;
  return shape;
}

Call<prunus_pool2d_args> pool_call(const char *name, const Operand &x, Pair kernel, const Windowing &window,
                                   int32_t x_zero_point, std::optional<int32_t> fill) {
  expect(x.rank() == 4, name, "x has 4 dimensions");
  Call<prunus_pool2d_args> call;
  prunus_pool2d_args &args = call.args;
  args.batch = dimension(x.shape[0]), args.c = dimension(x.shape[1]);
  args.in_h = dimension(x.shape[2]), args.in_w = dimension(x.shape[3]);
  args.window = window_of(kernel, window);
  args.out_h = out_height(args.in_h, args.window), args.out_w = out_width(args.in_w, args.window);
  args.x = {x.dtype, x_zero_point};
  args.fill = fill.value_or(x.dtype == PRUNUS_S8 ? -128 : 0);
  call.y = {x.shape[0], x.shape[1], static_cast<size_t>(args.out_h), static_cast<size_t>(args.out_w)};
  return call;
}

void expect_counts(const char *name, const Array &count_index, const Shape &y) {
  elements<int32_t>(count_index, "count_index", "int32");
  expect(shape_of(count_index) == Shape({y[2], y[3]}), name, "count_index must be [out_h, out_w]");
}

Call<prunus_softmax_args> softmax_call(const char *name, const Operand &x, const Array &table, int32_t reciprocal,
                                       const Output &y, int32_t axis) {
  elements<uint32_t>(table, "table", "uint32");
  expect(table.size() == 256, name, "a table has 256 entries");
  int32_t rank = static_cast<int32_t>(x.rank());
  int32_t at = axis < 0 ? axis + rank : axis;
  expect(at >= 0 && at < rank, name, "the axis lies outside of x");
  size_t outer = 1, inner = 1;
  for (int32_t i = 0; i < at; ++i) outer *= x.shape[i];
  for (int32_t i = at + 1; i < rank; ++i) inner *= x.shape[i];
  return {{dimension(outer), dimension(x.shape[at]), dimension(inner), reciprocal, {x.dtype, 0}, y.type(), y.qmin,
           y.qmax},
          x.shape};
}

Call<prunus_slice_args> slice_call(const char *name, const Operand &x, const std::vector<int32_t> &start,
                                   const std::vector<int32_t> &step, const std::vector<int32_t> &shape, int32_t fill) {
  size_t rank = x.rank();
  expect(rank <= PRUNUS_MAX_RANK, name, "too many dimensions");
  expect(start.size() == rank && step.size() == rank && shape.size() == rank, name, "one entry per dimension of x");
  Call<prunus_slice_args> call;
  call.args.rank = static_cast<int32_t>(rank), call.args.fill = fill;
  for (size_t i = 0; i < rank; ++i) {
    expect(shape[i] > 0, name, "dimensions are at least 1");
    call.args.x_shape[i] = dimension(x.shape[i]), call.args.y_shape[i] = shape[i];
    call.args.start[i] = start[i], call.args.step[i] = step[i];
  }
  call.y.assign(shape.begin(), shape.end());
  return call;
}

Call<prunus_transpose_args> transpose_call(const char *name, const Operand &x, const std::vector<int32_t> &perm) {
  size_t rank = x.rank();
  expect(rank <= PRUNUS_MAX_RANK && perm.size() == rank, name, "one entry per dimension of x");
  Call<prunus_transpose_args> call;
  call.args.rank = static_cast<int32_t>(rank);
  call.y.resize(rank);
  for (size_t i = 0; i < rank; ++i) {
    expect(perm[i] >= 0 && perm[i] < call.args.rank, name, "not a permutation");
    call.args.x_shape[i] = dimension(x.shape[i]), call.args.perm[i] = perm[i];
    call.y[i] = x.shape[perm[i]];
  }
  return call;
}

Call<prunus_resize_args> resize_call(const char *name, const Operand &x, const Array &rows, const Array &columns) {
  expect(x.rank() == 4 && rows.ndim() == 1 && columns.ndim() == 1, name, "x has 4 dimensions, indices 1");
  elements<int32_t>(rows, "rows", "int32");
  elements<int32_t>(columns, "columns", "int32");
  return {{dimension(x.shape[0]), dimension(x.shape[1]), dimension(x.shape[2]), dimension(x.shape[3]),
           dimension(rows.size()), dimension(columns.size())},
          {x.shape[0], x.shape[1], rows.size(), columns.size()}};
}

void define_types(nb::module_ &m) {
  nb::exception<KernelError>(m, "KernelError", PyExc_ValueError);
  nb::class_<Requant>(m, "Requant", "How an accumulator is scaled: round_half_even(acc * m), m > 0.")
      .def_static("f32", &Requant::f32, "multiplier"_a, "m = multiplier (float32), one entry or one per channel.")
      .def_static("fixed", &Requant::fixed, "multiplier"_a, "shift"_a,
                  "m = multiplier * 2^-shift (both int32, 1 <= shift <= 62), exact in 64 bits.")
      .def_static("pow2", &Requant::pow2, "shift"_a, "m = 2^-shift (int32, -31 <= shift <= 62).")
      .def_prop_ro("scheme", &Requant::scheme_name)
      .def_prop_ro("size", &Requant::size);
  nb::class_<Output>(m, "Output", "Type of an output, and the range [qmin, qmax] that a fused Relu or Clip leaves.")
      .def(nb::init<const std::string &, int32_t, std::optional<int32_t>, std::optional<int32_t>>(), "dtype"_a,
           "zero_point"_a = 0, "qmin"_a = nb::none(), "qmax"_a = nb::none(), "dtype is 'u8' or 's8'.");
}

}  // namespace prunus
