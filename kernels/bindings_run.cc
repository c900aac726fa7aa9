// Planning, running and storing networks from Python, and the classes as Python sees them.
#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include "bindings_network.h"
#include "network/file.h"

namespace prunus {
namespace {

using namespace nb::literals;

using Description = std::pair<std::string, std::vector<int32_t>>;

std::string element_name(int32_t element) {
  return element == PRUNUS_ELEMENT_F32 ? "f32" : element == PRUNUS_ELEMENT_S8 ? "s8" : "u8";
}

nb::dlpack::dtype numpy_type(int32_t element) {
  if (element == PRUNUS_ELEMENT_F32) return nb::dtype<float>();
  return element == PRUNUS_ELEMENT_S8 ? nb::dtype<int8_t>() : nb::dtype<uint8_t>();
}

std::string text_of(const Shape &shape) {
  std::string text;
  for (size_t size : shape) text += (text.empty() ? "" : ", ") + std::to_string(size);
  return "(" + text + ")";
}

Shape shape_of(const prunus_tensor &tensor) { return Shape(tensor.shape, tensor.shape + tensor.rank); }

template <class Get>
prunus_tensor tensor_at(const prunus_network *net, Get get, size_t index) {
  prunus_tensor tensor{};
  prunus::check("network", get(net, static_cast<int32_t>(index), &tensor));
  return tensor;
}

template <class Get>
std::vector<Description> described(const prunus_network *net, Get get, int32_t count) {
  std::vector<Description> out;
  for (int32_t i = 0; i < count; ++i) {
    prunus_tensor tensor = tensor_at(net, get, static_cast<size_t>(i));
    out.emplace_back(element_name(tensor.element), std::vector<int32_t>(tensor.shape, tensor.shape + tensor.rank));
  }
  return out;
}

// An array that must be what the network says.
template <class AnyArray>
void expect_tensor(const AnyArray &array, const prunus_tensor &tensor, const char *role, size_t index) {
  Shape wanted = shape_of(tensor), given(array.shape_ptr(), array.shape_ptr() + array.ndim());
  std::string who = std::string(role) + " " + std::to_string(index);
  if (array.dtype() != numpy_type(tensor.element))
    throw nb::type_error((who + " must be an array of " + element_name(tensor.element)).c_str());
  if (given != wanted)
    throw KernelError("network.run: E_SHAPE: " + who + " has the shape " + text_of(given) + " instead of " +
                      text_of(wanted));
}

struct Range {
  const uint8_t *begin, *end;
};

void expect_apart(const std::vector<Range> &ranges, size_t outputs) {
  for (size_t i = 0; i < outputs; ++i) {
    for (size_t j = i + 1; j < ranges.size(); ++j) {
      bool apart = ranges[i].end <= ranges[j].begin || ranges[j].end <= ranges[i].begin;
      if (!apart) throw KernelError("network.run: E_SHAPE: an output overlaps another array");
    }
  }
}

template <class AnyArray>
Range range_of(const AnyArray &array) {
  auto begin = static_cast<const uint8_t *>(array.data());
  return {begin, begin + array.nbytes()};
}

// New arrays for the outputs.
struct Fresh {
  std::vector<OutputArray> arrays;
  std::vector<void *> to;

