// Writing packed files.
#include <cstring>

#include "network/checksum.h"
#include "network/fields.h"
#include "network/file.h"

namespace prunus {
namespace {

std::size_t aligned(std::size_t bytes) { return (bytes + kFileAlignment - 1) / kFileAlignment * kFileAlignment; }

// Words go to the front of the file, arrays behind them; an array's place follows from the ones before it.
class Writer {
 public:
  void word(std::int32_t value) { words_.push_back(static_cast<std::uint32_t>(value)); }
  void flag(bool value) { word(value); }
  void scheme(prunus_scheme value) { word(value); }
  void real(float value) { words_.push_back(std::bit_cast<std::uint32_t>(value)); }
  template <class T>
  void resize(const std::vector<T> &, std::int32_t) {}

  template <class T>
  void array(const std::vector<T> &values, std::int64_t) {
    append(WeightForm::dense, values.data(), values.size() * sizeof(T));
  }

  void weights(const std::vector<std::int8_t> &w, const WeightShape &shape) {
    const WeightForm form = smallest_form(w.data(), shape);
    const std::vector<std::uint8_t> stored = encode(form, w.data(), shape);
    append(form, stored.data(), stored.size());
  }

  const std::vector<std::uint32_t> &all_words() const { return words_; }
  const std::vector<std::uint8_t> &all_arrays() const { return arrays_; }

 private:
  void append(WeightForm form, const void *data, std::size_t bytes) {
    words_.push_back(static_cast<std::uint32_t>(form));
    words_.push_back(static_cast<std::uint32_t>(bytes));
    const std::size_t begin = arrays_.size();
    arrays_.resize(begin + aligned(bytes));
    if (bytes) std::memcpy(arrays_.data() + begin, data, bytes);
  }

  std::vector<std::uint32_t> words_;
  std::vector<std::uint8_t> arrays_;  // each padded with zeros
};

void write(Writer &writer, const Definition &definition) {
  for (const prunus_tensor &tensor : definition.tensors) {
    writer.word(tensor.element), writer.word(tensor.rank);
    words(writer, tensor.shape, tensor.rank);
  }
  for (std::int32_t id : definition.inputs) writer.word(id);
  for (std::int32_t id : definition.outputs) writer.word(id);
  for (const Node &node : definition.nodes) {
    writer.word(static_cast<std::int32_t>(node.op.index()));
    writer.word(static_cast<std::int32_t>(node.inputs.size()));
    for (std::int32_t id : node.inputs) writer.word(id);
    writer.word(node.output);
    std::visit([&](const auto &op) { fields(writer, op); }, node.op);
  }
}

template <class T>
std::uint32_t count_of(const std::vector<T> &values) {
  return static_cast<std::uint32_t>(values.size());
}

}  // namespace

std::uint32_t file_checksum(const std::uint8_t *file, std::size_t bytes) {
  constexpr std::size_t kBegin = offsetof(FileHeader, checksum), kEnd = kBegin + sizeof(std::uint32_t);
  return crc32c(crc32c(0, file, kBegin), file + kEnd, bytes - kEnd);
}

std::vector<std::uint8_t> packed_file(const Definition &definition) {
  Writer writer;
  write(writer, definition);
  const std::size_t words_bytes = writer.all_words().size() * sizeof(std::uint32_t);
  const std::size_t arrays_begin = aligned(sizeof(FileHeader) + words_bytes);
  std::vector<std::uint8_t> file(arrays_begin + writer.all_arrays().size());
  FileHeader header{};
  std::memcpy(header.magic, kFileMagic, sizeof kFileMagic);
  header.version = kFileVersion;
  header.bytes = file.size();
  header.words = writer.all_words().size();
  header.tensors = count_of(definition.tensors), header.inputs = count_of(definition.inputs);
  header.outputs = count_of(definition.outputs), header.operators = count_of(definition.nodes);
  std::memcpy(file.data(), &header, sizeof header);
  if (words_bytes) std::memcpy(file.data() + sizeof header, writer.all_words().data(), words_bytes);
  std::copy(writer.all_arrays().begin(), writer.all_arrays().end(), file.begin() + static_cast<long>(arrays_begin));
  header.checksum = file_checksum(file.data(), file.size());
  std::memcpy(file.data(), &header, sizeof header);
  return file;
}

}  // namespace prunus
