// The Python face of the kernels: numpy arrays in and out, one function per operator, named as in kernels.h.
#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "bindings_args.h"

namespace prunus {
namespace {

using namespace nb::literals;

// -- multiply-accumulate ----------------------------------------------------------------------------------------------

using Convolution = decltype(&prunus_conv2d);

const int8_t *weights_of(const Array &w) { return static_cast<const int8_t *>(w.data()); }
const int32_t *integers_of(const Array &array) { return static_cast<const int32_t *>(array.data()); }

Result convolve(const char *name, Convolution kernel, const Array &x, const Array &w, const Array &bias,
                const Requant &requant, const Output &y, int32_t x_zero_point, const Windowing &window, int32_t group) {
  auto call = conv_call(name, operand(x, "x"), w, bias, requant, y, x_zero_point, window, group);
  OutputArray out(call.y, y.dtype);
  run(name, [&] { return kernel(&call.args, x.data(), weights_of(w), integers_of(bias), out.data()); });
  return out.release();
}

Result conv2d(const Array &x, const Array &w, const Array &bias, const Requant &requant, const Output &y,
              int32_t x_zero_point, Pair strides, Pads pads, Pair dilations, int32_t group) {
  return convolve("conv2d", prunus_conv2d, x, w, bias, requant, y, x_zero_point, {strides, pads, dilations}, group);
}

Result depthwise2d(const Array &x, const Array &w, const Array &bias, const Requant &requant, const Output &y,
                   int32_t x_zero_point, Pair strides, Pads pads, Pair dilations) {
  int32_t group = x.ndim() == 4 ? dimension(x.shape(1)) : 0;
  return convolve("depthwise2d", prunus_depthwise2d, x, w, bias, requant, y, x_zero_point, {strides, pads, dilations},
                  group);
}

Result gemm(const Array &x, const Array &w, const Array &bias, const Requant &requant, const Output &y,
            int32_t x_zero_point) {
  auto call = gemm_call("gemm", operand(x, "x"), w, bias, requant, y, x_zero_point);
  OutputArray out(call.y, y.dtype);
  run("gemm", [&] { return prunus_gemm(&call.args, x.data(), weights_of(w), integers_of(bias), out.data()); });
  return out.release();
}

// -- elementwise ------------------------------------------------------------------------------------------------------

using Binary = decltype(&prunus_add);

Result broadcast(const char *name, Binary kernel, const Array &a, const Array &b, const Requant &requant,
                 const Output &y, int32_t a_zero_point, int32_t b_zero_point) {
  auto call = binary_call(name, operand(a, "a"), operand(b, "b"), requant, y, a_zero_point, b_zero_point);
  OutputArray out(call.y, y.dtype);
  run(name, [&] { return kernel(&call.args, a.data(), b.data(), out.data()); });
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
  std::vector<Operand> operands;
  for (const Array &x : xs) operands.push_back(operand(x, "x"));
  Shape shape = concat_shape("concat", operands, axis, zero_points.size(), copy.size());
  size_t outer = 1, inner = 1;
  for (size_t i = 0; i < axis; ++i) outer *= shape[i];
  for (size_t i = axis + 1; i < shape.size(); ++i) inner *= shape[i];
  OutputArray out(shape, y.dtype);
  uint8_t *slice = out.data();
  for (size_t i = 0; i < xs.size(); ++i) {
    size_t run_length = xs[i].shape(axis) * inner;
    prunus_requant_args args{dimension(outer), dimension(run_length), dimension(shape[axis] * inner), copy[i],
                             static_cast<int32_t>(i), {operands[i].dtype, zero_points[i]}, epilogue_of(requant, y)};
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
  auto call = softmax_call("softmax", operand(x, "x"), table, reciprocal, y, axis);
  const uint32_t *exponentials = static_cast<const uint32_t *>(table.data());
  OutputArray out(call.y, y.dtype);
  run("softmax", [&] { return prunus_softmax(&call.args, exponentials, x.data(), out.data()); });
  return out.release();
}

// -- pooling ----------------------------------------------------------------------------------------------------------

Result maxpool2d(const Array &x, Pair kernel, Pair strides, Pads pads, Pair dilations, std::optional<int32_t> fill) {
  auto call = pool_call("maxpool2d", operand(x, "x"), kernel, {strides, pads, dilations}, 0, fill);
  OutputArray out(call.y, call.args.x.dtype);
  run("maxpool2d", [&] { return prunus_maxpool2d(&call.args, x.data(), out.data()); });
  return out.release();
}

Result avgpool2d(const Array &x, const Array &count_index, const Requant &requant, const Output &y, Pair kernel,
                 int32_t x_zero_point, Pair strides, Pads pads, Pair dilations) {
  auto call = pool_call("avgpool2d", operand(x, "x"), kernel, {strides, pads, dilations}, x_zero_point, std::nullopt);
  expect_counts("avgpool2d", count_index, call.y);
  prunus_epilogue epilogue = epilogue_of(requant, y);
  OutputArray out(call.y, y.dtype);
  run("avgpool2d",
      [&] { return prunus_avgpool2d(&call.args, &epilogue, integers_of(count_index), x.data(), out.data()); });
  return out.release();
}

// -- data movement ----------------------------------------------------------------------------------------------------

Result slice(const Array &x, const std::vector<int32_t> &start, const std::vector<int32_t> &step,
             const std::vector<int32_t> &shape, int32_t fill) {
  auto call = slice_call("slice", operand(x, "x"), start, step, shape, fill);
  OutputArray out(call.y, dtype_of(x, "x"));
  run("slice", [&] { return prunus_slice(&call.args, x.data(), out.data()); });
  return out.release();
}

Result transpose(const Array &x, const std::vector<int32_t> &perm) {
  auto call = transpose_call("transpose", operand(x, "x"), perm);
  OutputArray out(call.y, dtype_of(x, "x"));
  run("transpose", [&] { return prunus_transpose(&call.args, x.data(), out.data()); });
  return out.release();
}

Result resize_nearest(const Array &x, const Array &rows, const Array &columns) {
  auto call = resize_call("resize_nearest", operand(x, "x"), rows, columns);
  OutputArray out(call.y, dtype_of(x, "x"));
  run("resize_nearest", [&] {
    return prunus_resize_nearest(&call.args, integers_of(rows), integers_of(columns), x.data(), out.data());
  });
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

void define_functions(nb::module_ &m) {
  define_linear(m);
  define_elementwise(m);
  define_windows(m);
  define_movement(m);
}

}  // namespace prunus

NB_MODULE(_core, m) {
  nanobind::set_leak_warnings(false);  // objects that outlive the interpreter's shutdown are no news to users
  m.doc() = "Integer kernels on numpy arrays; releases the interpreter lock while they compute.";
  prunus::define_types(m);
  prunus::define_functions(m);
  prunus::define_network(m);
  prunus::define_weights(m);
  prunus::define_selection(m);
  prunus::define_coding(m);
}