  explicit Fresh(const prunus_network *net) {
    for (int32_t i = 0; i < prunus_network_output_count(net); ++i) {
      prunus_tensor tensor = tensor_at(net, prunus_network_output_tensor, static_cast<size_t>(i));
      arrays.emplace_back(shape_of(tensor), numpy_type(tensor.element));
      to.push_back(arrays.back().data());
    }
  }
};

}  // namespace

Pool::Pool(int32_t threads) {
  prunus_pool *pool = nullptr;
  prunus::check("Pool", prunus_pool_create(threads, &pool));
  pool_.reset(pool);
}

// -- files and plans --------------------------------------------------------------------------------------------------

std::unique_ptr<Network> Network::load(nb::bytes packed) {
  prunus_network *net = nullptr;
  std::string why;
  prunus_status status = load_network(packed.data(), packed.size(), &net, why);
  if (status != PRUNUS_OK) throw KernelError("network.load: " + std::string(name_of(status)) + ": " + why);
  return std::unique_ptr<Network>(new Network(net));
}

nb::bytes Network::save() const {
  size_t bytes = 0;
  check("save", prunus_network_save(net_.get(), nullptr, &bytes));
  std::vector<char> data(bytes);
  check("save", prunus_network_save(net_.get(), data.data(), &bytes));
  return nb::bytes(data.data(), data.size());
}

void Network::plan(const std::optional<std::string> &isa, const std::optional<std::string> &kernel, int32_t timed,
                   const std::optional<std::string> &cache, int32_t batch) {
  auto text = [](const std::optional<std::string> &s) { return s ? s->c_str() : nullptr; };
  prunus_plan_options options{text(isa), text(kernel), timed, text(cache), batch};
  std::unique_lock lock(plan_guard_);  // runs end without the interpreter lock, which is kept here
  idle_.clear();
  check("plan", prunus_network_plan(net_.get(), &options));
}

nb::object Network::describe() const {
  size_t bytes = 0;
  check("describe", prunus_network_describe(net_.get(), nullptr, &bytes));
  std::string text(bytes, '\0');
  check("describe", prunus_network_describe(net_.get(), text.data(), &bytes));
  text.resize(bytes - 1);
  return nb::module_::import_("json").attr("loads")(text);
}

std::vector<Description> Network::inputs() const {
  return described(net_.get(), prunus_network_input_tensor, prunus_network_input_count(net_.get()));
}

std::vector<Description> Network::outputs() const {
  return described(net_.get(), prunus_network_output_tensor, prunus_network_output_count(net_.get()));
}

// -- running ----------------------------------------------------------------------------------------------------------

Network::Workspace Network::take_workspace() {
  std::lock_guard lock(idle_guard_);
  if (!idle_.empty()) {
    Workspace workspace = std::move(idle_.back());
    idle_.pop_back();
    return workspace;
  }
  size_t bytes = std::max<size_t>(workspace_bytes(), 1);
  return Workspace(static_cast<uint8_t *>(::operator new(bytes, std::align_val_t{64})));
}

void Network::give_workspace(Workspace workspace) {
  std::lock_guard lock(idle_guard_);
  idle_.push_back(std::move(workspace));
}

void Network::execute(Running running, const std::vector<const void *> &inputs, const std::vector<void *> &outputs,
                      Pool *pool, double *seconds) {
  prunus_status status;
  {
    nb::gil_scoped_release release;
    Running until_here = std::move(running);
    Workspace workspace = take_workspace();
    std::unique_lock<std::mutex> one_at_a_time;
    prunus_threads threads{};
    if (pool) {
      one_at_a_time = std::unique_lock(pool->guard());
      threads = pool->handle();
    }
    status = prunus_network_run(net_.get(), inputs.data(), outputs.data(), workspace.get(), pool ? &threads : nullptr,
                                seconds);
    give_workspace(std::move(workspace));
  }
  if (status != PRUNUS_OK) prunus::check("network.run", status);
}

std::vector<const void *> Network::addresses(const std::vector<Array> &inputs) const {
  size_t count = static_cast<size_t>(prunus_network_input_count(net_.get()));
  expect(inputs.size() == count, "network.run", "as many arrays as the network has inputs are needed");
  std::vector<const void *> out;
  for (size_t i = 0; i < count; ++i) {
    expect_tensor(inputs[i], tensor_at(net_.get(), prunus_network_input_tensor, i), "input", i);
    out.push_back(inputs[i].data());
  }
  return out;
}

std::vector<Result> Network::run(const std::vector<Array> &inputs, Pool *pool) {
  Running running(plan_guard_);
  std::vector<const void *> from = addresses(inputs);
  Fresh fresh(net_.get());
  execute(std::move(running), from, fresh.to, pool, nullptr);
  std::vector<Result> results;
  for (OutputArray &array : fresh.arrays) results.push_back(array.release());
  return results;
}

void Network::run_into(const std::vector<Array> &inputs, const std::vector<Target> &outputs, Pool *pool) {
  Running running(plan_guard_);
  std::vector<const void *> from = addresses(inputs);
  size_t count = static_cast<size_t>(prunus_network_output_count(net_.get()));
  expect(outputs.size() == count, "network.run", "as many arrays as the network has outputs are needed");
  std::vector<void *> to;
  std::vector<Range> ranges;
  for (size_t i = 0; i < count; ++i) {
    expect_tensor(outputs[i], tensor_at(net_.get(), prunus_network_output_tensor, i), "output", i);
    to.push_back(outputs[i].data());
    ranges.push_back(range_of(outputs[i]));
  }
  for (const Array &input : inputs) ranges.push_back(range_of(input));
  expect_apart(ranges, count);
  execute(std::move(running), from, to, pool, nullptr);
}

std::vector<double> Network::profile(const std::vector<Array> &inputs, Pool *pool) {
  Running running(plan_guard_);
  std::vector<const void *> from = addresses(inputs);
  Fresh fresh(net_.get());
  std::vector<double> seconds(static_cast<size_t>(prunus_network_step_count(net_.get())));
  execute(std::move(running), from, fresh.to, pool, seconds.data());
  return seconds;
}


// -- the module -------------------------------------------------------------------------------------------------------

namespace {

constexpr auto kNoPads = Pads{0, 0, 0, 0};
constexpr auto kOnes = Pair{1, 1};

void define_linear(nb::class_<Network> &c) {
  c.def("conv2d", &Network::conv2d, "x"_a, "w"_a, "bias"_a, "requant"_a, "output"_a, nb::kw_only(),
        "x_zero_point"_a = 0, "strides"_a = kOnes, "pads"_a = kNoPads, "dilations"_a = kOnes, "group"_a = 1,
        "x [n, c, h, w] (*) w [out, c / group, kh, kw] -> [n, out, oh, ow].");
  c.def("depthwise2d", &Network::depthwise2d, "x"_a, "w"_a, "bias"_a, "requant"_a, "output"_a, nb::kw_only(),
        "x_zero_point"_a = 0, "strides"_a = kOnes, "pads"_a = kNoPads, "dilations"_a = kOnes,
        "x [n, c, h, w] (*) w [c * multiplier, 1, kh, kw].");
  c.def("gemm", &Network::gemm, "x"_a, "w"_a, "bias"_a, "requant"_a, "output"_a, nb::kw_only(), "x_zero_point"_a = 0,
        "x [..., in] @ w[out, in].T -> [..., out].");
}

void define_elementwise(nb::class_<Network> &c) {
  c.def("add", &Network::add, "a"_a, "b"_a, "requant"_a, "output"_a, nb::kw_only(), "a_zero_point"_a = 0,
        "b_zero_point"_a = 0, "a * m[0] + b * m[1] with numpy broadcasting and one rounding.");
  c.def("mul", &Network::mul, "a"_a, "b"_a, "requant"_a, "output"_a, nb::kw_only(), "a_zero_point"_a = 0,
        "b_zero_point"_a = 0, "a * b * m[0] with numpy broadcasting.");
  c.def("requantize", &Network::requantize, "x"_a, "requant"_a, "output"_a, nb::kw_only(), "x_zero_point"_a = 0,
        "x * m[0].");
  c.def("concat", &Network::concat, "xs"_a, "requant"_a, "output"_a, nb::kw_only(), "axis"_a, "zero_points"_a,
        "copy"_a, "Concatenation along `axis`; input i is copied where copy[i], else scaled by m[i].");
  c.def("lut", &Network::lut, "x"_a, "table"_a, "table[x] (uint8) or table[x + 128] (int8); 256 entries.");
  c.def("softmax", &Network::softmax, "x"_a, "table"_a, "reciprocal"_a, "output"_a, nb::kw_only(), "axis"_a = -1,
        "Integer softmax with a table of 256 uint32 in Q20; reciprocal = 1 / scale of the output.");
  c.def("quantize", &Network::quantize, "x"_a, "scale"_a, "output"_a, "Float input to 8 bits.");
  c.def("dequantize", &Network::dequantize, "x"_a, "scale"_a, nb::kw_only(), "x_zero_point"_a = 0,
        "8 bits to a float output.");
}

void define_windows(nb::class_<Network> &c) {
  c.def("maxpool2d", &Network::maxpool2d, "x"_a, "kernel"_a, nb::kw_only(), "strides"_a = kOnes, "pads"_a = kNoPads,
        "dilations"_a = kOnes, "fill"_a = nb::none(), "Padding counts as `fill`, by default the type's lowest value.");
  c.def("avgpool2d", &Network::avgpool2d, "x"_a, "count_index"_a, "requant"_a, "output"_a, "kernel"_a, nb::kw_only(),
        "x_zero_point"_a = 0, "strides"_a = kOnes, "pads"_a = kNoPads, "dilations"_a = kOnes,
        "Sums over windows times m[count_index]; count_index is int32 [oh, ow].");
  c.def("slice", &Network::slice, "x"_a, "start"_a, "step"_a, "shape"_a, nb::kw_only(), "fill"_a = 0,
        "y[i] = x[start + i * step], or `fill` outside of x; one entry per dimension, the batch included.");
  c.def("transpose", &Network::transpose, "x"_a, "perm"_a, "Dimension perm[i] of x becomes dimension i.");
  c.def("resize_nearest", &Network::resize_nearest, "x"_a, "rows"_a, "columns"_a,
        "y[n, c, i, j] = x[n, c, rows[i], columns[j]]; indices are int32.");
  c.def("reshape", &Network::reshape, "x"_a, "shape"_a, "The same elements with other dimensions.");
}

void define_running(nb::class_<Network> &c) {
  c.def("plan", &Network::plan, nb::kw_only(), "isa"_a = nb::none(), "kernel"_a = nb::none(), "timed"_a = 0,
        "cache"_a = nb::none(), "batch"_a = 0,
        "Chooses kernels, layouts and memory for this machine; nothing can be defined afterwards.\n\n"
        "isa: instruction sets to choose from, comma-separated, all by default. kernel: the one kernel that every layer\n"
        "of its family must use. timed: 0 trusts the limit model, n runs the n best candidates of each layer. cache: a\n"
        "file that keeps what was timed. batch: replaces the first dimension (defined as 1) of all tensors.");
  c.def("run", &Network::run, "inputs"_a, nb::kw_only(), "pool"_a = nb::none(),
        "Runs the plan on arrays of the defined types and shapes; new arrays, one per output, in order.");
  c.def("run_into", &Network::run_into, "inputs"_a, "outputs"_a, nb::kw_only(), "pool"_a = nb::none(),
        "As `run`, into arrays of the caller (C order, writable, overlapping nothing).");
  c.def("profile", &Network::profile, "inputs"_a, nb::kw_only(), "pool"_a = nb::none(),
        "Runs once; seconds of each step of the plan, in the order of `describe`.");
  c.def("describe", &Network::describe, nb::sig("def describe(self) -> dict[str, typing.Any]"),
        "The plan: operator, kernel, layout, density, predicted and timed seconds of every step, and the arena.");
  c.def_prop_ro("workspace_bytes", &Network::workspace_bytes, "Scratch memory of one run, in bytes; after `plan`.");
  c.def_prop_ro("inputs", &Network::inputs, "Element type and shape of each input.");
  c.def_prop_ro("outputs", &Network::outputs, "Element type and shape of each output.");
}

}  // namespace

void define_network(nb::module_ &m) {
  nb::class_<Pool>(m, "Pool", "Threads to run networks with, the caller's included; one run at a time.")
      .def(nb::init<int32_t>(), "threads"_a)
      .def_prop_ro("threads", &Pool::threads);
  nb::class_<Network> c(
      m, "Network",
      "Operators planned together: defined one by one (or loaded), planned once, run any number of times.\n\n"
      "Operators take ids of tensors and return the id of their result; arguments are those of the functions of the\n"
      "same name, and so are the results, bit for bit. Runs release the interpreter lock and may overlap.");
  c.def(nb::init<>());
  c.def_static("load", &Network::load, "packed"_a, "A network from the bytes that `save` wrote.");
  c.def("save", &Network::save, "The definition as bytes, the same on every machine; see FORMAT.md.");
  c.def("input", &Network::input, "dtype"_a, "shape"_a,
        "A new input, 'u8', 's8' or 'f32', with its shape, the batch first. Returns its id.");
  c.def("output", &Network::output, "id"_a, "Makes a tensor an output of the network.");
  define_linear(c);
  define_elementwise(c);
  define_windows(c);
  define_running(c);
}

}  // namespace prunus
