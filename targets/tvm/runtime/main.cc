// Runs a model in C++: main MODEL.so ENTRY OUT TYPE:SHAPE:FILE...
//
// One TYPE:SHAPE:FILE per input, in order: float32:2x3x32x32:in0.bin; files hold the elements, nothing else. The outputs
// are written to OUT0.bin, OUT1.bin, ... in order. Built with the headers of apache-tvm-ffi, libtvm_ffi.so and
// libtvm_runtime.so; the README beside the model shows how.
#include <tvm/ffi/container/array.h>
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/tvm_ffi.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace ffi = tvm::ffi;

namespace {

struct Allocator {
  static std::size_t bytes(const DLTensor *t) {
    std::size_t count = 1;
    for (int i = 0; i < t->ndim; ++i) count *= static_cast<std::size_t>(t->shape[i]);
    return count * t->dtype.bits / 8;
  }
  void AllocData(DLTensor *t) { t->data = std::aligned_alloc(64, (bytes(t) / 64 + 1) * 64); }
  void FreeData(DLTensor *t) { std::free(t->data); }
};

ffi::Tensor read(const std::string &description) {
  const std::size_t shape_at = description.find(':'), file_at = description.find(':', shape_at + 1);
  if (file_at == std::string::npos) throw std::runtime_error("expected TYPE:SHAPE:FILE, not " + description);
  std::vector<std::int64_t> shape;
  std::istringstream sizes(description.substr(shape_at + 1, file_at - shape_at - 1));
  for (std::string size; std::getline(sizes, size, 'x');) shape.push_back(std::stoll(size));
  const DLDataType type = ffi::StringToDLDataType(description.substr(0, shape_at));
  ffi::Tensor tensor = ffi::Tensor::FromNDAlloc(Allocator{}, ffi::Shape(shape), type, DLDevice{kDLCPU, 0});
  std::ifstream file(description.substr(file_at + 1), std::ios::binary);
  const auto size = static_cast<std::streamsize>(Allocator::bytes(tensor.GetDLTensorPtr()));
  if (!file.read(static_cast<char *>(tensor.data_ptr()), size)) throw std::runtime_error("too short: " + description);
  return tensor;
}

void run(int count, char **words) {
  const ffi::Module library = ffi::Module::LoadFromFile(words[1]);
  const ffi::Module machine = (*library->GetFunction("vm_load_executable"))().cast<ffi::Module>();
  (*machine->GetFunction("vm_initialization"))(static_cast<int>(kDLCPU), 0, 2);  // device 0, pooled memory
  std::vector<ffi::Any> inputs;
  for (int i = 4; i < count; ++i) inputs.emplace_back(read(words[i]));
  std::vector<ffi::AnyView> views(inputs.begin(), inputs.end());
  ffi::Any result;
  (*machine->GetFunction(words[2])).CallPacked(views.data(), static_cast<int>(views.size()), &result);
  int index = 0;
  for (const ffi::Tensor &output : result.cast<ffi::Array<ffi::Tensor>>()) {
    std::ofstream file(std::string(words[3]) + std::to_string(index++) + ".bin", std::ios::binary);
    const std::size_t size = Allocator::bytes(output.GetDLTensorPtr());
    if (!file.write(static_cast<const char *>(output.data_ptr()), static_cast<std::streamsize>(size)))
      throw std::runtime_error("an output cannot be written");
  }
}

}  // namespace

int main(int count, char **words) {
  if (count < 5) {
    std::fprintf(stderr, "usage: main MODEL.so ENTRY OUT TYPE:SHAPE:FILE...\n");
    return 2;
  }
  try {
    run(count, words);
  } catch (const std::exception &error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
