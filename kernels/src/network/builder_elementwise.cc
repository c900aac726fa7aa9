// Defining addition, multiplication, changes of scale, tables, softmax, and the borders to float.
#include <algorithm>

#include "network/builder.h"

namespace prunus {
namespace {

// The shape of a tensor with ones before it, as numpy broadcasts.
bool broadcasts_from(const prunus_tensor &tensor, std::int32_t rank, const std::int32_t *shape) {
  if (tensor.rank > rank) return false;
  const std::int32_t ones = rank - tensor.rank;
  return std::all_of(shape, shape + ones, [](std::int32_t d) { return d == 1; }) &&
         std::equal(tensor.shape, tensor.shape + tensor.rank, shape + ones);
}

// Runs the portable function on single elements: it checks types and requantization.
void check_binary(const Builder &builder, bool mul, prunus_binary_args args) {
  const std::uint8_t element = 0;
  std::uint8_t result = 0;
  args.rank = args.a_shape[0] = args.b_shape[0] = 1;
  builder.require_ok((mul ? prunus_mul : prunus_add)(&args, &element, &element, &result));
}

void define_binary(const Builder &builder, bool mul, std::int32_t a, std::int32_t b, std::int32_t y,
                   const prunus_binary_args *args) {
  builder.require_pointer(args, "args");
  const prunus_tensor &left = builder.input(a), &right = builder.input(b), &out = builder.output(y);
  builder.require(args->rank >= 1 && args->rank <= PRUNUS_MAX_RANK && out.rank == args->rank, PRUNUS_E_SHAPE,
                  "a rank that is not that of y");
  builder.require(broadcasts_from(left, args->rank, args->a_shape), PRUNUS_E_SHAPE,
                  "a has the shape " + shape_text(left) + ", which is not what the arguments say");
  builder.require(broadcasts_from(right, args->rank, args->b_shape), PRUNUS_E_SHAPE,
                  "b has the shape " + shape_text(right) + ", which is not what the arguments say");
  for (std::int32_t i = 0; i < args->rank; ++i) {
    const std::int32_t m = args->a_shape[i], n = args->b_shape[i];
    builder.require(m == n || m == 1 || n == 1, PRUNUS_E_SHAPE, "shapes that do not broadcast");
    builder.require(out.shape[i] == std::max(m, n), PRUNUS_E_SHAPE, "y has the shape " + shape_text(out));
  }
  check_binary(builder, mul, *args);
  Binary op{mul, *args, builder.copy(args->y)};
  op.args.y = {};
  builder.require_type(a, args->a, "a");
  builder.require_type(b, args->b, "b");
  builder.require_type(y, args->y.type, "y");
  builder.add({a, b}, y, std::move(op));
}

// As prunus_requantize checks it.
void check_requantize(const Builder &builder, prunus_type x, const prunus_epilogue &epilogue, std::int32_t entry,
                      bool copy) {
  prunus_requant_args args{};
  args.inner = args.stride = 1;
  args.copy = copy;
  args.entry = entry;
  args.x = x;
  args.y = epilogue;
  builder.require_ok(prunus_requantize(&args, nullptr, nullptr));
}

}  // namespace
}  // namespace prunus

using namespace prunus;

prunus_status prunus_network_add(prunus_network *network, std::int32_t a, std::int32_t b, std::int32_t y,
                                 const prunus_binary_args *args) {
  return define(network, "add", [&](const Builder &builder) { define_binary(builder, false, a, b, y, args); });
}

prunus_status prunus_network_mul(prunus_network *network, std::int32_t a, std::int32_t b, std::int32_t y,
                                 const prunus_binary_args *args) {
  return define(network, "mul", [&](const Builder &builder) { define_binary(builder, true, a, b, y, args); });
}

prunus_status prunus_network_concat(prunus_network *network, const std::int32_t *xs, const prunus_type *types,
                                    const std::int32_t *copy, std::int32_t count, std::int32_t axis, std::int32_t y,
                                    const prunus_epilogue *epilogue) {
  return define(network, "concat", [&](const Builder &builder) {
    builder.require_pointer(xs, "xs");
    builder.require_pointer(types, "types");
    builder.require_pointer(copy, "copy");
    builder.require_pointer(epilogue, "epilogue");
    const prunus_tensor &out = builder.output(y);
    builder.require(count >= 1, PRUNUS_E_SHAPE, "no inputs");
    builder.require(axis >= 0 && axis < out.rank, PRUNUS_E_SHAPE, "an axis that y does not have");
    std::int64_t total = 0;
    for (std::int32_t i = 0; i < count; ++i) {
      prunus_tensor in = builder.input(xs[i]);
      builder.require(in.rank == out.rank, PRUNUS_E_SHAPE, "an input of another rank");
      total += in.shape[axis];
      in.shape[axis] = out.shape[axis];
      builder.require(same_shape(in, out), PRUNUS_E_SHAPE, "inputs that differ beside the axis");
      check_requantize(builder, types[i], *epilogue, i, copy[i] != 0);
    }
    builder.require(total == out.shape[axis], PRUNUS_E_SHAPE, "y has the shape " + shape_text(out));
    Concat op{copied(types, count), copied(copy, count), axis, builder.copy(*epilogue)};
    for (std::int32_t i = 0; i < count; ++i) builder.require_type(xs[i], types[i], "an input");
    builder.require_type(y, epilogue->type, "y");
    builder.add(copied(xs, count), y, std::move(op));
  });
}

