// The fields of every operator in the order of the packed file: one description for writing and reading.
//
// An archive has word(int32), real(float), array(vector, count) and weights(vector, shape). `count` and `shape` are what
// the words before say; -1 stands for dimensions that nothing can have.
#pragma once

#include <concepts>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "network/definition.h"
#include "network/weights.h"

namespace prunus {

// a * b, or -1 where a factor is negative or the product exceeds int32.
inline std::int64_t times(std::int64_t a, std::int64_t b) {
  if (a < 0 || b < 0 || (b != 0 && a > std::numeric_limits<std::int32_t>::max() / b)) return -1;
  return a * b;
}

template <class A, class T>
void words(A &a, T &window) requires requires { window.dilation_w; } {
  a.word(window.kernel_h), a.word(window.kernel_w), a.word(window.stride_h), a.word(window.stride_w);
  a.word(window.pad_top), a.word(window.pad_left), a.word(window.pad_bottom), a.word(window.pad_right);
  a.word(window.dilation_h), a.word(window.dilation_w);
}

template <class A, class T>
void words(A &a, T &type) requires requires { type.zero_point; type.dtype; } {
  a.word(type.dtype), a.word(type.zero_point);
}

template <class A, class Array>
void words(A &a, Array &shape, std::int32_t rank) {
  for (std::int32_t i = 0; i < rank && i < PRUNUS_MAX_RANK; ++i) a.word(shape[i]);
}

template <class A, class E>
void epilogue(A &a, E &e) {
  auto size = static_cast<std::int32_t>(e.scheme == PRUNUS_F32 ? e.multiplier_f32.size() : e.shift.size());
  a.scheme(e.scheme), a.word(size);
  if (e.scheme == PRUNUS_F32) a.array(e.multiplier_f32, size);
  if (e.scheme == PRUNUS_FIXED) a.array(e.multiplier, size);
  if (e.scheme != PRUNUS_F32) a.array(e.shift, size);
  words(a, e.type), a.word(e.qmin), a.word(e.qmax);
}

template <class A, class Pool>
void pool(A &a, Pool &args) {
  a.word(args.batch), a.word(args.c), a.word(args.in_h), a.word(args.in_w), a.word(args.out_h), a.word(args.out_w);
  words(a, args.window), words(a, args.x), a.word(args.fill);
}

// Writers pass operators as const, readers fill them.
template <class Op, class Operator>
concept Is = std::same_as<std::remove_const_t<Op>, Operator>;

template <class A, Is<Conv> Op>
void fields(A &a, Op &op) {
  auto &args = op.args;
  a.flag(op.depthwise);
  a.word(args.batch), a.word(args.in_c), a.word(args.in_h), a.word(args.in_w);
  a.word(args.out_c), a.word(args.out_h), a.word(args.out_w), a.word(args.group);
  words(a, args.window), words(a, args.x), epilogue(a, op.epilogue);
  const bool grouped = args.group > 0 && args.in_c % args.group == 0;
  a.weights(op.w, {args.out_c, grouped ? args.in_c / args.group : -1, times(args.window.kernel_h, args.window.kernel_w)});
  a.array(op.bias, args.out_c);
}

template <class A, Is<Gemm> Op>
void fields(A &a, Op &op) {
  a.word(op.args.rows), a.word(op.args.in_c), a.word(op.args.out_c);
  words(a, op.args.x), epilogue(a, op.epilogue);
  a.weights(op.w, {op.args.out_c, op.args.in_c, 1});
  a.array(op.bias, op.args.out_c);
}

template <class A, Is<Binary> Op>
void fields(A &a, Op &op) {
  a.flag(op.mul), a.word(op.args.rank);
  words(a, op.args.a_shape, op.args.rank), words(a, op.args.b_shape, op.args.rank);
  words(a, op.args.a), words(a, op.args.b), epilogue(a, op.epilogue);
}

template <class A, Is<Concat> Op>
void fields(A &a, Op &op) {
  auto count = static_cast<std::int32_t>(op.types.size());
  a.word(count), a.word(op.axis), a.resize(op.types, count), a.resize(op.copy, count);
  for (auto &type : op.types) words(a, type);
  for (auto &copy : op.copy) a.word(copy);
  epilogue(a, op.epilogue);
}

template <class A, Is<Requantize> Op>
void fields(A &a, Op &op) {
  words(a, op.x), epilogue(a, op.epilogue);
}

template <class A, Is<MaxPool> Op>
void fields(A &a, Op &op) {
  pool(a, op.args);
}

template <class A, Is<AvgPool> Op>
void fields(A &a, Op &op) {
  pool(a, op.args), epilogue(a, op.epilogue);
  a.array(op.count_index, times(op.args.out_h, op.args.out_w));
}

template <class A, Is<Lut> Op>
void fields(A &a, Op &op) {
  a.array(op.table, 256);
}

template <class A, Is<Softmax> Op>
void fields(A &a, Op &op) {
  a.word(op.args.outer), a.word(op.args.length), a.word(op.args.inner), a.word(op.args.reciprocal);
  words(a, op.args.x), words(a, op.args.y), a.word(op.args.qmin), a.word(op.args.qmax);
  a.array(op.table, 256);
}

template <class A, Is<Slice> Op>
void fields(A &a, Op &op) {
  auto &args = op.args;
  a.word(args.rank), words(a, args.x_shape, args.rank), words(a, args.y_shape, args.rank);
  words(a, args.start, args.rank), words(a, args.step, args.rank), a.word(args.fill);
}

template <class A, Is<Transpose> Op>
void fields(A &a, Op &op) {
  a.word(op.args.rank), words(a, op.args.x_shape, op.args.rank), words(a, op.args.perm, op.args.rank);
}

template <class A, Is<Resize> Op>
void fields(A &a, Op &op) {
  auto &args = op.args;
  a.word(args.batch), a.word(args.c), a.word(args.in_h), a.word(args.in_w), a.word(args.out_h), a.word(args.out_w);
  a.array(op.rows, args.out_h), a.array(op.columns, args.out_w);
}

template <class A, Is<Reshape> Op>
void fields(A &, Op &) {}

template <class A, Is<Quantize> Op>
void fields(A &a, Op &op) {
  a.real(op.scale), epilogue(a, op.epilogue);
}

template <class A, Is<Dequantize> Op>
void fields(A &a, Op &op) {
  a.real(op.scale), words(a, op.x);
}

}  // namespace prunus
