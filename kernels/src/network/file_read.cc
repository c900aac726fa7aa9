// Reading packed files. Nothing in a file is trusted: every word and byte is bounded by what is there, arrays must have
// the size that the words before them say, and the operators' own definition functions check the rest.
#include <algorithm>
#include <cstring>
#include <memory>

#include "network/fields.h"
#include "network/file.h"
#include "network/network.h"

namespace prunus {
namespace {

[[noreturn]] void malformed(const std::string &what) { throw Failure(PRUNUS_E_FILE, what); }

class Reader {
 public:
  Reader(const std::uint8_t *words, std::uint64_t count, const std::uint8_t *end)
      : word_(words), words_end_(words + count * sizeof(std::uint32_t)), array_(words_end_), end_(end) {
    align();
  }

  std::int32_t word() {
    if (word_ == words_end_) malformed("the words end early");
    std::int32_t value;
    std::memcpy(&value, word_, sizeof value);
    word_ += sizeof value;
    return value;
  }
  // A number of things that take a word each at least.
  std::int32_t count() {
    const std::int32_t value = word();
    if (value < 0 || value > words_left()) malformed("a count beyond the end of the words");
    return value;
  }
  std::int64_t words_left() const { return (words_end_ - word_) / static_cast<std::int64_t>(sizeof(std::uint32_t)); }

  void word(std::int32_t &value) { value = word(); }
  void real(float &value) { value = std::bit_cast<float>(word()); }
  void flag(bool &value) {
    const std::int32_t read = word();
    if (read != 0 && read != 1) malformed("a flag that is neither 0 nor 1");
    value = read == 1;
  }
  void scheme(prunus_scheme &value) {
    const std::int32_t read = word();
    if (read < PRUNUS_F32 || read > PRUNUS_POW2) malformed("an unknown requantization scheme");
    value = static_cast<prunus_scheme>(read);
  }
  template <class T>
  void resize(std::vector<T> &values, std::int32_t count) {
    if (count < 0 || count > words_left()) malformed("a count beyond the end of the words");
    values.resize(static_cast<std::size_t>(count));
  }

  template <class T>
  void array(std::vector<T> &values, std::int64_t count) {
    const auto [form, data, bytes] = stored();
    if (form != WeightForm::dense || count < 0 || bytes != static_cast<std::uint64_t>(count) * sizeof(T))
      malformed("an array of another size than the operator says");
    values.resize(static_cast<std::size_t>(count));
    if (bytes) std::memcpy(values.data(), data, bytes);
  }

  void weights(std::vector<std::int8_t> &w, const WeightShape &shape) {
    const auto [form, data, bytes] = stored();
    const std::int64_t count = times(times(shape.out_c, shape.in_c), shape.taps);
    if (count < 1) malformed("weights of impossible dimensions");
    if (count > static_cast<std::int64_t>(bytes) * kMaxExpansion) malformed("more weights than the file has room for");
    w.resize(static_cast<std::size_t>(count));
    if (!decode(form, data, bytes, shape, w.data())) malformed("damaged weights");
  }

  void expect_end() const {
    if (word_ != words_end_ || array_ != end_) malformed("bytes that nothing refers to");
  }

 private:
  struct Stored {
    WeightForm form;
    const std::uint8_t *data;
    std::size_t bytes;
  };

  Stored stored() {
    const auto form = static_cast<std::uint32_t>(word());
    const std::size_t bytes = static_cast<std::uint32_t>(word());
    if (form >= kWeightForms) malformed("an unknown form of weights");
    if (bytes > static_cast<std::size_t>(end_ - array_)) malformed("an array beyond the end of the file");
    const std::uint8_t *data = array_;
    array_ += bytes;
    align();
    return {static_cast<WeightForm>(form), data, bytes};
  }

  // Skips to the next line. The file begins and ends on one, so that this stays inside of it.
  void align() {
    const std::size_t rest = static_cast<std::size_t>(end_ - array_) % kFileAlignment;
    if (!std::all_of(array_, array_ + rest, [](std::uint8_t byte) { return byte == 0; }))
      malformed("padding that is not zero");
    array_ += rest;
  }

  const std::uint8_t *word_, *words_end_, *array_, *end_;
};

// -- rebuilding -------------------------------------------------------------------------------------------------------

// Calls the definition function of an operator that was read.
class Definer {
 public:
  Definer(prunus_network *net, const Node &node) : net_(net), y_(node.output), xs_(node.inputs) {}

