/* Addition and multiplication with broadcasting, change of scale, table look-up. */
#include "internal.h"

/* -- broadcasting ----------------------------------------------------------------------------------------------- */

/* A loop nest over the output, innermost dimension first: its length and the steps of both inputs. */
typedef struct nest {
  int32_t rank;
  ptrdiff_t size[PRUNUS_MAX_RANK], a_step[PRUNUS_MAX_RANK], b_step[PRUNUS_MAX_RANK];
} nest;

/* Neighbouring dimensions that both inputs walk alike become one, so that inner loops are long. */
static void push_dimension(nest *n, ptrdiff_t size, ptrdiff_t a_step, ptrdiff_t b_step) {
  int32_t last = n->rank - 1;
  if (size == 1) return;
  if (last >= 0 && a_step == n->a_step[last] * n->size[last] && b_step == n->b_step[last] * n->size[last]) {
    n->size[last] *= size;
    return;
  }
  n->size[n->rank] = size;
  n->a_step[n->rank] = a_step;
  n->b_step[n->rank++] = b_step;
}

static prunus_status nest_of(const prunus_binary_args *args, nest *n) {
  prunus_status status = prunus_i_check_shape(args->rank, args->a_shape);
  if (!status) status = prunus_i_check_shape(args->rank, args->b_shape);
  if (status) return status;
  ptrdiff_t a_step = 1, b_step = 1;
  n->rank = 0;
  for (int32_t i = args->rank - 1; i >= 0; --i) {
    int32_t a = args->a_shape[i], b = args->b_shape[i];
    if (a != b && a != 1 && b != 1) return PRUNUS_E_SHAPE;
    push_dimension(n, a > b ? a : b, a == 1 ? 0 : a_step, b == 1 ? 0 : b_step);
    a_step *= a;
    b_step *= b;
  }
  if (n->rank == 0) { /* a single element */
    n->size[0] = 1;
    n->a_step[0] = n->b_step[0] = 0;
    n->rank = 1;
  }
  return PRUNUS_OK;
}

typedef struct binary binary;
typedef void row_function(const binary *op, const int16_t *a, const int16_t *b, int32_t count, uint8_t *y);

struct binary {
  const prunus_binary_args *args;
  prunus_i_source a, b;
  row_function *row;
  int64_t a_multiplier, b_multiplier; /* integer addition: both at the common shift */
  int32_t shift;
};

static void centre_row(prunus_i_source source, const uint8_t *restrict x, ptrdiff_t step, int32_t count,
                       int16_t *restrict row) {
  if (step == 1)
    for (int32_t i = 0; i < count; ++i) row[i] = (int16_t)prunus_i_centred(source, x[i]);
  else
    for (int32_t i = 0; i < count; ++i) row[i] = (int16_t)prunus_i_centred(source, x[i * step]);
}

static void binary_line(const binary *op, const nest *n, const uint8_t *a, const uint8_t *b, uint8_t *y) {
  int16_t left[PRUNUS_I_ROW], right[PRUNUS_I_ROW];
  for (ptrdiff_t first = 0; first < n->size[0]; first += PRUNUS_I_ROW) {
    int32_t count = n->size[0] - first < PRUNUS_I_ROW ? (int32_t)(n->size[0] - first) : PRUNUS_I_ROW;
    centre_row(op->a, a + first * n->a_step[0], n->a_step[0], count, left);
    centre_row(op->b, b + first * n->b_step[0], n->b_step[0], count, right);
    op->row(op, left, right, count, y + first);
  }
}

static void binary_run(const binary *op, const nest *n, const uint8_t *a, const uint8_t *b, uint8_t *y) {
  ptrdiff_t index[PRUNUS_MAX_RANK] = {0};
  for (;;) {
    binary_line(op, n, a, b, y);
    y += n->size[0];
    int32_t d = 1;
    for (; d < n->rank; ++d) {
      a += n->a_step[d];
      b += n->b_step[d];
      if (++index[d] < n->size[d]) break;
      a -= n->a_step[d] * n->size[d];
      b -= n->b_step[d] * n->size[d];
      index[d] = 0;
    }
    if (d == n->rank) return;
  }
}

static prunus_status binary_prepare(const prunus_binary_args *args, binary *op, nest *n) {
  prunus_status status = nest_of(args, n);
  if (!status) status = prunus_i_check_type(args->a);
  if (!status) status = prunus_i_check_type(args->b);
  if (!status) status = prunus_i_check_epilogue(&args->y);
  *op = (binary){.args = args, .a = prunus_i_source_of(args->a), .b = prunus_i_source_of(args->b)};
  return status;
}

/* -- addition --------------------------------------------------------------------------------------------------- */

/* fl(fl(a' m_a) + fl(b' m_b)): the products are rounded on their own, which -ffp-contract=off guarantees. */
static void add_row_f32(const binary *op, const int16_t *restrict a, const int16_t *restrict b, int32_t count,
                        uint8_t *restrict y) {
  const prunus_epilogue *epilogue = &op->args->y;
  const float m_a = epilogue->requant.multiplier_f32[0], m_b = epilogue->requant.multiplier_f32[1];
  const int32_t zero_point = epilogue->type.zero_point, qmin = epilogue->qmin, qmax = epilogue->qmax;
  for (int32_t i = 0; i < count; ++i) {
    float left = (float)a[i] * m_a, right = (float)b[i] * m_b;
    y[i] = (uint8_t)prunus_i_clip(prunus_i_round(left + right, 32768.0f) + zero_point, qmin, qmax);
  }
}