prunus_status prunus_network_requantize(prunus_network *network, std::int32_t x, std::int32_t y,
                                        const prunus_type *x_type, const prunus_epilogue *epilogue) {
  return define(network, "requantize", [&](const Builder &builder) {
    builder.require_pointer(x_type, "x_type");
    builder.require_pointer(epilogue, "epilogue");
    const prunus_tensor &in = builder.input(x), &out = builder.output(y);
    builder.require(same_shape(in, out), PRUNUS_E_SHAPE, "x and y differ in shape");
    check_requantize(builder, *x_type, *epilogue, 0, false);
    builder.require_type(x, *x_type, "x");
    builder.require_type(y, epilogue->type, "y");
    builder.add({x}, y, Requantize{*x_type, builder.copy(*epilogue)});
  });
}

prunus_status prunus_network_lut(prunus_network *network, std::int32_t x, std::int32_t y, const void *table) {
  return define(network, "lut", [&](const Builder &builder) {
    builder.require_pointer(table, "table");
    const prunus_tensor &in = builder.input(x), &out = builder.output(y);
    builder.require(same_shape(in, out), PRUNUS_E_SHAPE, "x and y differ in shape");
    builder.require(in.element != PRUNUS_ELEMENT_F32 && out.element != PRUNUS_ELEMENT_F32, PRUNUS_E_TYPE,
                    "a table of float");
    builder.add({x}, y, Lut{copied(static_cast<const std::uint8_t *>(table), 256)});
  });
}

prunus_status prunus_network_softmax(prunus_network *network, std::int32_t x, std::int32_t y,
                                     const prunus_softmax_args *args, const std::uint32_t *table) {
  return define(network, "softmax", [&](const Builder &builder) {
    builder.require_pointer(args, "args");
    builder.require_pointer(table, "table");
    const prunus_tensor &in = builder.input(x), &out = builder.output(y);
    prunus_softmax_args nothing = *args;
    nothing.outer = 0;
    builder.require_ok(prunus_softmax(&nothing, table, nullptr, nullptr));
    builder.require(same_shape(in, out), PRUNUS_E_SHAPE, "x and y differ in shape");
    const std::int64_t line = std::int64_t{args->length} * args->inner;
    builder.require(args->outer >= 1 && elements(in) % line == 0 && elements(in) / line == args->outer, PRUNUS_E_SHAPE,
                    "outer, length and inner do not give x");
    builder.require_element(in, args->x.dtype, "x");  // the zero point has no meaning here
    builder.require_type(y, args->y, "y");
    builder.add({x}, y, Softmax{*args, copied(table, 256)});
  });
}

prunus_status prunus_network_quantize(prunus_network *network, std::int32_t x, std::int32_t y, float scale,
                                      const prunus_epilogue *y_type) {
  return define(network, "quantize", [&](const Builder &builder) {
    builder.require_pointer(y_type, "y_type");
    const prunus_tensor &in = builder.input(x), &out = builder.output(y);
    builder.require_ok(prunus_quantize(0, scale, y_type, nullptr, nullptr));
    builder.require(same_shape(in, out), PRUNUS_E_SHAPE, "x and y differ in shape");
    builder.require_element(in, PRUNUS_ELEMENT_F32, "x");
    builder.require_element(out, y_type->type.dtype, "y");
    prunus_epilogue unscaled = *y_type;  // its requantization is ignored
    unscaled.requant = {};
    builder.add({x}, y, Quantize{scale, builder.copy(unscaled)});
  });
}

prunus_status prunus_network_dequantize(prunus_network *network, std::int32_t x, std::int32_t y, float scale,
                                        const prunus_type *x_type) {
  return define(network, "dequantize", [&](const Builder &builder) {
    builder.require_pointer(x_type, "x_type");
    const prunus_tensor &in = builder.input(x), &out = builder.output(y);
    builder.require_ok(prunus_dequantize(0, scale, x_type, nullptr, nullptr));
    builder.require(same_shape(in, out), PRUNUS_E_SHAPE, "x and y differ in shape");
    builder.require_type(x, *x_type, "x");
    builder.require_element(out, PRUNUS_ELEMENT_F32, "y");
    builder.add({x}, y, Dequantize{scale, *x_type});
  });
}
