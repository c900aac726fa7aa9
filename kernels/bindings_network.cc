// Defining networks from Python: shapes of results follow from the arguments, as in the functions of bindings.cc.
#include "bindings_network.h"

namespace prunus {
namespace {

constexpr const char *kElementNames[] = {"u8", "s8", "f32"};

int32_t element_of(const std::string &name) {
  for (int32_t i = 0; i < 3; ++i) {
    if (name == kElementNames[i]) return i;
  }
  throw KernelError("network.input: E_TYPE: dtype is 'u8', 's8' or 'f32'");
}

}  // namespace

Network::Network() {
  prunus_network *net = nullptr;
  prunus::check("Network", prunus_network_create(&net));
  net_.reset(net);
}

void Network::check(const char *what, prunus_status status) const {
  if (status == PRUNUS_OK) return;
  std::string text = prunus_network_error(net_.get());
  if (text.empty()) text = prunus_status_text(status);
  throw KernelError("network." + std::string(what) + ": " + name_of(status) + ": " + text);
}

const Operand &Network::at(const char *what, int32_t id) const {
  if (id < 0 || static_cast<size_t>(id) >= tensors_.size())
    throw KernelError("network." + std::string(what) + ": E_SHAPE: no tensor has the id " + std::to_string(id));
  return tensors_[static_cast<size_t>(id)];
}

int32_t Network::tensor(const char *what, const Shape &shape, int32_t element) {
  prunus_tensor tensor{element, dimension(shape.size()), {}};
  expect(shape.size() <= PRUNUS_MAX_RANK, what, "too many dimensions");
  for (size_t i = 0; i < shape.size(); ++i) tensor.shape[i] = dimension(shape[i]);
  int32_t id = 0;
  check(what, prunus_network_tensor(net_.get(), &tensor, &id));
  tensors_.resize(static_cast<size_t>(id));  // a loaded network's own have no names here
  tensors_.push_back({shape, element});
  return id;
}

int32_t Network::input(const std::string &dtype, const std::vector<int32_t> &shape) {
  for (int32_t size : shape) expect(size > 0, "network.input", "dimensions are at least 1");
  int32_t id = tensor("input", Shape(shape.begin(), shape.end()), element_of(dtype));
  check("input", prunus_network_input(net_.get(), id));
  return id;
}

void Network::output(int32_t id) { check("output", prunus_network_output(net_.get(), id)); }

int32_t Network::conv2d(int32_t x, const Array &w, const Array &bias, const Requant &requant, const Output &y,
                        int32_t x_zero_point, Pair strides, Pads pads, Pair dilations, int32_t group) {
  Windowing window{strides, pads, dilations};
  auto call = conv_call("network.conv2d", at("conv2d", x), w, bias, requant, y, x_zero_point, window, group);
  int32_t id = tensor("conv2d", call.y, y.dtype);
  check("conv2d", prunus_network_conv2d(net_.get(), x, id, &call.args, static_cast<const int8_t *>(w.data()),
                                        static_cast<const int32_t *>(bias.data())));
  return id;
}

int32_t Network::depthwise2d(int32_t x, const Array &w, const Array &bias, const Requant &requant, const Output &y,
                             int32_t x_zero_point, Pair strides, Pads pads, Pair dilations) {
  const Operand &in = at("depthwise2d", x);
  int32_t group = in.rank() == 4 ? dimension(in.shape[1]) : 0;
  Windowing window{strides, pads, dilations};
  auto call = conv_call("network.depthwise2d", in, w, bias, requant, y, x_zero_point, window, group);
  int32_t id = tensor("depthwise2d", call.y, y.dtype);
  check("depthwise2d", prunus_network_depthwise2d(net_.get(), x, id, &call.args, static_cast<const int8_t *>(w.data()),
                                                  static_cast<const int32_t *>(bias.data())));
  return id;
}

int32_t Network::gemm(int32_t x, const Array &w, const Array &bias, const Requant &requant, const Output &y,
                      int32_t x_zero_point) {
  auto call = gemm_call("network.gemm", at("gemm", x), w, bias, requant, y, x_zero_point);
  int32_t id = tensor("gemm", call.y, y.dtype);
  check("gemm", prunus_network_gemm(net_.get(), x, id, &call.args, static_cast<const int8_t *>(w.data()),
                                    static_cast<const int32_t *>(bias.data())));
  return id;
}

int32_t Network::add(int32_t a, int32_t b, const Requant &requant, const Output &y, int32_t a_zero_point,
                     int32_t b_zero_point) {
  auto call = binary_call("network.add", at("add", a), at("add", b), requant, y, a_zero_point, b_zero_point);
  int32_t id = tensor("add", call.y, y.dtype);
  check("add", prunus_network_add(net_.get(), a, b, id, &call.args));
  return id;
}

int32_t Network::mul(int32_t a, int32_t b, const Requant &requant, const Output &y, int32_t a_zero_point,
                     int32_t b_zero_point) {
  auto call = binary_call("network.mul", at("mul", a), at("mul", b), requant, y, a_zero_point, b_zero_point);
  int32_t id = tensor("mul", call.y, y.dtype);
  check("mul", prunus_network_mul(net_.get(), a, b, id, &call.args));
  return id;
}

int32_t Network::concat(const std::vector<int32_t> &xs, const Requant &requant, const Output &y, size_t axis,
                        const std::vector<int32_t> &zero_points, const std::vector<bool> &copy) {
  std::vector<Operand> operands;
  for (int32_t x : xs) operands.push_back(at("concat", x));
  Shape shape = concat_shape("network.concat", operands, axis, zero_points.size(), copy.size());
  std::vector<prunus_type> types;
  for (size_t i = 0; i < xs.size(); ++i) types.push_back({operands[i].dtype, zero_points[i]});
  std::vector<int32_t> copies(copy.begin(), copy.end());
  prunus_epilogue epilogue = epilogue_of(requant, y);
  int32_t id = tensor("concat", shape, y.dtype);
  check("concat", prunus_network_concat(net_.get(), xs.data(), types.data(), copies.data(), dimension(xs.size()),
                                        static_cast<int32_t>(axis), id, &epilogue));
  return id;
}

int32_t Network::requantize(int32_t x, const Requant &requant, const Output &y, int32_t x_zero_point) {
  const Operand in = at("requantize", x);
  prunus_type type{in.dtype, x_zero_point};
  prunus_epilogue epilogue = epilogue_of(requant, y);
  int32_t id = tensor("requantize", in.shape, y.dtype);
  check("requantize", prunus_network_requantize(net_.get(), x, id, &type, &epilogue));
  return id;
}

int32_t Network::maxpool2d(int32_t x, Pair kernel, Pair strides, Pads pads, Pair dilations,
                           std::optional<int32_t> fill) {
  auto call = pool_call("network.maxpool2d", at("maxpool2d", x), kernel, {strides, pads, dilations}, 0, fill);
  int32_t id = tensor("maxpool2d", call.y, call.args.x.dtype);
  check("maxpool2d", prunus_network_maxpool2d(net_.get(), x, id, &call.args));
  return id;
}

int32_t Network::avgpool2d(int32_t x, const Array &count_index, const Requant &requant, const Output &y, Pair kernel,
                           int32_t x_zero_point, Pair strides, Pads pads, Pair dilations) {
  Windowing window{strides, pads, dilations};
  auto call = pool_call("network.avgpool2d", at("avgpool2d", x), kernel, window, x_zero_point, std::nullopt);
  expect_counts("network.avgpool2d", count_index, call.y);
  prunus_epilogue epilogue = epilogue_of(requant, y);
  int32_t id = tensor("avgpool2d", call.y, y.dtype);
  check("avgpool2d", prunus_network_avgpool2d(net_.get(), x, id, &call.args, &epilogue,
                                              static_cast<const int32_t *>(count_index.data())));
  return id;
}

int32_t Network::lut(int32_t x, const Array &table) {
  const Operand in = at("lut", x);
  expect(table.size() == 256, "network.lut", "a table has 256 entries");
  int32_t id = tensor("lut", in.shape, dtype_of(table, "table"));
  check("lut", prunus_network_lut(net_.get(), x, id, table.data()));
  return id;
}

int32_t Network::softmax(int32_t x, const Array &table, int32_t reciprocal, const Output &y, int32_t axis) {
  auto call = softmax_call("network.softmax", at("softmax", x), table, reciprocal, y, axis);
  int32_t id = tensor("softmax", call.y, y.dtype);
  check("softmax",
        prunus_network_softmax(net_.get(), x, id, &call.args, static_cast<const uint32_t *>(table.data())));
  return id;
}

int32_t Network::slice(int32_t x, const std::vector<int32_t> &start, const std::vector<int32_t> &step,
                       const std::vector<int32_t> &shape, int32_t fill) {
  const Operand in = at("slice", x);
  auto call = slice_call("network.slice", in, start, step, shape, fill);
  int32_t id = tensor("slice", call.y, in.dtype);
  check("slice", prunus_network_slice(net_.get(), x, id, &call.args));
  return id;
}

int32_t Network::transpose(int32_t x, const std::vector<int32_t> &perm) {
  const Operand in = at("transpose", x);
  auto call = transpose_call("network.transpose", in, perm);
  int32_t id = tensor("transpose", call.y, in.dtype);
  check("transpose", prunus_network_transpose(net_.get(), x, id, &call.args));
  return id;
}

int32_t Network::resize_nearest(int32_t x, const Array &rows, const Array &columns) {
  const Operand in = at("resize_nearest", x);
  auto call = resize_call("network.resize_nearest", in, rows, columns);
  int32_t id = tensor("resize_nearest", call.y, in.dtype);
  check("resize_nearest", prunus_network_resize_nearest(net_.get(), x, id, &call.args,
                                                        static_cast<const int32_t *>(rows.data()),
                                                        static_cast<const int32_t *>(columns.data())));
  return id;
}

int32_t Network::reshape(int32_t x, const std::vector<int32_t> &shape) {
  const Operand in = at("reshape", x);
  for (int32_t size : shape) expect(size > 0, "network.reshape", "dimensions are at least 1");
  int32_t id = tensor("reshape", Shape(shape.begin(), shape.end()), in.dtype);
  check("reshape", prunus_network_reshape(net_.get(), x, id));
  return id;
}

int32_t Network::quantize(int32_t x, float scale, const Output &y) {
  const Operand in = at("quantize", x);
  prunus_epilogue epilogue{{}, y.type(), y.qmin, y.qmax};
  int32_t id = tensor("quantize", in.shape, y.dtype);
  check("quantize", prunus_network_quantize(net_.get(), x, id, scale, &epilogue));
  return id;
}

int32_t Network::dequantize(int32_t x, float scale, int32_t x_zero_point) {
  const Operand in = at("dequantize", x);
  prunus_type type{in.dtype, x_zero_point};
  int32_t id = tensor("dequantize", in.shape, PRUNUS_ELEMENT_F32);
  check("dequantize", prunus_network_dequantize(net_.get(), x, id, scale, &type));
  return id;
}

}  // namespace prunus
