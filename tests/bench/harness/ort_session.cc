// Runs a model in onnxruntime with the custom operators of Prunus and writes outputs, on machines without Python.
//
//   ort_session LIBRARY MODEL INPUT... -- OUTPUT...      INPUT: NAME:f32|u8|i8:1x2x3:FILE; outputs become 0.bin, 1.bin, …
//
// onnxruntime's packages carry no headers. Its interface is one table of functions whose positions never change.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

extern "C" {
struct Base {
  void *const *(*get_api)(uint32_t version);
  const char *(*get_version)();
};
const Base *OrtGetApiBase();
}

namespace {

using Status = void *;
void *const *api;

template <int slot, class... Arguments> void call(Arguments... arguments) {
  if (Status status = reinterpret_cast<Status (*)(Arguments...)>(api[slot])(arguments...)) {
    constexpr int get_error_message = 2;
    std::fprintf(stderr, "%s\n", reinterpret_cast<const char *(*)(Status)>(api[get_error_message])(status));
    std::exit(1);
  }
}

enum Slot {
  create_env = 3,
  create_session = 7,
  run = 9,
  create_session_options = 10,
  set_intra_op_num_threads = 24,
  register_custom_ops_library = 29,
  create_tensor_with_data = 49,
  get_tensor_mutable_data = 51,
  get_tensor_element_type = 60,
  get_tensor_shape_element_count = 64,
  get_tensor_type_and_shape = 65,
  create_cpu_memory_info = 69,
};

struct Input {
  std::string name;
  std::vector<char> data;
  void *value = nullptr;
};

int element_type(const std::string &name) { return name == "f32" ? 1 : name == "u8" ? 2 : 3; }
size_t element_bytes(int type) { return type == 1 || type == 6 ? 4 : type == 7 ? 8 : 1; }

void read(const std::string &word, void *memory, Input &input) {
  std::istringstream parts(word);
  std::string type, shape, file, dimension;
  std::getline(parts, input.name, ':');
  std::getline(parts, type, ':');
  std::getline(parts, shape, ':');
  std::getline(parts, file);
  std::vector<int64_t> dimensions;
  for (std::istringstream each(shape); std::getline(each, dimension, 'x');) dimensions.push_back(std::stoll(dimension));
  std::ifstream stream(file, std::ios::binary);
  input.data.assign(std::istreambuf_iterator<char>(stream), {});
  call<create_tensor_with_data>(memory, static_cast<void *>(input.data.data()), input.data.size(),
                                static_cast<const int64_t *>(dimensions.data()), dimensions.size(), element_type(type),
                                &input.value);
}

void write(void *value, size_t index) {
  void *info = nullptr, *data = nullptr;
  size_t count = 0;
  int type = 0;
  call<get_tensor_type_and_shape>(value, &info);
  call<get_tensor_element_type>(info, &type);
  call<get_tensor_shape_element_count>(info, &count);
  call<get_tensor_mutable_data>(value, &data);
  std::ofstream stream(std::to_string(index) + ".bin", std::ios::binary);
  stream.write(static_cast<const char *>(data), static_cast<std::streamsize>(count * element_bytes(type)));
}

}  // namespace

int main(int count, char **words) {
  api = OrtGetApiBase()->get_api(17);
  if (api == nullptr || count < 4) return 2;
  void *env = nullptr, *options = nullptr, *session = nullptr, *memory = nullptr, *handle = nullptr;
  constexpr int warnings = 3, arena_allocator = 1, default_memory = 0;
  call<create_env>(warnings, "session", &env);
  call<create_session_options>(&options);
  call<set_intra_op_num_threads>(options, 1);
  call<register_custom_ops_library>(options, static_cast<const char *>(words[1]), &handle);
  call<create_session>(env, static_cast<const char *>(words[2]), options, &session);
  call<create_cpu_memory_info>(arena_allocator, default_memory, &memory);

  int next = 3;
  std::vector<Input> inputs;
  while (next < count && std::string(words[next]) != "--") inputs.emplace_back(), ++next;
  std::vector<const char *> input_names, output_names(words + next + 1, words + count);
  std::vector<void *> values, outputs(output_names.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    read(words[3 + i], memory, inputs[i]);
    input_names.push_back(inputs[i].name.c_str());
    values.push_back(inputs[i].value);
  }
  call<run>(session, nullptr, input_names.data(), values.data(), values.size(), output_names.data(),
            output_names.size(), outputs.data());
  for (size_t i = 0; i < outputs.size(); ++i) write(outputs[i], i);
  return 0;
}
