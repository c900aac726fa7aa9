/* Data movement: slice and pad, transpose, nearest-neighbour resize. */
#include "internal.h"

/* Steps `index` to the next position of all dimensions but the last; 0 after the last one. */
static int advance(int32_t rank, const int32_t *shape, int32_t *index) {
  for (int32_t d = rank - 2; d >= 0; --d) {
    if (++index[d] < shape[d]) return 1;
    index[d] = 0;
  }
  return 0;
}

/* Where row `index` of the output starts in x, or -1 where it lies in the padding. */
static ptrdiff_t slice_row(const prunus_slice_args *args, const int32_t *index) {
  ptrdiff_t at = 0;
  for (int32_t d = 0; d < args->rank - 1; ++d) {
    int64_t position = args->start[d] + (int64_t)index[d] * args->step[d];
    if (position < 0 || position >= args->x_shape[d]) return -1;
    at = at * args->x_shape[d] + (ptrdiff_t)position;
  }
  return at * args->x_shape[args->rank - 1];
}

prunus_status prunus_slice(const prunus_slice_args *args, const void *x, void *y) {
  prunus_status status = prunus_i_check_shape(args->rank, args->x_shape);
  if (!status) status = prunus_i_check_shape(args->rank, args->y_shape);
  if (status) return status;
  for (int32_t d = 0; d < args->rank; ++d)
    if (args->step[d] < 1) return PRUNUS_E_SHAPE;
  if (args->fill < -128 || args->fill > 255) return PRUNUS_E_RANGE;
  const int32_t last = args->rank - 1;
  const int64_t start = args->start[last], step = args->step[last];
  int32_t index[PRUNUS_MAX_RANK] = {0};
  uint8_t *out = y;
  do {
    ptrdiff_t row = slice_row(args, index);
    for (int32_t i = 0; i < args->y_shape[last]; ++i) {
      int64_t position = start + i * step;
      int outside = row < 0 || position < 0 || position >= args->x_shape[last];
      *out++ = outside ? (uint8_t)args->fill : ((const uint8_t *)x)[row + (ptrdiff_t)position];
    }
  } while (advance(args->rank, args->y_shape, index));
  return PRUNUS_OK;
}

/* Drops dimensions of size 1 and merges those that follow one another in x, too, so that rows get long; returns how many
   are left. */
static int32_t merge(int32_t rank, int32_t *shape, ptrdiff_t *step) {
  int32_t left = 1;
  for (int32_t d = 1; d < rank; ++d) {
    const int32_t before = left - 1;
    if (shape[d] == 1) continue;
    if (shape[before] == 1 || step[before] == shape[d] * step[d]) {
      shape[before] *= shape[d];
      step[before] = step[d];
    } else {
      shape[left] = shape[d];
      step[left++] = step[d];
    }
  }
  return left;
}

prunus_status prunus_transpose(const prunus_transpose_args *args, const void *x, void *y) {
  prunus_status status = prunus_i_check_shape(args->rank, args->x_shape);
  if (status) return status;
  int32_t seen = 0, shape[PRUNUS_MAX_RANK], index[PRUNUS_MAX_RANK] = {0};
  ptrdiff_t x_step[PRUNUS_MAX_RANK], step[PRUNUS_MAX_RANK], size = 1;
  for (int32_t d = args->rank - 1; d >= 0; --d) {
    if (args->perm[d] < 0 || args->perm[d] >= args->rank || seen & 1 << args->perm[d]) return PRUNUS_E_SHAPE;
    seen |= 1 << args->perm[d];
    x_step[d] = size;
    size *= args->x_shape[d];
  }
  for (int32_t d = 0; d < args->rank; ++d) {
    shape[d] = args->x_shape[args->perm[d]];
    step[d] = x_step[args->perm[d]];
  }
  const int32_t rank = merge(args->rank, shape, step), last = rank - 1;
  uint8_t *out = y;
  do {
    const uint8_t *row = x;
    for (int32_t d = 0; d < last; ++d) row += index[d] * step[d];
    for (int32_t i = 0; i < shape[last]; ++i) *out++ = row[i * step[last]];
  } while (advance(rank, shape, index));
  return PRUNUS_OK;
}

static int indices_fit(const int32_t *indices, int32_t count, int32_t size) {
  for (int32_t i = 0; i < count; ++i)
    if (indices[i] < 0 || indices[i] >= size) return 0;
  return 1;
}

prunus_status prunus_resize_nearest(const prunus_resize_args *args, const int32_t *rows, const int32_t *columns,
                                    const void *x, void *y) {
  const int32_t shape[] = {args->c, args->in_h, args->in_w, args->out_h, args->out_w};
  prunus_status status = args->batch < 0 ? PRUNUS_E_SHAPE : prunus_i_check_shape(5, shape);
  if (status) return status;
  if (!indices_fit(rows, args->out_h, args->in_h) || !indices_fit(columns, args->out_w, args->in_w))
    return PRUNUS_E_RANGE;
  ptrdiff_t planes = (ptrdiff_t)args->batch * args->c;
  const uint8_t *plane = x;
  uint8_t *out = y;
  for (ptrdiff_t p = 0; p < planes; ++p, plane += (ptrdiff_t)args->in_h * args->in_w)
    for (int32_t i = 0; i < args->out_h; ++i) {
      const uint8_t *row = plane + (ptrdiff_t)rows[i] * args->in_w;
      for (int32_t j = 0; j < args->out_w; ++j) *out++ = row[columns[j]];
    }
  return PRUNUS_OK;
}
