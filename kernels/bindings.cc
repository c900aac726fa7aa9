// The Python face of the kernels: numpy arrays in and out, one function per operator, named as in kernels.h.
#include "bindings.h"

#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

namespace prunus {
namespace {

using namespace nb::literals;

// -- what an operator is made of ------------------------------------------------------------------------------------

// Owns the multipliers that a prunus_requant points to.
struct Requant {
  int32_t scheme = PRUNUS_POW2;
  std::vector<float> multiplier_f32;
  std::vector<int32_t> multiplier, shift;

  static Requant f32(const Array &multiplier) {
    return {PRUNUS_F32, vector_of<float>(multiplier, "multiplier", "float32"), {}, {}};
  }
  static Requant fixed(const Array &multiplier, const Array &shift) {
    if (multiplier.size() != shift.size()) throw KernelError("E_SHAPE: as many multipliers as shifts are needed");
    return {PRUNUS_FIXED, {}, vector_of<int32_t>(multiplier, "multiplier", "int32"),
            vector_of<int32_t>(shift, "shift", "int32")};
  }
  static Requant pow2(const Array &shift) { return {PRUNUS_POW2, {}, {}, vector_of<int32_t>(shift, "shift", "int32")}; }

  const char *scheme_name() const { return scheme == PRUNUS_F32 ? "f32" : scheme == PRUNUS_FIXED ? "fixed" : "pow2"; }
  size_t size() const { return scheme == PRUNUS_F32 ? multiplier_f32.size() : shift.size(); }
  prunus_requant c() const {
    return {scheme, dimension(size()), multiplier_f32.data(), multiplier.data(), shift.data()};
  }
};

// The output's type and the range that a fused Relu or Clip leaves.
struct Output {
  int32_t dtype, zero_point, qmin, qmax;

