// Packed models for Python. zstd stays with the caller: the kernels depend on no compression library.
#include <nanobind/stl/function.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <cstring>
#include <exception>
#include <functional>

#include "bindings_args.h"
#include "prunus/coding.h"

namespace prunus {
namespace {

using namespace nb::literals;

using Decompress = std::function<nb::bytes(nb::bytes, size_t)>;

// The caller's function, and what it raised.
struct Zstd {
  const Decompress &call;
  std::exception_ptr raised;
};

size_t decompress(void *context, void *out, size_t out_bytes, const void *in, size_t in_bytes) {
  auto *zstd = static_cast<Zstd *>(context);
  nb::gil_scoped_acquire acquire;
  try {
    nb::bytes content = zstd->call(nb::bytes(in, in_bytes), out_bytes);
    if (content.size() == out_bytes) std::memcpy(out, content.data(), out_bytes);
    return content.size();
  } catch (...) {
    zstd->raised = std::current_exception();
    return out_bytes + 1;
  }
}

void expect_ok(prunus_status status, const char *why) {
  if (status != PRUNUS_OK) throw KernelError("unpack_model: " + std::string(name_of(status)) + ": " + why);
}

nb::bytes unpack_model(nb::bytes packed, const std::optional<Decompress> &zstd, uint64_t limit_bytes) {
  uint64_t model_bytes = 0;
  const char *why = "";
  prunus_status status = prunus_model_bytes(packed.data(), packed.size(), &model_bytes, &why);
  expect_ok(status, why);
  if (model_bytes > limit_bytes)
    throw KernelError("unpack_model: E_FILE: The model has " + std::to_string(model_bytes) + " bytes; the limit is " +
                      std::to_string(limit_bytes) + ".");
  nb::object model = nb::steal(PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(model_bytes)));
  if (!model.is_valid()) throw nb::python_error();
  char *out = PyBytes_AsString(model.ptr());
  Zstd given{zstd ? *zstd : Decompress(), nullptr};
  {
    nb::gil_scoped_release release;
    status = prunus_model_unpack(packed.data(), packed.size(), zstd ? decompress : nullptr, &given, out, model_bytes,
                                 &why);
  }
  if (given.raised) std::rethrow_exception(given.raised);
  expect_ok(status, why);
  return nb::borrow<nb::bytes>(model);
}

}  // namespace

void define_coding(nb::module_ &m) {
  m.def("unpack_model", &unpack_model, "packed"_a, "zstd"_a = nb::none(), nb::kw_only(),
        "limit_bytes"_a = uint64_t{1} << 31,
        "The ONNX file in a packed model (model.prz), byte for byte.\n\n"
        "zstd(frame, size) decompresses one frame to `size` bytes, for example\n"
        "`lambda frame, size: zstandard.decompress(frame)`; without it, files with such sections are refused. What it\n"
        "raises passes through; everything else that is wrong with the file is a KernelError.");
}

}  // namespace prunus