  prunus_status operator()(const Conv &op) {
    prunus_conv2d_args args = op.args;
    args.y = op.epilogue.view();
    const auto define = op.depthwise ? prunus_network_depthwise2d : prunus_network_conv2d;
    return define(net_, x(0, 1), y_, &args, op.w.data(), op.bias.data());
  }
  prunus_status operator()(const Gemm &op) {
    prunus_gemm_args args = op.args;
    args.y = op.epilogue.view();
    return prunus_network_gemm(net_, x(0, 1), y_, &args, op.w.data(), op.bias.data());
  }
  prunus_status operator()(const Binary &op) {
    prunus_binary_args args = op.args;
    args.y = op.epilogue.view();
    return (op.mul ? prunus_network_mul : prunus_network_add)(net_, x(0, 2), x(1, 2), y_, &args);
  }
  prunus_status operator()(const Concat &op) {
    const prunus_epilogue epilogue = op.epilogue.view();
    x(0, op.types.size());
    return prunus_network_concat(net_, xs_.data(), op.types.data(), op.copy.data(),
                                 static_cast<std::int32_t>(xs_.size()), op.axis, y_, &epilogue);
  }
  prunus_status operator()(const Requantize &op) {
    const prunus_epilogue epilogue = op.epilogue.view();
    return prunus_network_requantize(net_, x(0, 1), y_, &op.x, &epilogue);
  }
  prunus_status operator()(const MaxPool &op) { return prunus_network_maxpool2d(net_, x(0, 1), y_, &op.args); }
  prunus_status operator()(const AvgPool &op) {
    const prunus_epilogue epilogue = op.epilogue.view();
    return prunus_network_avgpool2d(net_, x(0, 1), y_, &op.args, &epilogue, op.count_index.data());
  }
  prunus_status operator()(const Lut &op) { return prunus_network_lut(net_, x(0, 1), y_, op.table.data()); }
  prunus_status operator()(const Softmax &op) {
    return prunus_network_softmax(net_, x(0, 1), y_, &op.args, op.table.data());
  }
  prunus_status operator()(const Slice &op) { return prunus_network_slice(net_, x(0, 1), y_, &op.args); }
  prunus_status operator()(const Transpose &op) { return prunus_network_transpose(net_, x(0, 1), y_, &op.args); }
  prunus_status operator()(const Resize &op) {
    return prunus_network_resize_nearest(net_, x(0, 1), y_, &op.args, op.rows.data(), op.columns.data());
  }
  prunus_status operator()(const Reshape &) { return prunus_network_reshape(net_, x(0, 1), y_); }
  prunus_status operator()(const Quantize &op) {
    const prunus_epilogue epilogue = op.epilogue.view();
    return prunus_network_quantize(net_, x(0, 1), y_, op.scale, &epilogue);
  }
  prunus_status operator()(const Dequantize &op) {
    return prunus_network_dequantize(net_, x(0, 1), y_, op.scale, &op.x);
  }

 private:
  std::int32_t x(std::size_t index, std::size_t count) const {
    if (xs_.size() != count || count == 0) malformed("an operator with another number of inputs");
    return xs_[index];
  }

  prunus_network *net_;
  std::int32_t y_;
  const std::vector<std::int32_t> &xs_;
};

void accept(const prunus_network *net, prunus_status status) {
  if (status != PRUNUS_OK) malformed(prunus_network_error(net));
}

void read_tensor(Reader &reader, prunus_network *net) {
  prunus_tensor tensor{};
  reader.word(tensor.element), reader.word(tensor.rank);
  words(reader, tensor.shape, tensor.rank);
  std::int32_t id;
  accept(net, prunus_network_tensor(net, &tensor, &id));
}

template <std::size_t I = 0>
Operator operator_of(std::int32_t index) {
  if constexpr (I < std::variant_size_v<Operator>) {
    if (static_cast<std::size_t>(index) == I) return Operator(std::in_place_index<I>);
    return operator_of<I + 1>(index);
  }
  malformed("an unknown operator");
}

void read_operator(Reader &reader, prunus_network *net) {
  Node node{{}, 0, operator_of(reader.word())};
  reader.resize(node.inputs, reader.count());
  for (std::int32_t &id : node.inputs) reader.word(id);
  reader.word(node.output);
  std::visit([&](auto &op) { fields(reader, op); }, node.op);
  accept(net, std::visit(Definer(net, node), node.op));
}

FileHeader header_of(const std::uint8_t *file, std::size_t bytes) {
  FileHeader header;
  if (!file || bytes < sizeof header) malformed("no packed network: shorter than its header");
  std::memcpy(&header, file, sizeof header);
  if (!std::equal(std::begin(kFileMagic), std::end(kFileMagic), header.magic)) malformed("no packed network");
  if (header.version != kFileVersion)
    malformed("of version " + std::to_string(header.version) + ", this library reads " + std::to_string(kFileVersion));
  if (header.bytes != bytes || bytes % kFileAlignment != 0)
    malformed("of " + std::to_string(bytes) + " bytes, its header says " + std::to_string(header.bytes));
  if (header.checksum != file_checksum(file, bytes)) malformed("damaged: the checksum does not match");
  if (header.words > (bytes - sizeof header) / sizeof(std::uint32_t)) malformed("more words than bytes");
  if (!std::all_of(std::begin(header.zeros), std::end(header.zeros), [](std::uint8_t byte) { return byte == 0; }))
    malformed("a header with unknown fields");
  return header;
}

struct Destroy {
  void operator()(prunus_network *net) const { prunus_network_destroy(net); }
};

}  // namespace

prunus_network *read_packed_file(const std::uint8_t *file, std::size_t bytes) {
  const FileHeader header = header_of(file, bytes);
  prunus_network *created = nullptr;
  if (prunus_network_create(&created) != PRUNUS_OK) throw std::bad_alloc();
  std::unique_ptr<prunus_network, Destroy> net(created);
  Reader reader(file + sizeof header, header.words, file + bytes);
  for (std::uint32_t i = 0; i < header.tensors; ++i) read_tensor(reader, net.get());
  for (std::uint32_t i = 0; i < header.inputs; ++i) accept(net.get(), prunus_network_input(net.get(), reader.word()));
  std::vector<std::int32_t> outputs;
  for (std::uint32_t i = 0; i < header.outputs; ++i) outputs.push_back(reader.word());
  for (std::uint32_t i = 0; i < header.operators; ++i) read_operator(reader, net.get());
  for (std::int32_t id : outputs) accept(net.get(), prunus_network_output(net.get(), id));
  reader.expect_end();
  return net.release();
}

}  // namespace prunus