  Output(const std::string &name, int32_t zero, std::optional<int32_t> low, std::optional<int32_t> high) {
    if (name != "u8" && name != "s8") throw KernelError("E_TYPE: dtype is 'u8' or 's8'");
    dtype = name == "s8" ? PRUNUS_S8 : PRUNUS_U8;
    zero_point = zero;
    qmin = low.value_or(dtype == PRUNUS_S8 ? -128 : 0);
    qmax = high.value_or(dtype == PRUNUS_S8 ? 127 : 255);
  }
  prunus_type type() const { return {dtype, zero_point}; }
};

prunus_epilogue epilogue_of(const Requant &requant, const Output &y) {
  return {requant.c(), y.type(), y.qmin, y.qmax};
}

// -- windows ----------------------------------------------------------------------------------------------------------

prunus_window window_of(Pair kernel, Pair strides, Pads pads, Pair dilations) {
  return {kernel[0], kernel[1], strides[0],   strides[1],  pads[0],
          pads[1],   pads[2],   pads[3],      dilations[0], dilations[1]};
}

// The number of window positions, or 0 where the window does not fit (which the kernels refuse).
int32_t positions(int64_t in, int64_t kernel, int64_t stride, int64_t before, int64_t after, int64_t dilation) {
  int64_t room = in + before + after - dilation * (kernel - 1) - 1;
  if (room < 0 || stride < 1 || kernel < 1) return 0;
  return dimension(static_cast<size_t>(room / stride + 1));
}

int32_t out_height(int32_t in_h, const prunus_window &w) {
  return positions(in_h, w.kernel_h, w.stride_h, w.pad_top, w.pad_bottom, w.dilation_h);
}

int32_t out_width(int32_t in_w, const prunus_window &w) {
  return positions(in_w, w.kernel_w, w.stride_w, w.pad_left, w.pad_right, w.dilation_w);
}

// -- multiply-accumulate ----------------------------------------------------------------------------------------------

using Convolution = decltype(&prunus_conv2d);

Result convolve(const char *name, Convolution kernel, const Array &x, const Array &w, const Array &bias,
                const Requant &requant, const Output &y, int32_t x_zero_point, Pair strides, Pads pads, Pair dilations,
                int32_t group) {
  expect(x.ndim() == 4 && w.ndim() == 4 && bias.ndim() == 1, name, "x and w have 4 dimensions, bias has 1");
  const int8_t *weights = elements<int8_t>(w, "w", "int8");
  const int32_t *biases = elements<int32_t>(bias, "bias", "int32");
  expect(bias.shape(0) == w.shape(0), name, "one bias per output channel is needed");
  expect(group > 0 && w.shape(1) * static_cast<size_t>(group) == x.shape(1), name, "w does not match x and group");
  prunus_conv2d_args args{};
  args.batch = dimension(x.shape(0)), args.in_c = dimension(x.shape(1));
  args.in_h = dimension(x.shape(2)), args.in_w = dimension(x.shape(3));
  args.out_c = dimension(w.shape(0)), args.group = group;
  args.window = window_of({dimension(w.shape(2)), dimension(w.shape(3))}, strides, pads, dilations);
  args.out_h = out_height(args.in_h, args.window), args.out_w = out_width(args.in_w, args.window);
  args.x = {dtype_of(x, "x"), x_zero_point};
  args.y = epilogue_of(requant, y);
  OutputArray out({x.shape(0), w.shape(0), static_cast<size_t>(args.out_h), static_cast<size_t>(args.out_w)}, y.dtype);
  run(name, [&] { return kernel(&args, x.data(), weights, biases, out.data()); });
  return out.release();
}

Result conv2d(const Array &x, const Array &w, const Array &bias, const Requant &requant, const Output &y,
              int32_t x_zero_point, Pair strides, Pads pads, Pair dilations, int32_t group) {
  return convolve("conv2d", prunus_conv2d, x, w, bias, requant, y, x_zero_point, strides, pads, dilations, group);
}

Result depthwise2d(const Array &x, const Array &w, const Array &bias, const Requant &requant, const Output &y,
                   int32_t x_zero_point, Pair strides, Pads pads, Pair dilations) {
  int32_t group = x.ndim() == 4 ? dimension(x.shape(1)) : 0;
  return convolve("depthwise2d", prunus_depthwise2d, x, w, bias, requant, y, x_zero_point, strides, pads, dilations,
                  group);
}

Result gemm(const Array &x, const Array &w, const Array &bias, const Requant &requant, const Output &y,
            int32_t x_zero_point) {
  expect(x.ndim() >= 1 && w.ndim() == 2 && bias.ndim() == 1, "gemm", "w has 2 dimensions, bias has 1");
  const int8_t *weights = elements<int8_t>(w, "w", "int8");
  const int32_t *biases = elements<int32_t>(bias, "bias", "int32");
  expect(bias.shape(0) == w.shape(0), "gemm", "one bias per output channel is needed");
  expect(w.shape(1) == x.shape(x.ndim() - 1) && w.shape(1) > 0, "gemm", "w does not match the last dimension of x");
  Shape shape = shape_of(x);
  shape.back() = w.shape(0);
  prunus_gemm_args args{dimension(x.size() / w.shape(1)), dimension(w.shape(1)), dimension(w.shape(0)),
                        {dtype_of(x, "x"), x_zero_point}, epilogue_of(requant, y)};
  OutputArray out(shape, y.dtype);
  run("gemm", [&] { return prunus_gemm(&args, x.data(), weights, biases, out.data()); });
  return out.release();
}

// -- elementwise ------------------------------------------------------------------------------------------------------

using Binary = decltype(&prunus_add);

Result broadcast(const char *name, Binary kernel, const Array &a, const Array &b, const Requant &requant,
                 const Output &y, int32_t a_zero_point, int32_t b_zero_point) {
  size_t rank = std::max<size_t>({a.ndim(), b.ndim(), 1});
  expect(rank <= PRUNUS_MAX_RANK, name, "too many dimensions");
  prunus_binary_args args{};
  args.rank = static_cast<int32_t>(rank);
  Shape shape(std::max(a.ndim(), b.ndim()));
  for (size_t i = 0; i < rank; ++i) {  // shorter shapes are filled up with ones in front
    size_t size_a = i + a.ndim() >= rank && a.ndim() ? a.shape(i + a.ndim() - rank) : 1;
    size_t size_b = i + b.ndim() >= rank && b.ndim() ? b.shape(i + b.ndim() - rank) : 1;
    args.a_shape[i] = dimension(size_a), args.b_shape[i] = dimension(size_b);
    if (!shape.empty()) shape[i] = std::max(size_a, size_b);
  }
  args.a = {dtype_of(a, "a"), a_zero_point}, args.b = {dtype_of(b, "b"), b_zero_point};
  args.y = epilogue_of(requant, y);
  OutputArray out(shape, y.dtype);
  run(name, [&] { return kernel(&args, a.data(), b.data(), out.data()); });
  return out.release();
}

Result add(const Array &a, const Array &b, const Requant &requant, const Output &y, int32_t a_zero_point,
           int32_t b_zero_point) {
  return broadcast("add", prunus_add, a, b, requant, y, a_zero_point, b_zero_point);
}

Result mul(const Array &a, const Array &b, const Requant &requant, const Output &y, int32_t a_zero_point,
           int32_t b_zero_point) {
  return broadcast("mul", prunus_mul, a, b, requant, y, a_zero_point, b_zero_point);
}

Result requantize(const Array &x, const Requant &requant, const Output &y, int32_t x_zero_point, int32_t entry,
                  bool copy) {
  OutputArray out(shape_of(x), y.dtype);
  int32_t size = dimension(x.size());
  prunus_requant_args args{1, size, size, copy, entry, {dtype_of(x, "x"), x_zero_point}, epilogue_of(requant, y)};
  run("requantize", [&] { return prunus_requantize(&args, x.data(), out.data()); });
  return out.release();
}

Result concat(const std::vector<Array> &xs, const Requant &requant, const Output &y, size_t axis,
              const std::vector<int32_t> &zero_points, const std::vector<bool> &copy) {
  expect(!xs.empty() && axis < xs[0].ndim(), "concat", "at least one input and an axis inside of it are needed");
  expect(zero_points.size() == xs.size() && copy.size() == xs.size(), "concat", "one zero point and one copy per input");
  Shape shape = shape_of(xs[0]);
  shape[axis] = 0;
  size_t length = 0;
  for (const Array &x : xs) {
    Shape others = shape_of(x);
    expect(others.size() == shape.size(), "concat", "inputs differ in rank");
    length += std::exchange(others[axis], 0);
    expect(others == shape, "concat", "inputs differ in another dimension than the axis");
  }
  shape[axis] = length;
  size_t outer = 1, inner = 1;
  for (size_t i = 0; i < axis; ++i) outer *= shape[i];
  for (size_t i = axis + 1; i < shape.size(); ++i) inner *= shape[i];
  OutputArray out(shape, y.dtype);
  uint8_t *slice = out.data();
  for (size_t i = 0; i < xs.size(); ++i) {
    size_t run_length = xs[i].shape(axis) * inner;
    prunus_requant_args args{dimension(outer), dimension(run_length), dimension(shape[axis] * inner), copy[i],
                             static_cast<int32_t>(i), {dtype_of(xs[i], "x"), zero_points[i]},
                             epilogue_of(requant, y)};
    run("concat", [&] { return prunus_requantize(&args, xs[i].data(), slice); });
    slice += run_length;
  }
  return out.release();
}

Result lut(const Array &x, const Array &table) {
  expect(table.size() == 256, "lut", "a table has 256 entries");
  OutputArray out(shape_of(x), dtype_of(table, "table"));
  int32_t dtype = dtype_of(x, "x");
  run("lut", [&] { return prunus_lut(x.size(), dtype, table.data(), x.data(), out.data()); });
  return out.release();
}

Result softmax(const Array &x, const Array &table, int32_t reciprocal, const Output &y, int32_t axis) {
  const uint32_t *exponentials = elements<uint32_t>(table, "table", "uint32");
  expect(table.size() == 256, "softmax", "a table has 256 entries");
  int32_t rank = static_cast<int32_t>(x.ndim());
  int32_t at = axis < 0 ? axis + rank : axis;
  expect(at >= 0 && at < rank, "softmax", "the axis lies outside of x");
  size_t outer = 1, inner = 1;
  for (int32_t i = 0; i < at; ++i) outer *= x.shape(i);
  for (int32_t i = at + 1; i < rank; ++i) inner *= x.shape(i);
  prunus_softmax_args args{dimension(outer), dimension(x.shape(at)), dimension(inner), reciprocal,
                           {dtype_of(x, "x"), 0}, y.type(), y.qmin, y.qmax};
  OutputArray out(shape_of(x), y.dtype);
  run("softmax", [&] { return prunus_softmax(&args, exponentials, x.data(), out.data()); });
  return out.release();
}

// -- pooling ----------------------------------------------------------------------------------------------------------

prunus_pool2d_args pool_of(const char *name, const Array &x, Pair kernel, Pair strides, Pads pads, Pair dilations,
                           int32_t x_zero_point) {
  expect(x.ndim() == 4, name, "x has 4 dimensions");
  prunus_pool2d_args args{};
  args.batch = dimension(x.shape(0)), args.c = dimension(x.shape(1));
  args.in_h = dimension(x.shape(2)), args.in_w = dimension(x.shape(3));
  args.window = window_of(kernel, strides, pads, dilations);
  args.out_h = out_height(args.in_h, args.window), args.out_w = out_width(args.in_w, args.window);
  args.x = {dtype_of(x, "x"), x_zero_point};
  return args;
}

Shape pool_shape(const Array &x, const prunus_pool2d_args &args) {
  return {x.shape(0), x.shape(1), static_cast<size_t>(args.out_h), static_cast<size_t>(args.out_w)};
}

Result maxpool2d(const Array &x, Pair kernel, Pair strides, Pads pads, Pair dilations, std::optional<int32_t> fill) {
  prunus_pool2d_args args = pool_of("maxpool2d", x, kernel, strides, pads, dilations, 0);
  args.fill = fill.value_or(args.x.dtype == PRUNUS_S8 ? -128 : 0);
  OutputArray out(pool_shape(x, args), args.x.dtype);
  run("maxpool2d", [&] { return prunus_maxpool2d(&args, x.data(), out.data()); });
  return out.release();
}

Result avgpool2d(const Array &x, const Array &count_index, const Requant &requant, const Output &y, Pair kernel,
                 int32_t x_zero_point, Pair strides, Pads pads, Pair dilations) {
  prunus_pool2d_args args = pool_of("avgpool2d", x, kernel, strides, pads, dilations, x_zero_point);
  const int32_t *index = elements<int32_t>(count_index, "count_index", "int32");
  Shape shape = pool_shape(x, args);
  expect(shape_of(count_index) == Shape({shape[2], shape[3]}), "avgpool2d", "count_index must be [out_h, out_w]");
  prunus_epilogue epilogue = epilogue_of(requant, y);
  OutputArray out(shape, y.dtype);
  run("avgpool2d", [&] { return prunus_avgpool2d(&args, &epilogue, index, x.data(), out.data()); });
  return out.release();
}

// -- data movement ----------------------------------------------------------------------------------------------------

Result slice(const Array &x, const std::vector<int32_t> &start, const std::vector<int32_t> &step,
             const std::vector<int32_t> &shape, int32_t fill) {
  size_t rank = x.ndim();
  expect(rank <= PRUNUS_MAX_RANK, "slice", "too many dimensions");
  expect(start.size() == rank && step.size() == rank && shape.size() == rank, "slice", "one entry per dimension of x");
  prunus_slice_args args{};
  args.rank = static_cast<int32_t>(rank), args.fill = fill;
  for (size_t i = 0; i < rank; ++i) {
    expect(shape[i] > 0, "slice", "dimensions are at least 1");
    args.x_shape[i] = dimension(x.shape(i)), args.y_shape[i] = shape[i];
    args.start[i] = start[i], args.step[i] = step[i];
  }
  OutputArray out(Shape(shape.begin(), shape.end()), dtype_of(x, "x"));
  run("slice", [&] { return prunus_slice(&args, x.data(), out.data()); });
  return out.release();
}

Result transpose(const Array &x, const std::vector<int32_t> &perm) {
  size_t rank = x.ndim();
  expect(rank <= PRUNUS_MAX_RANK && perm.size() == rank, "transpose", "one entry per dimension of x");
  prunus_transpose_args args{};
  args.rank = static_cast<int32_t>(rank);
  Shape shape(rank);
  for (size_t i = 0; i < rank; ++i) {
    expect(perm[i] >= 0 && perm[i] < args.rank, "transpose", "not a permutation");
    args.x_shape[i] = dimension(x.shape(i)), args.perm[i] = perm[i];
    shape[i] = x.shape(perm[i]);
  }
  OutputArray out(shape, dtype_of(x, "x"));
  run("transpose", [&] { return prunus_transpose(&args, x.data(), out.data()); });
  return out.release();
}

Result resize_nearest(const Array &x, const Array &rows, const Array &columns) {
  expect(x.ndim() == 4 && rows.ndim() == 1 && columns.ndim() == 1, "resize_nearest", "x has 4 dimensions, indices 1");
  const int32_t *from_rows = elements<int32_t>(rows, "rows", "int32");
  const int32_t *from_columns = elements<int32_t>(columns, "columns", "int32");
  prunus_resize_args args{dimension(x.shape(0)), dimension(x.shape(1)), dimension(x.shape(2)),
                          dimension(x.shape(3)), dimension(rows.size()), dimension(columns.size())};
  OutputArray out({x.shape(0), x.shape(1), rows.size(), columns.size()}, dtype_of(x, "x"));
  run("resize_nearest",
      [&] { return prunus_resize_nearest(&args, from_rows, from_columns, x.data(), out.data()); });
  return out.release();
}

// -- the borders of the integer part ----------------------------------------------------------------------------------

Result quantize(const Array &x, float scale, const Output &y) {
  const float *numbers = elements<float>(x, "x", "float32");
  prunus_epilogue epilogue{{}, y.type(), y.qmin, y.qmax};
  OutputArray out(shape_of(x), y.dtype);
  run("quantize", [&] { return prunus_quantize(x.size(), scale, &epilogue, numbers, out.data()); });
  return out.release();
}

Result dequantize(const Array &x, float scale, int32_t x_zero_point) {
  prunus_type type{dtype_of(x, "x"), x_zero_point};
  OutputArray out(shape_of(x), nb::dtype<float>());
  run("dequantize", [&] {
    return prunus_dequantize(x.size(), scale, &type, x.data(), reinterpret_cast<float *>(out.data()));
  });
  return out.release();
}

// -- the module -------------------------------------------------------------------------------------------------------

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

void define_linear(nb::module_ &m) {
  m.def("conv2d", &conv2d, "x"_a, "w"_a, "bias"_a, "requant"_a, "output"_a, nb::kw_only(), "x_zero_point"_a = 0,
        "strides"_a = Pair{1, 1}, "pads"_a = Pads{0, 0, 0, 0}, "dilations"_a = Pair{1, 1}, "group"_a = 1,
        "x [n, c, h, w] (*) w [out, c / group, kh, kw] -> [n, out, oh, ow]; pads are top, left, bottom, right.");
  m.def("depthwise2d", &depthwise2d, "x"_a, "w"_a, "bias"_a, "requant"_a, "output"_a, nb::kw_only(),
        "x_zero_point"_a = 0, "strides"_a = Pair{1, 1}, "pads"_a = Pads{0, 0, 0, 0}, "dilations"_a = Pair{1, 1},
        "x [n, c, h, w] (*) w [c * multiplier, 1, kh, kw]; output channel o reads input o // multiplier.");
  m.def("gemm", &gemm, "x"_a, "w"_a, "bias"_a, "requant"_a, "output"_a, nb::kw_only(), "x_zero_point"_a = 0,
        "x [..., in] @ w[out, in].T -> [..., out].");
}

void define_elementwise(nb::module_ &m) {
  m.def("add", &add, "a"_a, "b"_a, "requant"_a, "output"_a, nb::kw_only(), "a_zero_point"_a = 0, "b_zero_point"_a = 0,
        "a * m[0] + b * m[1] with numpy broadcasting and one rounding.");
  m.def("mul", &mul, "a"_a, "b"_a, "requant"_a, "output"_a, nb::kw_only(), "a_zero_point"_a = 0, "b_zero_point"_a = 0,
        "a * b * m[0] with numpy broadcasting.");
  m.def("requantize", &requantize, "x"_a, "requant"_a, "output"_a, nb::kw_only(), "x_zero_point"_a = 0, "entry"_a = 0,
        "copy"_a = false, "x * m[entry]; with `copy`, x has the output's type already and is only clipped.");
  m.def("concat", &concat, "xs"_a, "requant"_a, "output"_a, nb::kw_only(), "axis"_a, "zero_points"_a, "copy"_a,
        "Concatenation along `axis` (batch included); input i is copied where copy[i], else scaled by m[i].");
  m.def("lut", &lut, "x"_a, "table"_a, "table[x] (uint8) or table[x + 128] (int8).");
  m.def("softmax", &softmax, "x"_a, "table"_a, "reciprocal"_a, "output"_a, nb::kw_only(), "axis"_a = -1,
        "Integer softmax: T = table[max - x], S = sum T, floor((2 T R + S) / (2 S)) with R = reciprocal = 1 / scale.");
}

void define_windows(nb::module_ &m) {
  m.def("maxpool2d", &maxpool2d, "x"_a, "kernel"_a, nb::kw_only(), "strides"_a = Pair{1, 1},
        "pads"_a = Pads{0, 0, 0, 0}, "dilations"_a = Pair{1, 1}, "fill"_a = nb::none(),
        "Padding counts as `fill`, by default the lowest value of the type.");
  m.def("avgpool2d", &avgpool2d, "x"_a, "count_index"_a, "requant"_a, "output"_a, "kernel"_a, nb::kw_only(),
        "x_zero_point"_a = 0, "strides"_a = Pair{1, 1}, "pads"_a = Pads{0, 0, 0, 0}, "dilations"_a = Pair{1, 1},
        "Sums over windows times m[count_index]; count_index is int32 [oh, ow].");
}

void define_movement(nb::module_ &m) {
  m.def("slice", &slice, "x"_a, "start"_a, "step"_a, "shape"_a, nb::kw_only(), "fill"_a = 0,
        "y[i] = x[start + i * step], or `fill` outside of x: slices (step > 0) and pads (start < 0).");
  m.def("transpose", &transpose, "x"_a, "perm"_a, "Dimension perm[i] of x becomes dimension i.");
  m.def("resize_nearest", &resize_nearest, "x"_a, "rows"_a, "columns"_a,
        "y[n, c, i, j] = x[n, c, rows[i], columns[j]]; indices are int32.");
  m.def("quantize", &quantize, "x"_a, "scale"_a, "output"_a, "clip(round_half_even(x / scale) + zero_point).");
  m.def("dequantize", &dequantize, "x"_a, "scale"_a, nb::kw_only(), "x_zero_point"_a = 0,
        "(x - zero_point) * scale as float32.");
}

}  // namespace
}  // namespace prunus

NB_MODULE(_core, m) {
  nanobind::set_leak_warnings(false);  // objects that outlive the interpreter's shutdown are no news to users
  m.doc() = "Integer kernels on numpy arrays; releases the interpreter lock while they compute.";
  prunus::define_types(m);
  prunus::define_linear(m);
  prunus::define_elementwise(m);
  prunus::define_windows(m);
  prunus::define_movement(m);
}
