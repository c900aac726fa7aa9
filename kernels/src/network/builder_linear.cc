// Defining convolutions and matrix products.
#include <algorithm>
#include <limits>

#include "network/builder.h"

namespace prunus {
namespace {

// Weights are symmetric: kernels rely on the absence of -128.
std::vector<std::int8_t> weights(const Builder &builder, const std::int8_t *w, std::int64_t count) {
  builder.require_pointer(w, "w");
  builder.require(std::find(w, w + count, std::int8_t{-128}) == w + count, PRUNUS_E_RANGE, "a weight of -128");
  return copied(w, count);
}

std::int64_t weight_count(const Builder &builder, std::int64_t out_c, std::int64_t in_c, std::int64_t taps) {
  const std::int64_t row = in_c * taps;  // below 2^62: taps fit in 31 bits
  builder.require(row <= std::numeric_limits<std::int32_t>::max() / out_c, PRUNUS_E_SHAPE, "more than 2^31 - 1 weights");
  return out_c * row;
}

void define_conv(const Builder &builder, bool depthwise, std::int32_t x, std::int32_t y,
                 const prunus_conv2d_args *args, const std::int8_t *w, const std::int32_t *bias) {
  builder.require_pointer(args, "args");
  builder.require_pointer(bias, "bias");
  const prunus_tensor &in = builder.input(x), &out = builder.output(y);
  builder.require_shape(in, {args->batch, args->in_c, args->in_h, args->in_w}, "x");
  builder.require_shape(out, {args->batch, args->out_c, args->out_h, args->out_w}, "y");
  prunus_conv2d_args nothing = *args;
  nothing.batch = 0;
  builder.require_ok(depthwise ? prunus_depthwise2d(&nothing, nullptr, nullptr, nullptr, nullptr)
                               : prunus_conv2d(&nothing, nullptr, nullptr, nullptr, nullptr));
  const std::int64_t taps = std::int64_t{args->window.kernel_h} * args->window.kernel_w;
  const std::int64_t count = weight_count(builder, args->out_c, args->in_c / args->group, taps);
  Conv op{depthwise, *args, builder.copy(args->y), weights(builder, w, count), copied(bias, args->out_c)};
  op.args.y = {};
  builder.require_type(x, args->x, "x");
  builder.require_type(y, args->y.type, "y");
  builder.add({x}, y, std::move(op));
}

}  // namespace
}  // namespace prunus

using namespace prunus;

prunus_status prunus_network_conv2d(prunus_network *network, std::int32_t x, std::int32_t y,
                                    const prunus_conv2d_args *args, const std::int8_t *w, const std::int32_t *bias) {
  return define(network, "conv2d", [&](const Builder &builder) { define_conv(builder, false, x, y, args, w, bias); });
}

prunus_status prunus_network_depthwise2d(prunus_network *network, std::int32_t x, std::int32_t y,
                                         const prunus_conv2d_args *args, const std::int8_t *w,
                                         const std::int32_t *bias) {
  return define(network, "depthwise2d",
                [&](const Builder &builder) { define_conv(builder, true, x, y, args, w, bias); });
}

prunus_status prunus_network_gemm(prunus_network *network, std::int32_t x, std::int32_t y, const prunus_gemm_args *args,
                                  const std::int8_t *w, const std::int32_t *bias) {
  return define(network, "gemm", [&](const Builder &builder) {
    builder.require_pointer(args, "args");
    builder.require_pointer(bias, "bias");
    const prunus_tensor &in = builder.input(x), &out = builder.output(y);
    prunus_gemm_args nothing = *args;
    nothing.rows = 0;
    builder.require_ok(prunus_gemm(&nothing, nullptr, nullptr, nullptr, nullptr));
    const std::int64_t rows = elements(in) / in.shape[in.rank - 1];
    builder.require(in.shape[in.rank - 1] == args->in_c && rows == args->rows, PRUNUS_E_SHAPE,
                    "x has the shape " + shape_text(in) + ", but the arguments say " + std::to_string(args->rows) +
                        " rows of " + std::to_string(args->in_c));
    prunus_tensor wanted = in;
    wanted.shape[in.rank - 1] = args->out_c;
    builder.require(same_shape(out, wanted), PRUNUS_E_SHAPE,
                    "y has the shape " + shape_text(out) + " instead of " + shape_text(wanted));
    const std::int64_t count = weight_count(builder, args->out_c, args->in_c, 1);
    Gemm op{*args, builder.copy(args->y), weights(builder, w, count), copied(bias, args->out_c)};
    op.args.y = {};
    builder.require_type(x, args->x, "x");
    builder.require_type(y, args->y.type, "y");
    builder.add({x}, y, std::move(op));
  });
}
