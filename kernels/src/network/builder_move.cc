// Defining pools and data movement.
#include <algorithm>

#include "network/builder.h"

namespace prunus {
namespace {

void check_pool_shapes(const Builder &builder, std::int32_t x, std::int32_t y, const prunus_pool2d_args &args) {
  builder.require_shape(builder.input(x), {args.batch, args.c, args.in_h, args.in_w}, "x");
  builder.require_shape(builder.output(y), {args.batch, args.c, args.out_h, args.out_w}, "y");
}

// Data movement keeps the element type, and float only passes through the borders.
void check_same_element(const Builder &builder, std::int32_t x, std::int32_t y) {
  const prunus_tensor &in = builder.input(x), &out = builder.output(y);
  builder.require(in.element == out.element, PRUNUS_E_TYPE, "x and y differ in element type");
  builder.require(in.element != PRUNUS_ELEMENT_F32, PRUNUS_E_TYPE, "a float tensor inside of the network");
}

prunus_tensor tensor_of(std::int32_t rank, const std::int32_t *shape) {
  prunus_tensor tensor{};
  tensor.rank = std::clamp(rank, 0, PRUNUS_MAX_RANK);
  std::copy(shape, shape + tensor.rank, tensor.shape);
  return tensor;
}

}  // namespace
}  // namespace prunus

using namespace prunus;

prunus_status prunus_network_maxpool2d(prunus_network *network, std::int32_t x, std::int32_t y,
                                       const prunus_pool2d_args *args) {
  return define(network, "maxpool2d", [&](const Builder &builder) {
    builder.require_pointer(args, "args");
    check_pool_shapes(builder, x, y, *args);
    check_same_element(builder, x, y);
    prunus_pool2d_args nothing = *args;
    nothing.batch = 0;
    builder.require_ok(prunus_maxpool2d(&nothing, nullptr, nullptr));
    builder.require_element(builder.input(x), args->x.dtype, "x");  // the zero point has no meaning here
    builder.add({x}, y, MaxPool{*args});
  });
}

prunus_status prunus_network_avgpool2d(prunus_network *network, std::int32_t x, std::int32_t y,
                                       const prunus_pool2d_args *args, const prunus_epilogue *epilogue,
                                       const std::int32_t *count_index) {
  return define(network, "avgpool2d", [&](const Builder &builder) {
    builder.require_pointer(args, "args");
    builder.require_pointer(epilogue, "epilogue");
    builder.require_pointer(count_index, "count_index");
    check_pool_shapes(builder, x, y, *args);
    prunus_pool2d_args nothing = *args;
    nothing.batch = 0;
    builder.require_ok(prunus_avgpool2d(&nothing, epilogue, count_index, nullptr, nullptr));
    builder.require_type(x, args->x, "x");
    builder.require_type(y, epilogue->type, "y");
    const std::int64_t outputs = std::int64_t{args->out_h} * args->out_w;
    builder.add({x}, y, AvgPool{*args, builder.copy(*epilogue), copied(count_index, outputs)});
  });
}

prunus_status prunus_network_slice(prunus_network *network, std::int32_t x, std::int32_t y,
                                   const prunus_slice_args *args) {
  return define(network, "slice", [&](const Builder &builder) {
    builder.require_pointer(args, "args");
    const prunus_tensor &in = builder.input(x), &out = builder.output(y);
    check_same_element(builder, x, y);
    builder.require(args->rank == in.rank && args->rank == out.rank, PRUNUS_E_SHAPE, "a rank that x or y does not have");
    builder.require(same_shape(in, tensor_of(args->rank, args->x_shape)), PRUNUS_E_SHAPE, "x_shape is not that of x");
    builder.require(same_shape(out, tensor_of(args->rank, args->y_shape)), PRUNUS_E_SHAPE, "y_shape is not that of y");
    prunus_slice_args nothing = *args;  // one element, from the padding
    std::uint8_t result = 0;
    std::fill(nothing.y_shape, nothing.y_shape + args->rank, 1);
    std::fill(nothing.start, nothing.start + args->rank, -1);
    builder.require_ok(prunus_slice(&nothing, nullptr, &result));
    const std::int32_t low = in.element == PRUNUS_ELEMENT_S8 ? -128 : 0;
    builder.require(args->fill >= low && args->fill <= low + 255, PRUNUS_E_RANGE, "a fill outside of the type");
    builder.add({x}, y, Slice{*args});
  });
}

prunus_status prunus_network_transpose(prunus_network *network, std::int32_t x, std::int32_t y,
                                       const prunus_transpose_args *args) {
  return define(network, "transpose", [&](const Builder &builder) {
    builder.require_pointer(args, "args");
    const prunus_tensor &in = builder.input(x), &out = builder.output(y);
    check_same_element(builder, x, y);
    builder.require(args->rank == in.rank, PRUNUS_E_SHAPE, "a rank that x does not have");
    builder.require(same_shape(in, tensor_of(args->rank, args->x_shape)), PRUNUS_E_SHAPE, "x_shape is not that of x");
    prunus_transpose_args nothing = *args;  // one element
    const std::uint8_t element = 0;
    std::uint8_t result = 0;
    std::fill(nothing.x_shape, nothing.x_shape + args->rank, 1);
    builder.require_ok(prunus_transpose(&nothing, &element, &result));
    prunus_tensor wanted = in;
    for (std::int32_t i = 0; i < in.rank; ++i) wanted.shape[i] = in.shape[args->perm[i]];
    builder.require(same_shape(out, wanted), PRUNUS_E_SHAPE, "y has the shape " + shape_text(out));
    builder.add({x}, y, Transpose{*args});
  });
}

prunus_status prunus_network_resize_nearest(prunus_network *network, std::int32_t x, std::int32_t y,
                                            const prunus_resize_args *args, const std::int32_t *rows,
                                            const std::int32_t *columns) {
  return define(network, "resize_nearest", [&](const Builder &builder) {
    builder.require_pointer(args, "args");
    builder.require_pointer(rows, "rows");
    builder.require_pointer(columns, "columns");
    builder.require_shape(builder.input(x), {args->batch, args->c, args->in_h, args->in_w}, "x");
    builder.require_shape(builder.output(y), {args->batch, args->c, args->out_h, args->out_w}, "y");
    check_same_element(builder, x, y);
    prunus_resize_args nothing = *args;
    nothing.batch = 0;
    builder.require_ok(prunus_resize_nearest(&nothing, rows, columns, nullptr, nullptr));
    builder.add({x}, y, Resize{*args, copied(rows, args->out_h), copied(columns, args->out_w)});
  });
}

prunus_status prunus_network_reshape(prunus_network *network, std::int32_t x, std::int32_t y) {
  return define(network, "reshape", [&](const Builder &builder) {
    check_same_element(builder, x, y);
    builder.require(elements(builder.input(x)) == elements(builder.output(y)), PRUNUS_E_SHAPE,
                    "x and y differ in the number of elements");
    builder.add({x}, y, Reshape{});
  });
}
