/* Max and average pooling. */
#include "internal.h"

/* One output's window on the input plane: the taps inside of it, and where tap (0, 0) would be. */
typedef struct view {
  prunus_i_range rows, columns;
  int64_t iy, ix;
} view;

static view view_of(const prunus_pool2d_args *args, int32_t oy, int32_t ox) {
  const prunus_window *window = &args->window;
  view v = {.iy = (int64_t)oy * window->stride_h - window->pad_top,
            .ix = (int64_t)ox * window->stride_w - window->pad_left};
  v.rows = prunus_i_inside(v.iy, window->kernel_h, window->dilation_h, args->in_h);
  v.columns = prunus_i_inside(v.ix, window->kernel_w, window->dilation_w, args->in_w);
  return v;
}

static const uint8_t *row_of(const prunus_pool2d_args *args, const uint8_t *plane, const view *v, int32_t ky) {
  return plane + (ptrdiff_t)(v->iy + (int64_t)ky * args->window.dilation_h) * args->in_w;
}

static uint8_t window_max(const prunus_pool2d_args *args, int32_t flip, const uint8_t *plane, int32_t oy, int32_t ox) {
  view v = view_of(args, oy, ox);
  int complete = v.rows.low == 0 && v.rows.high == args->window.kernel_h && v.columns.low == 0 &&
                 v.columns.high == args->window.kernel_w;
  int32_t best = complete ? 0 : ((uint8_t)args->fill ^ flip);
  for (int32_t ky = v.rows.low; ky < v.rows.high; ++ky) {
    const uint8_t *row = row_of(args, plane, &v, ky);
    for (int32_t kx = v.columns.low; kx < v.columns.high; ++kx) {
      int32_t value = row[v.ix + (int64_t)kx * args->window.dilation_w] ^ flip;
      best = value > best ? value : best;
    }
  }
  return (uint8_t)(best ^ flip);
}

static int32_t window_sum(const prunus_pool2d_args *args, prunus_i_source source, const uint8_t *plane, int32_t oy,
                          int32_t ox) {
  view v = view_of(args, oy, ox);
  int32_t sum = 0;
  for (int32_t ky = v.rows.low; ky < v.rows.high; ++ky) {
    const uint8_t *row = row_of(args, plane, &v, ky) + v.ix;
    if (args->window.dilation_w == 1)
      for (int32_t kx = v.columns.low; kx < v.columns.high; ++kx) sum += prunus_i_centred(source, row[kx]);
    else
      for (int32_t kx = v.columns.low; kx < v.columns.high; ++kx)
        sum += prunus_i_centred(source, row[(int64_t)kx * args->window.dilation_w]);
  }
  return sum;
}

static prunus_status check(const prunus_pool2d_args *args) {
  if (args->batch < 0 || args->c < 1) return PRUNUS_E_SHAPE;
  prunus_status status = prunus_i_check_window(&args->window, args->in_h, args->in_w, args->out_h, args->out_w);
  return status ? status : prunus_i_check_type(args->x);
}

prunus_status prunus_maxpool2d(const prunus_pool2d_args *args, const void *x, void *y) {
  prunus_status status = check(args);
  if (!status) status = prunus_i_check_clip(args->x.dtype, args->fill, args->fill);
  if (status) return status;
  int32_t flip = prunus_i_source_of(args->x).flip;
  ptrdiff_t planes = (ptrdiff_t)args->batch * args->c;
  const uint8_t *plane = x;
  uint8_t *out = y;
  for (ptrdiff_t i = 0; i < planes; ++i, plane += (ptrdiff_t)args->in_h * args->in_w)
    for (int32_t oy = 0; oy < args->out_h; ++oy)
      for (int32_t ox = 0; ox < args->out_w; ++ox) *out++ = window_max(args, flip, plane, oy, ox);
  return PRUNUS_OK;
}

/* Requantizes a row of sums; neighbours of the same divisor go together. */
static void store_row(const prunus_epilogue *epilogue, const int32_t *index, const int32_t *acc, int32_t count,
                      uint8_t *y) {
  for (int32_t first = 0, next; first < count; first = next) {
    next = first + 1;
    while (next < count && index[next] == index[first]) ++next;
    prunus_i_store(epilogue, index[first], acc + first, next - first, y + first, 1);
  }
}

prunus_status prunus_avgpool2d(const prunus_pool2d_args *args, const prunus_epilogue *epilogue,
                               const int32_t *count_index, const void *x, void *y) {
  prunus_status status = check(args);
  if (!status) status = prunus_i_check_epilogue(epilogue);
  if (status) return status;
  ptrdiff_t outputs = (ptrdiff_t)args->out_h * args->out_w;
  for (ptrdiff_t i = 0; i < outputs; ++i)
    if (count_index[i] < 0 || count_index[i] >= epilogue->requant.size) return PRUNUS_E_RANGE;
  prunus_i_source source = prunus_i_source_of(args->x);
  ptrdiff_t planes = (ptrdiff_t)args->batch * args->c;
  const uint8_t *plane = x;
  uint8_t *out = y;
  int32_t acc[PRUNUS_I_ROW];
  for (ptrdiff_t i = 0; i < planes; ++i, plane += (ptrdiff_t)args->in_h * args->in_w)
    for (int32_t oy = 0; oy < args->out_h; ++oy)
      for (int32_t first = 0; first < args->out_w; first += PRUNUS_I_ROW) {
        int32_t count = prunus_i_min(args->out_w - first, PRUNUS_I_ROW);
        for (int32_t j = 0; j < count; ++j) acc[j] = window_sum(args, source, plane, oy, first + j);
        store_row(epilogue, count_index + (ptrdiff_t)oy * args->out_w + first, acc, count, out);
        out += count;
      }
  return PRUNUS_OK;
}
