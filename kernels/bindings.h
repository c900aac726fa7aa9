// Between numpy and the C interface: checked arrays in, fresh arrays out, statuses as exceptions.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "prunus/network.h"

namespace prunus {

namespace nb = nanobind;

// A readable array in C order (others are copied into it) of any element type, which `elements` checks by name.
struct Array : nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu> {
  using ndarray::ndarray;
  Array(const ndarray &array) : ndarray(array) {}
};

// A writable array in C order, never copied.
struct Target : nb::ndarray<nb::c_contig, nb::device::cpu> {
  using ndarray::ndarray;
  Target(const ndarray &array) : ndarray(array) {}
};

// A new numpy array.
struct Result {
  nb::ndarray<nb::numpy> array;
};

using Shape = std::vector<size_t>;
using Pair = std::array<int32_t, 2>;
using Pads = std::array<int32_t, 4>;

// What the kernels refuse; a ValueError in Python.
struct KernelError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline const char *name_of(prunus_status status) {
  switch (status) {
    case PRUNUS_E_SHAPE: return "E_SHAPE";
    case PRUNUS_E_TYPE: return "E_TYPE";
    case PRUNUS_E_RANGE: return "E_RANGE";
    case PRUNUS_E_FILE: return "E_FILE";
    case PRUNUS_E_STATE: return "E_STATE";
    case PRUNUS_E_MEMORY: return "E_MEMORY";
    case PRUNUS_E_OPTION: return "E_OPTION";
    default: return "OK";
  }
}

inline void check(const char *kernel, prunus_status status) {
  if (status == PRUNUS_OK) return;
  throw KernelError(std::string(kernel) + ": " + name_of(status) + ": " + prunus_status_text(status));
}

// Raises E_SHAPE with a reason of its own: for what only the arrays know.
inline void expect(bool condition, const char *kernel, const char *reason) {
  if (!condition) throw KernelError(std::string(kernel) + ": E_SHAPE: " + reason);
}

inline int32_t dimension(size_t size) {
  if (size > static_cast<size_t>(std::numeric_limits<int32_t>::max()))
    throw KernelError("E_SHAPE: a dimension exceeds int32");
  return static_cast<int32_t>(size);
}

inline Shape shape_of(const Array &array) { return Shape(array.shape_ptr(), array.shape_ptr() + array.ndim()); }

// The elements of an array that must be of type T.
template <class T>
const T *elements(const Array &array, const char *name, const char *type_name) {
  if (array.dtype() != nb::dtype<T>())
    throw nb::type_error((std::string(name) + " must be an array of " + type_name).c_str());
  return static_cast<const T *>(array.data());
}

template <class T>
std::vector<T> vector_of(const Array &array, const char *name, const char *type_name) {
  const T *data = elements<T>(array, name, type_name);
  return std::vector<T>(data, data + array.size());
}

inline int32_t dtype_of(const Array &array, const char *name) {
  if (array.dtype() == nb::dtype<uint8_t>()) return PRUNUS_U8;
  if (array.dtype() == nb::dtype<int8_t>()) return PRUNUS_S8;
  throw nb::type_error((std::string(name) + " must be an array of uint8 or int8").c_str());
}

// An uninitialised array that Python will own.
class OutputArray {
 public:
  OutputArray(Shape shape, nb::dlpack::dtype dtype) : shape_(std::move(shape)), dtype_(dtype) {
    size_t bytes = dtype.bits / 8;
    for (size_t size : shape_) bytes *= size;
    data_ = std::make_unique<uint8_t[]>(bytes ? bytes : 1);
  }
  OutputArray(Shape shape, int32_t dtype)
      : OutputArray(std::move(shape), dtype == PRUNUS_S8 ? nb::dtype<int8_t>() : nb::dtype<uint8_t>()) {}

  uint8_t *data() { return data_.get(); }

  Result release() {
    uint8_t *data = data_.release();
    nb::capsule owner(data, [](void *p) noexcept { delete[] static_cast<uint8_t *>(p); });
    return {nb::ndarray<nb::numpy>(data, shape_.size(), shape_.data(), owner, nullptr, dtype_)};
  }

 private:
  Shape shape_;
  nb::dlpack::dtype dtype_;
  std::unique_ptr<uint8_t[]> data_;
};

// Runs `call` without the interpreter lock and raises what it refuses.
template <class Call>
void run(const char *kernel, Call &&call) {
  prunus_status status;
  {
    nb::gil_scoped_release release;
    status = call();
  }
  check(kernel, status);
}

}  // namespace prunus

// The casters are nanobind's own under a name that type checkers read.
namespace nanobind::detail {

template <>
struct type_caster<prunus::Array> {
  NB_TYPE_CASTER(prunus::Array, const_name("numpy.typing.NDArray[typing.Any]"))
  bool from_python(handle source, uint32_t flags, cleanup_list *cleanup) noexcept {
    type_caster<prunus::Array::ndarray> caster;
    if (!caster.from_python(source, flags, cleanup)) return false;
    value = caster.value;
    return true;
  }
};

template <>
struct type_caster<prunus::Target> {
  NB_TYPE_CASTER(prunus::Target, const_name("numpy.typing.NDArray[typing.Any]"))
  bool from_python(handle source, uint32_t flags, cleanup_list *cleanup) noexcept {
    type_caster<prunus::Target::ndarray> caster;
    if (!caster.from_python(source, flags & ~static_cast<uint32_t>(cast_flags::convert), cleanup)) return false;
    value = caster.value;
    return true;
  }
};

template <>
struct type_caster<prunus::Result> {
  NB_TYPE_CASTER(prunus::Result, const_name("numpy.typing.NDArray[typing.Any]"))
  static handle from_cpp(const prunus::Result &result, rv_policy policy, cleanup_list *cleanup) noexcept {
    return type_caster<ndarray<numpy>>::from_cpp(result.array, policy, cleanup);
  }
};

}  // namespace nanobind::detail
