// What Python passes for one operator, as the argument structs of kernels.h: shared by the functions, which run at once,
// and by Network, which only knows shapes.
#pragma once

#include "bindings.h"

namespace prunus {

// Owns the multipliers that a prunus_requant points to.
struct Requant {
  int32_t scheme = PRUNUS_POW2;
  std::vector<float> multiplier_f32;
  std::vector<int32_t> multiplier, shift;

  static Requant f32(const Array &multiplier);
  static Requant fixed(const Array &multiplier, const Array &shift);
  static Requant pow2(const Array &shift);

  const char *scheme_name() const;
  size_t size() const { return scheme == PRUNUS_F32 ? multiplier_f32.size() : shift.size(); }
  prunus_requant c() const;
};

// The output's type and the range that a fused Relu or Clip leaves.
struct Output {
  int32_t dtype, zero_point, qmin, qmax;

  Output(const std::string &name, int32_t zero, std::optional<int32_t> low, std::optional<int32_t> high);
  prunus_type type() const { return {dtype, zero_point}; }
};

prunus_epilogue epilogue_of(const Requant &requant, const Output &y);

// Shape and element type of an operand, 8-bit or float.
struct Operand {
  Shape shape;
  int32_t dtype;

  size_t rank() const { return shape.size(); }
  size_t size() const;
};

Operand operand(const Array &array, const char *name);

// An operator's arguments, and the shape of what it writes.
template <class Args>
struct Call {
  Args args{};
  Shape y;
};

struct Windowing {
  Pair strides;
  Pads pads;
  Pair dilations;
};

// The number of window positions, or 0 where the window does not fit (which the kernels refuse).
int32_t out_height(int32_t in_h, const prunus_window &window);
int32_t out_width(int32_t in_w, const prunus_window &window);

Call<prunus_conv2d_args> conv_call(const char *name, const Operand &x, const Array &w, const Array &bias,
                                   const Requant &requant, const Output &y, int32_t x_zero_point,
                                   const Windowing &window, int32_t group);
Call<prunus_gemm_args> gemm_call(const char *name, const Operand &x, const Array &w, const Array &bias,
                                 const Requant &requant, const Output &y, int32_t x_zero_point);
Call<prunus_binary_args> binary_call(const char *name, const Operand &a, const Operand &b, const Requant &requant,
                                     const Output &y, int32_t a_zero_point, int32_t b_zero_point);
Shape concat_shape(const char *name, const std::vector<Operand> &xs, size_t axis, size_t zero_points, size_t copies);
Call<prunus_pool2d_args> pool_call(const char *name, const Operand &x, Pair kernel, const Windowing &window,
                                   int32_t x_zero_point, std::optional<int32_t> fill);
void expect_counts(const char *name, const Array &count_index, const Shape &y);
Call<prunus_softmax_args> softmax_call(const char *name, const Operand &x, const Array &table, int32_t reciprocal,
                                       const Output &y, int32_t axis);
Call<prunus_slice_args> slice_call(const char *name, const Operand &x, const std::vector<int32_t> &start,
                                   const std::vector<int32_t> &step, const std::vector<int32_t> &shape, int32_t fill);
Call<prunus_transpose_args> transpose_call(const char *name, const Operand &x, const std::vector<int32_t> &perm);
Call<prunus_resize_args> resize_call(const char *name, const Operand &x, const Array &rows, const Array &columns);

// The parts of the module.
void define_types(nb::module_ &m);
void define_functions(nb::module_ &m);
void define_network(nb::module_ &m);
void define_weights(nb::module_ &m);
void define_selection(nb::module_ &m);
void define_coding(nb::module_ &m);

}  // namespace prunus
