/* Argument checks: what the interface promises to refuse before it touches the output. */
#include "internal.h"

const char *prunus_status_text(prunus_status status) {
  switch (status) {
    case PRUNUS_OK: return "no error";
    case PRUNUS_E_SHAPE: return "dimensions do not fit together";
    case PRUNUS_E_TYPE: return "unknown element type or requantization scheme";
    case PRUNUS_E_RANGE: return "a multiplier, shift, zero point, index or clip range is outside of the contract";
    case PRUNUS_E_FILE: return "a packed file is malformed";
    case PRUNUS_E_STATE: return "a call out of order";
    case PRUNUS_E_MEMORY: return "not enough memory";
    case PRUNUS_E_OPTION: return "an unknown instruction set or kernel, or one that this machine lacks";
  }
  return "unknown status";
}

prunus_status prunus_i_check_clip(int32_t dtype, int32_t low, int32_t high) {
  if (dtype != PRUNUS_U8 && dtype != PRUNUS_S8) return PRUNUS_E_TYPE;
  int32_t lowest = dtype == PRUNUS_S8 ? -128 : 0;
  return low < lowest || high > lowest + 255 || low > high ? PRUNUS_E_RANGE : PRUNUS_OK;
}

prunus_status prunus_i_check_type(prunus_type type) {
  return prunus_i_check_clip(type.dtype, type.zero_point, type.zero_point);
}

static prunus_status check_entries_f32(const prunus_requant *requant) {
  const float smallest_normal = 1.17549435e-38f, largest = 3.40282347e+38f;
  if (!requant->multiplier_f32) return PRUNUS_E_RANGE;
  for (int32_t i = 0; i < requant->size; ++i) {
    float m = requant->multiplier_f32[i];
    if (!(m >= smallest_normal && m <= largest)) return PRUNUS_E_RANGE; /* refuses NaN, too */
  }
  return PRUNUS_OK;
}

static prunus_status check_entries_integer(const prunus_requant *requant) {
  int fixed = requant->scheme == PRUNUS_FIXED;
  int32_t lowest = fixed ? 1 : -31;
  if (!requant->shift || (fixed && !requant->multiplier)) return PRUNUS_E_RANGE;
  for (int32_t i = 0; i < requant->size; ++i) {
    if (requant->shift[i] < lowest || requant->shift[i] > 62) return PRUNUS_E_RANGE;
    if (fixed && requant->multiplier[i] < 1) return PRUNUS_E_RANGE;
  }
  return PRUNUS_OK;
}

prunus_status prunus_i_check_epilogue(const prunus_epilogue *epilogue) {
  prunus_status status = prunus_i_check_type(epilogue->type);
  if (!status) status = prunus_i_check_clip(epilogue->type.dtype, epilogue->qmin, epilogue->qmax);
  if (status) return status;
  if (epilogue->requant.size < 1) return PRUNUS_E_SHAPE;
  switch (epilogue->requant.scheme) {
    case PRUNUS_F32: return PRUNUS_HAS_F32 ? check_entries_f32(&epilogue->requant) : PRUNUS_E_TYPE;
    case PRUNUS_FIXED:
    case PRUNUS_POW2: return check_entries_integer(&epilogue->requant);
    default: return PRUNUS_E_TYPE;
  }
}

prunus_status prunus_i_check_channels(const prunus_epilogue *epilogue, int32_t channels) {
  if (epilogue->requant.size != 1 && epilogue->requant.size != channels) return PRUNUS_E_SHAPE;
  return prunus_i_check_epilogue(epilogue);
}

/* One dimension of a window; int64, so that hostile sizes cannot wrap around. */
static int fits(int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t before, int64_t after,
                int64_t dilation) {
  if (in < 1 || out < 1 || kernel < 1 || stride < 1 || dilation < 1 || before < 0 || after < 0) return 0;
  int64_t room = in + before + after - dilation * (kernel - 1) - 1;
  return room >= 0 && (out - 1) * stride <= room && room < out * stride; /* room / stride + 1 == out */
}

prunus_status prunus_i_check_window(const prunus_window *v, int32_t in_h, int32_t in_w, int32_t out_h, int32_t out_w) {
  int good = fits(in_h, out_h, v->kernel_h, v->stride_h, v->pad_top, v->pad_bottom, v->dilation_h) &&
             fits(in_w, out_w, v->kernel_w, v->stride_w, v->pad_left, v->pad_right, v->dilation_w) &&
             v->kernel_h <= INT32_MAX / v->kernel_w;
  return good ? PRUNUS_OK : PRUNUS_E_SHAPE;
}

prunus_status prunus_i_check_conv(const prunus_conv2d_args *args) {
  if (args->batch < 0 || args->in_c < 1 || args->out_c < 1 || args->group < 1) return PRUNUS_E_SHAPE;
  if (args->in_c % args->group || args->out_c % args->group) return PRUNUS_E_SHAPE;
  prunus_status status = prunus_i_check_window(&args->window, args->in_h, args->in_w, args->out_h, args->out_w);
  if (!status) status = prunus_i_check_type(args->x);
  return status ? status : prunus_i_check_channels(&args->y, args->out_c);
}

prunus_status prunus_i_check_shape(int32_t rank, const int32_t *shape) {
  if (rank < 1 || rank > PRUNUS_MAX_RANK) return PRUNUS_E_SHAPE;
  for (int32_t i = 0; i < rank; ++i)
    if (shape[i] < 1) return PRUNUS_E_SHAPE;
  return PRUNUS_OK;
}