static void add_row_integer(const binary *op, const int16_t *a, const int16_t *b, int32_t count, uint8_t *y) {
  const prunus_epilogue *epilogue = &op->args->y;
  for (int32_t i = 0; i < count; ++i) {
    int64_t sum = a[i] * op->a_multiplier + b[i] * op->b_multiplier;
    int64_t value = prunus_i_round_shift(sum, op->shift) + epilogue->type.zero_point;
    y[i] = (uint8_t)prunus_i_clip64(value, epilogue->qmin, epilogue->qmax);
  }
}

/* multiplier * 2^(common - shift), or 0 where that passes 2^53. */
static int64_t aligned(const prunus_requant *requant, int32_t entry, int32_t common) {
  const int64_t limit = (int64_t)1 << 53;
  int32_t left = common - requant->shift[entry];
  int64_t multiplier = prunus_i_integer_multiplier(requant, entry);
  return left <= 53 && multiplier <= limit >> left ? multiplier * ((int64_t)1 << left) : 0;
}

prunus_status prunus_add(const prunus_binary_args *args, const void *a, const void *b, void *y) {
  binary op;
  nest n;
  const prunus_requant *requant = &args->y.requant;
  if (requant->size != 2) return PRUNUS_E_SHAPE;
  prunus_status status = binary_prepare(args, &op, &n);
  if (status) return status;
  if (PRUNUS_HAS_F32 && requant->scheme == PRUNUS_F32) {
    op.row = add_row_f32;
  } else {
    op.row = add_row_integer;
    op.shift = requant->shift[0] > requant->shift[1] ? requant->shift[0] : requant->shift[1];
    op.a_multiplier = aligned(requant, 0, op.shift);
    op.b_multiplier = aligned(requant, 1, op.shift);
    if (!op.a_multiplier || !op.b_multiplier) return PRUNUS_E_RANGE;
  }
  binary_run(&op, &n, a, b, y);
  return PRUNUS_OK;
}

/* -- multiplication --------------------------------------------------------------------------------------------- */

static void mul_row(const binary *op, const int16_t *a, const int16_t *b, int32_t count, uint8_t *y) {
  int32_t acc[PRUNUS_I_ROW];
  for (int32_t i = 0; i < count; ++i) acc[i] = a[i] * b[i];
  prunus_i_store(&op->args->y, 0, acc, count, y, 1);
}

prunus_status prunus_mul(const prunus_binary_args *args, const void *a, const void *b, void *y) {
  binary op;
  nest n;
  prunus_status status = binary_prepare(args, &op, &n);
  if (status) return status;
  op.row = mul_row;
  binary_run(&op, &n, a, b, y);
  return PRUNUS_OK;
}

/* -- change of scale, table ------------------------------------------------------------------------------------- */

static void requantize_run(const prunus_requant_args *args, const uint8_t *x, uint8_t *y) {
  prunus_i_source source = prunus_i_source_of(args->x);
  int32_t acc[PRUNUS_I_ROW];
  for (int32_t first = 0; first < args->inner; first += PRUNUS_I_ROW) {
    int32_t count = prunus_i_min(args->inner - first, PRUNUS_I_ROW);
    for (int32_t i = 0; i < count; ++i) acc[i] = prunus_i_centred(source, x[first + i]);
    if (args->copy)
      for (int32_t i = 0; i < count; ++i)
        y[first + i] = (uint8_t)prunus_i_clip(acc[i] + args->y.type.zero_point, args->y.qmin, args->y.qmax);
    else
      prunus_i_store(&args->y, args->entry, acc, count, y + first, 1);
  }
}

prunus_status prunus_requantize(const prunus_requant_args *args, const void *x, void *y) {
  if (args->outer < 0 || args->inner < 1 || args->stride < args->inner) return PRUNUS_E_SHAPE;
  prunus_status status = prunus_i_check_type(args->x);
  if (!status) status = prunus_i_check_epilogue(&args->y);
  if (status) return status;
  if (!args->copy && (args->entry < 0 || args->entry >= args->y.requant.size)) return PRUNUS_E_RANGE;
  if (args->copy && (args->x.dtype != args->y.type.dtype || args->x.zero_point != args->y.type.zero_point))
    return PRUNUS_E_TYPE;
  for (int32_t i = 0; i < args->outer; ++i)
    requantize_run(args, (const uint8_t *)x + (ptrdiff_t)i * args->inner, (uint8_t *)y + (ptrdiff_t)i * args->stride);
  return PRUNUS_OK;
}

prunus_status prunus_lut(size_t count, int32_t x_dtype, const void *table, const void *x, void *y) {
  if (x_dtype != PRUNUS_U8 && x_dtype != PRUNUS_S8) return PRUNUS_E_TYPE;
  const uint8_t *from = table, *in = x;
  uint8_t *out = y;
  uint8_t flip = x_dtype == PRUNUS_S8 ? 128 : 0;
  for (size_t i = 0; i < count; ++i) out[i] = from[in[i] ^ flip];
  return PRUNUS_OK;
}
