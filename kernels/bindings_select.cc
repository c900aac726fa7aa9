// Weight forms, the table of kernels and the limit model for Python; kernels/pack.py and kernels/select.py build on them.
#include <nanobind/stl/array.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include "bindings_args.h"
#include "core/cpu.h"
#include "core/table.h"
#include "network/weights.h"
#include "select/cache.h"
#include "select/coefficients.h"
#include "select/predict.h"

namespace prunus {
namespace {

using namespace nb::literals;

// -- weights ----------------------------------------------------------------------------------------------------------

constexpr std::pair<const char *, WeightForm> kFormNames[] = {
    {"dense", WeightForm::dense}, {"qb4", WeightForm::qb4},         {"qb16", WeightForm::qb16},
    {"qb32", WeightForm::qb32},   {"ts32x64", WeightForm::ts32x64}, {"bitmask", WeightForm::bitmask},
};

WeightForm form_of(const std::string &name) {
  for (const auto &[known, form] : kFormNames) {
    if (name == known) return form;
  }
  throw KernelError("weights: E_TYPE: an unknown form, " + name);
}

std::vector<std::string> weight_forms() {
  std::vector<std::string> names;
  for (const auto &[name, form] : kFormNames) names.emplace_back(name);
  return names;
}

// [out, in, taps...]
WeightShape weight_shape(const Shape &shape) {
  expect(shape.size() >= 2, "weights", "at least two dimensions are needed, [out, in, ...]");
  int64_t taps = 1;
  for (size_t i = 2; i < shape.size(); ++i) taps *= dimension(shape[i]);
  WeightShape out{dimension(shape[0]), dimension(shape[1]), taps};
  expect(out.out_c > 0 && out.in_c > 0 && taps > 0, "weights", "dimensions are at least 1");
  expect(out.in_c <= (int64_t{1} << 31) / out.out_c && taps <= (int64_t{1} << 31) / (out.out_c * out.in_c), "weights",
         "more than 2^31 weights");
  return out;
}

Result bytes_result(const std::vector<uint8_t> &bytes) {
  OutputArray out({bytes.size()}, nb::dtype<uint8_t>());
  std::copy(bytes.begin(), bytes.end(), out.data());
  return out.release();
}

std::string smallest_weight_form(const Array &w) {
  const int8_t *values = elements<int8_t>(w, "w", "int8");
  WeightForm best = smallest_form(values, weight_shape(shape_of(w)));
  return kFormNames[static_cast<size_t>(best)].first;
}

Result encode_weights(const Array &w, const std::string &form) {
  const int8_t *values = elements<int8_t>(w, "w", "int8");
  return bytes_result(encode(form_of(form), values, weight_shape(shape_of(w))));
}

Result decode_weights(const Array &data, const std::string &form, const Shape &shape) {
  const uint8_t *bytes = elements<uint8_t>(data, "data", "uint8");
  WeightShape dims = weight_shape(shape);
  if (dims.count() > static_cast<int64_t>(data.size()) * kMaxExpansion * 256)
    throw KernelError("weights: E_FILE: more weights than these bytes can hold");
  OutputArray out(shape, nb::dtype<int8_t>());
  if (!decode(form_of(form), bytes, data.size(), dims, reinterpret_cast<int8_t *>(out.data())))
    throw KernelError("weights: E_FILE: these bytes do not encode weights of this form and shape");
  return out.release();
}

// -- kernels ----------------------------------------------------------------------------------------------------------

using Row = std::tuple<std::string, std::string, std::string, int32_t, int32_t, bool>;

const char *format_name(GemvFormat format) {
  return format == GemvFormat::dense ? "dense" : format == GemvFormat::bitmask ? "bitmask" : "blocks";
}

std::vector<Row> kernel_rows() {
  std::vector<Row> rows;
  for (const ConvKernel &k : conv_kernels())
    rows.emplace_back("conv", k.name, k.isa, k.rows, k.quads * kQuad, usable(k.isa));
  for (const RowsKernel &k : rows_kernels()) rows.emplace_back("rows", k.name, k.isa, k.rows, kQuad, usable(k.isa));
  for (const GemvKernel &k : gemv_kernels()) {
    std::string family = std::string("gemv_") + format_name(k.format);
    rows.emplace_back(family, k.name, k.isa, k.rows, kQuad, usable(k.isa));
  }
  for (const DepthwiseKernel &k : depthwise_kernels())
    rows.emplace_back("depthwise", k.name, k.isa, kQuad, 1, usable(k.isa));
  return rows;
}

// -- the limit model --------------------------------------------------------------------------------------------------

using Ranking = std::vector<std::pair<std::string, double>>;
using Quad = std::array<int32_t, 4>;

prunus_conv2d_args shape_args(const Quad &x, const Quad &w, Pair strides, Pads pads, Pair dilations, int32_t group) {
  prunus_conv2d_args args{};
  args.batch = x[0], args.in_c = x[1], args.in_h = x[2], args.in_w = x[3], args.out_c = w[0], args.group = group;
  args.window = {w[2],    w[3],    strides[0], strides[1],   pads[0],
                 pads[1], pads[2], pads[3],    dilations[0], dilations[1]};
  args.out_h = out_height(args.in_h, args.window), args.out_w = out_width(args.in_w, args.window);
  expect(group > 0 && int64_t{w[1]} * group == x[1], "predict", "w does not match x and group");
  return args;
}

std::pair<Ranking, double> rank_layer(const Quad &x, const Quad &w, Pair strides, Pads pads, Pair dilations,
                                      int32_t group, double density, Pair block, const std::string &kernel) {
  prunus_conv2d_args args = shape_args(x, w, strides, pads, dilations, group);
  prunus_prediction best;
  prunus_status status = prunus_predict(&args, density, block[0], block[1], kernel.c_str(), &best);
  if (status == static_cast<prunus_status>(PRUNUS_E_OPTION))
    throw KernelError("predict: E_OPTION: no usable kernel has the name " + kernel);
  check("predict", status);
  Forecast found = forecast(args, {density, block[0], block[1]}, kernel);
  Ranking ranking;
  for (const Candidate &candidate : found.candidates) ranking.emplace_back(candidate.kernel, candidate.seconds);
  return {ranking, found.dense_seconds};
}

std::string autotune(double budget_seconds) {
  expect(budget_seconds > 0 && budget_seconds <= 600, "autotune", "between 0 and 600 seconds");
  nb::gil_scoped_release release;
  Coefficients measured = measure_coefficients(budget_seconds);
  std::string path = cache_path("coefficients.txt");
  bool kept = save_coefficients(measured, path);
  if (kept) reload_coefficients();
  if (!kept) use_coefficients(std::move(measured));
  return kept ? path : "";
}

std::map<std::string, std::array<double, 4>> kernel_costs() {
  auto current = coefficients();
  std::map<std::string, std::array<double, 4>> out;
  auto add = [&](const char *name) {
    KernelCost cost = current->of(name);
    out[name] = {cost.macs_per_second, cost.block_seconds, cost.output_seconds, cost.call_seconds};
  };
  for (const ConvKernel &k : conv_kernels()) add(k.name);
  for (const RowsKernel &k : rows_kernels()) add(k.name);
  for (const GemvKernel &k : gemv_kernels()) add(k.name);
  for (const DepthwiseKernel &k : depthwise_kernels()) add(k.name);
  return out;
}

}  // namespace

void define_weights(nb::module_ &m) {
  m.def("weight_forms", &weight_forms, "Names of the lossless forms of weights in packed files.");
  m.def("smallest_weight_form", &smallest_weight_form, "w"_a, "The form that a packed file would choose.");
  m.def("encode_weights", &encode_weights, "w"_a, "form"_a, "int8 [out, in, ...] as the bytes of a form.");
  m.def("decode_weights", &decode_weights, "data"_a, "form"_a, "shape"_a, "The inverse of `encode_weights`.");
}

void define_selection(nb::module_ &m) {
  m.def("isas", [] { return usable_isas(); }, "Instruction sets that are used here, the preferred first.");
  m.def("cpu_description", &cpu_description, "Processor and its instruction sets.");
  m.def("kernel_rows", &kernel_rows, "Family, name, instruction set, block rows, block columns, usable: every kernel.");
  m.def("rank_layer", &rank_layer, "x_shape"_a, "w_shape"_a, "strides"_a, "pads"_a, "dilations"_a, "group"_a,
        "density"_a, "block"_a, "kernel"_a, "Kernels with predicted seconds, fastest first, and the best dense time.");
  m.def("measure_kernels", &autotune, "budget_seconds"_a,
        "Fits the limit model to this machine; the cache file, or '' where none can be written.");
  m.def("kernel_costs", &kernel_costs,
        "Constants of the limit model: MAC/s, seconds per block, per output and per call of every kernel.");
  m.def("cost_source", [] { return coefficients()->source; }, "Where the limit model's constants come from.");
  m.def("reload_costs", [] { reload_coefficients(); }, "Reads the cache file again.");
}

}  // namespace prunus
