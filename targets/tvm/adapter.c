/* The kernels as packed functions of TVM's FFI, in C: neither libstdc++ nor libtvm is needed to link them.
 *
 * Every function is called as f(parameters, inputs..., constants..., output). `parameters` is an int32 vector; its layout
 * stands at each function in terms of these groups, the members of the kernels' structures in their order:
 *   TYPE     dtype, zero_point
 *   WINDOW   kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left, pad_bottom, pad_right, dilation_h, dilation_w
 *   EPILOGUE scheme, TYPE, qmin, qmax
 * Dimensions come from the tensors. `multiplier` is float32 for PRUNUS_F32 and int32 otherwise; `shift` is int32.
 * `calls.py` is the other side of this file.
 */
#include <prunus/kernels.h>
#include <tvm/ffi/c_api.h>

#define EXPORT __attribute__((visibility("default")))

/* -- reading arguments ------------------------------------------------------------------------------------------- */

typedef struct reader {
  const TVMFFIAny *args;
  int32_t count, next;
  const int32_t *parameters, *end;
  const char *error;
} reader;

static int is_compact(const DLTensor *t) {
  int64_t expected = 1;
  if (t->strides == NULL) return 1;
  for (int32_t i = t->ndim - 1; i >= 0; --i) {
    if (t->shape[i] != 1 && t->strides[i] != expected) return 0;
    expected *= t->shape[i];
  }
  return 1;
}

/* The next argument: a compact tensor in host memory with elements of `bits` bits and at most `PRUNUS_MAX_RANK`
 * dimensions, each within int32. */
static const DLTensor *next_tensor(reader *r, int bits) {
  static int64_t no_shape[1];
  static const DLTensor nothing = {.shape = no_shape};
  const DLTensor *t = NULL;
  if (r->next < r->count) {
    const TVMFFIAny *any = &r->args[r->next++];
    if (any->type_index == kTVMFFITensor) t = (const DLTensor *)((const char *)any->v_obj + sizeof(TVMFFIObject));
    if (any->type_index == kTVMFFIDLTensorPtr) t = (const DLTensor *)any->v_ptr;
  }
  if (t == NULL) {
    r->error = "expected another tensor";
    return &nothing;
  }
  if (t->device.device_type != kDLCPU || t->ndim > PRUNUS_MAX_RANK || t->dtype.bits != bits || t->dtype.lanes != 1 ||
      !is_compact(t)) {
    r->error = "expected a compact tensor in host memory, of another element type or lower rank";
    return &nothing;
  }
  int64_t size = 1;
  for (int32_t i = 0; i < t->ndim; ++i) {
    if (t->shape[i] < 0 || t->shape[i] > INT32_MAX || (size *= t->shape[i]) > INT32_MAX) {
      r->error = "a tensor has more elements than int32 can count";
      return &nothing;
    }
  }
  return t;
}

static int32_t size_of(const DLTensor *t, int32_t from, int32_t to) {
  int64_t size = 1;
  for (int32_t i = from; i < to; ++i) size *= t->shape[i];
  return (int32_t)size;
}

static int32_t numel(const DLTensor *t) { return size_of(t, 0, t->ndim); }
static void *data(const DLTensor *t) { return (char *)t->data + t->byte_offset; }

static const DLTensor *next_of_rank(reader *r, int bits, int rank) {
  static int64_t zeros[4];
  static const DLTensor nothing = {.ndim = 4, .shape = zeros};
  const DLTensor *t = next_tensor(r, bits);
  if (t->ndim == rank) return t;
  if (r->error == NULL) r->error = "a tensor has the wrong number of dimensions";
  return &nothing;
}

static int32_t next_int(reader *r) {
  if (r->parameters < r->end) return *r->parameters++;
  r->error = "the parameter vector is too short";
  return 0;
}

static reader open_arguments(const TVMFFIAny *args, int32_t count) {
  reader r = {.args = args, .count = count};
  const DLTensor *t = next_tensor(&r, 32);
  r.parameters = (const int32_t *)data(t);
  r.end = r.parameters + (r.error == NULL ? numel(t) : 0);
  return r;
}

static prunus_type next_type(reader *r) {
  prunus_type type;
  type.dtype = next_int(r);
  type.zero_point = next_int(r);
  return type;
}

static prunus_window next_window(reader *r) {
  prunus_window w;
  w.kernel_h = next_int(r), w.kernel_w = next_int(r);
  w.stride_h = next_int(r), w.stride_w = next_int(r);
  w.pad_top = next_int(r), w.pad_left = next_int(r), w.pad_bottom = next_int(r), w.pad_right = next_int(r);
  w.dilation_h = next_int(r), w.dilation_w = next_int(r);
  return w;
}

static prunus_epilogue next_epilogue(reader *r) {
  prunus_epilogue y = {0};
  y.requant.scheme = next_int(r);
  y.type = next_type(r);
  y.qmin = next_int(r);
  y.qmax = next_int(r);
  return y;
}

/* The two arguments `multiplier` and `shift`. */
static void next_multipliers(reader *r, prunus_epilogue *y) {
  const DLTensor *multiplier = next_tensor(r, 32);
  const DLTensor *shift = next_tensor(r, 32);
  if (r->error != NULL) return;
  if (y->requant.scheme == PRUNUS_F32) {
    y->requant.multiplier_f32 = (const float *)data(multiplier);
  } else {
    y->requant.multiplier = (const int32_t *)data(multiplier);
    y->requant.shift = (const int32_t *)data(shift);
    if (numel(shift) != numel(multiplier)) r->error = "multipliers and shifts differ in number";
  }
  y->requant.size = numel(multiplier);
}

static int fail(const char *message) {
  TVMFFIErrorSetRaisedFromCStr("ValueError", message);
  return -1;
}

/* True where all arguments were read without a complaint and none is left over. */
static int complete(reader *r) {
  if (r->error == NULL && (r->next != r->count || r->parameters != r->end)) r->error = "there are too many arguments";
  return r->error == NULL;
}

static int finish(const reader *r, prunus_status status, TVMFFIAny *result) {
  result->type_index = kTVMFFINone;
  result->zero_padding = 0;
  result->v_int64 = 0;
  if (r->error != NULL) return fail(r->error);
  switch (status) {
    case PRUNUS_OK: return 0;
    case PRUNUS_E_SHAPE: return fail("a kernel refuses the shapes of its tensors");
    case PRUNUS_E_TYPE: return fail("a kernel does not know an element type or a requantization scheme");
    default: return fail("a kernel refuses a shift, zero point or clip range");
  }
}

/* Defines the packed function prunus_tvm_NAME around the body `static prunus_status NAME(reader *r)`. */
#define PACKED(NAME)                                                                                            \
  static prunus_status NAME(reader *r);                                                                         \
  EXPORT int __tvm_ffi_prunus_tvm_##NAME(void *self, const TVMFFIAny *args, int32_t count, TVMFFIAny *result) { \
    (void)self;                                                                                                 \
    reader r = open_arguments(args, count);                                                                     \
    prunus_status status = NAME(&r);                                                                            \
    return finish(&r, status, result);                                                                          \
  }                                                                                                             \
  static prunus_status NAME(reader *r)

/* -- multiply-accumulate ----------------------------------------------------------------------------------------- */

typedef prunus_status (*convolution)(const prunus_conv2d_args *, const void *, const int8_t *, const int32_t *, void *);

/* parameters: group, WINDOW, TYPE of x, EPILOGUE; x, weight, bias, multiplier, shift, y */
static prunus_status convolve(reader *r, convolution kernel) {
  prunus_conv2d_args a = {0};
  a.group = next_int(r);
  a.window = next_window(r);
  a.x = next_type(r);
  a.y = next_epilogue(r);
  const DLTensor *x = next_of_rank(r, 8, 4), *w = next_tensor(r, 8), *bias = next_tensor(r, 32);
  next_multipliers(r, &a.y);
  const DLTensor *y = next_of_rank(r, 8, 4);
  a.batch = x->shape[0], a.in_c = x->shape[1], a.in_h = x->shape[2], a.in_w = x->shape[3];
  a.out_c = y->shape[1], a.out_h = y->shape[2], a.out_w = y->shape[3];
  if (!complete(r)) return PRUNUS_OK;
  return kernel(&a, data(x), data(w), data(bias), data(y));
}

PACKED(conv2d) { return convolve(r, prunus_conv2d); }
PACKED(depthwise2d) { return convolve(r, prunus_depthwise2d); }

/* parameters: TYPE of x, EPILOGUE; x, weight, bias, multiplier, shift, y */
PACKED(gemm) {
  prunus_gemm_args a = {0};
  a.x = next_type(r);
  a.y = next_epilogue(r);
  const DLTensor *x = next_tensor(r, 8), *w = next_of_rank(r, 8, 2), *bias = next_tensor(r, 32);
  next_multipliers(r, &a.y);
  const DLTensor *y = next_tensor(r, 8);
  if (!complete(r)) return PRUNUS_OK;
  a.rows = size_of(x, 0, x->ndim - 1);
  a.out_c = w->shape[0], a.in_c = w->shape[1];
  return prunus_gemm(&a, data(x), data(w), data(bias), data(y));
}

/* -- elementwise ------------------------------------------------------------------------------------------------- */

typedef prunus_status (*binary)(const prunus_binary_args *, const void *, const void *, void *);

/* parameters: TYPE of a, TYPE of b, EPILOGUE; a, b, multiplier, shift, y */
static prunus_status combine(reader *r, binary kernel) {
  prunus_binary_args args = {0};
  args.a = next_type(r);
  args.b = next_type(r);
  args.y = next_epilogue(r);
  const DLTensor *a = next_tensor(r, 8), *b = next_of_rank(r, 8, a->ndim);
  next_multipliers(r, &args.y);
  const DLTensor *y = next_tensor(r, 8);
  if (!complete(r)) return PRUNUS_OK;
  args.rank = a->ndim;
  for (int32_t i = 0; i < a->ndim; ++i) args.a_shape[i] = a->shape[i], args.b_shape[i] = b->shape[i];
  return kernel(&args, data(a), data(b), data(y));
}

PACKED(add) { return combine(r, prunus_add); }
PACKED(mul) { return combine(r, prunus_mul); }

/* parameters: TYPE of x, EPILOGUE; x, multiplier, shift, y */
PACKED(requantize) {
  prunus_requant_args a = {.outer = 1};
  a.x = next_type(r);
  a.y = next_epilogue(r);
  const DLTensor *x = next_tensor(r, 8);
  next_multipliers(r, &a.y);
  const DLTensor *y = next_tensor(r, 8);
  if (!complete(r)) return PRUNUS_OK;
  a.inner = a.stride = numel(x);
  return prunus_requantize(&a, data(x), data(y));
}

/* parameters: axis, number of inputs, EPILOGUE, then per input: copy, TYPE; inputs..., multiplier, shift, y */
PACKED(concat) {
  const int32_t axis = next_int(r), inputs = next_int(r);
  prunus_epilogue epilogue = next_epilogue(r);
  const int32_t first = r->next;
  for (int32_t i = 0; i < inputs && r->error == NULL; ++i) next_tensor(r, 8);
  next_multipliers(r, &epilogue);
  const DLTensor *y = next_tensor(r, 8);
  if (axis < 0 || axis >= y->ndim) r->error = "the axis of a concatenation is out of range";
  if (r->error != NULL) return PRUNUS_OK;

  prunus_status status = PRUNUS_OK;
  char *to = data(y);
  r->next = first;
  for (int32_t i = 0; i < inputs && status == PRUNUS_OK; ++i) {
    const DLTensor *x = next_of_rank(r, 8, y->ndim);
    prunus_requant_args a = {.entry = i, .y = epilogue};
    a.copy = next_int(r);
    a.x = next_type(r);
    if (r->error != NULL) return PRUNUS_OK;
    a.outer = size_of(x, 0, axis);
    a.inner = size_of(x, axis, x->ndim);
    a.stride = size_of(y, axis, y->ndim);
    status = prunus_requantize(&a, data(x), to);
    to += a.inner;
  }
  r->next += 3;
  complete(r);
  return status;
}

/* parameters: dtype of x; x, table, y */
PACKED(lut) {
  const int32_t dtype = next_int(r);
  const DLTensor *x = next_tensor(r, 8), *table = next_tensor(r, 8), *y = next_tensor(r, 8);
  if (!complete(r)) return PRUNUS_OK;
  return prunus_lut((size_t)numel(x), dtype, data(table), data(x), data(y));
}

/* parameters: axis, reciprocal, TYPE of x, TYPE of y, qmin, qmax; x, table, y */
PACKED(softmax) {
  prunus_softmax_args a = {0};
  const int32_t axis = next_int(r);
  a.reciprocal = next_int(r);
  a.x = next_type(r);
  a.y = next_type(r);
  a.qmin = next_int(r);
  a.qmax = next_int(r);
  const DLTensor *x = next_tensor(r, 8), *table = next_tensor(r, 32), *y = next_tensor(r, 8);
  if (axis < 0 || axis >= x->ndim) r->error = "the axis of a softmax is out of range";
  if (!complete(r)) return PRUNUS_OK;
  a.outer = size_of(x, 0, axis);
  a.length = x->shape[axis];
  a.inner = size_of(x, axis + 1, x->ndim);
  return prunus_softmax(&a, (const uint32_t *)data(table), data(x), data(y));
}

/* -- pooling and data movement ----------------------------------------------------------------------------------- */

/* parameters: WINDOW, TYPE of x, fill; x, y */
PACKED(maxpool2d) {
  prunus_pool2d_args a = {0};
  a.window = next_window(r);
  a.x = next_type(r);
  a.fill = next_int(r);
  const DLTensor *x = next_of_rank(r, 8, 4), *y = next_of_rank(r, 8, 4);
  if (!complete(r)) return PRUNUS_OK;
  a.batch = x->shape[0], a.c = x->shape[1], a.in_h = x->shape[2], a.in_w = x->shape[3];
  a.out_h = y->shape[2], a.out_w = y->shape[3];
  return prunus_maxpool2d(&a, data(x), data(y));
}

/* parameters: WINDOW, TYPE of x, EPILOGUE; x, count_index, multiplier, shift, y */
PACKED(avgpool2d) {
  prunus_pool2d_args a = {0};
  a.window = next_window(r);
  a.x = next_type(r);
  prunus_epilogue epilogue = next_epilogue(r);
  const DLTensor *x = next_of_rank(r, 8, 4), *count_index = next_tensor(r, 32);
  next_multipliers(r, &epilogue);
  const DLTensor *y = next_of_rank(r, 8, 4);
  if (!complete(r)) return PRUNUS_OK;
  a.batch = x->shape[0], a.c = x->shape[1], a.in_h = x->shape[2], a.in_w = x->shape[3];
  a.out_h = y->shape[2], a.out_w = y->shape[3];
  return prunus_avgpool2d(&a, &epilogue, (const int32_t *)data(count_index), data(x), data(y));
}

/* parameters: fill, start of every dimension, step of every dimension; x, y */
PACKED(slice) {
  prunus_slice_args a = {0};
  a.fill = next_int(r);
  const DLTensor *x = next_tensor(r, 8), *y = next_of_rank(r, 8, x->ndim);
  a.rank = x->ndim;
  for (int32_t i = 0; i < a.rank; ++i) a.x_shape[i] = x->shape[i], a.y_shape[i] = y->shape[i];
  for (int32_t i = 0; i < a.rank; ++i) a.start[i] = next_int(r);
  for (int32_t i = 0; i < a.rank; ++i) a.step[i] = next_int(r);
  if (!complete(r)) return PRUNUS_OK;
  return prunus_slice(&a, data(x), data(y));
}

/* parameters: the permutation; x, y */
PACKED(transpose) {
  prunus_transpose_args a = {0};
  const DLTensor *x = next_tensor(r, 8), *y = next_tensor(r, 8);
  a.rank = x->ndim;
  for (int32_t i = 0; i < a.rank; ++i) a.x_shape[i] = x->shape[i], a.perm[i] = next_int(r);
  if (!complete(r)) return PRUNUS_OK;
  return prunus_transpose(&a, data(x), data(y));
}

/* parameters: none; x, rows, columns, y */
PACKED(resize_nearest) {
  prunus_resize_args a = {0};
  const DLTensor *x = next_of_rank(r, 8, 4), *rows = next_tensor(r, 32), *columns = next_tensor(r, 32);
  const DLTensor *y = next_of_rank(r, 8, 4);
  if (!complete(r)) return PRUNUS_OK;
  a.batch = x->shape[0], a.c = x->shape[1], a.in_h = x->shape[2], a.in_w = x->shape[3];
  a.out_h = y->shape[2], a.out_w = y->shape[3];
  return prunus_resize_nearest(&a, (const int32_t *)data(rows), (const int32_t *)data(columns), data(x), data(y));
}

/* -- the borders of the integer part ----------------------------------------------------------------------------- */

/* parameters: TYPE of y, qmin, qmax; x, scale, y */
PACKED(quantize) {
  prunus_epilogue y_type = {0};
  y_type.type = next_type(r);
  y_type.qmin = next_int(r);
  y_type.qmax = next_int(r);
  const DLTensor *x = next_tensor(r, 32), *scale = next_tensor(r, 32), *y = next_tensor(r, 8);
  if (!complete(r)) return PRUNUS_OK;
  return prunus_quantize((size_t)numel(x), *(const float *)data(scale), &y_type, (const float *)data(x), data(y));
}

/* parameters: TYPE of x; x, scale, y */
PACKED(dequantize) {
  const prunus_type x_type = next_type(r);
  const DLTensor *x = next_tensor(r, 8), *scale = next_tensor(r, 32), *y = next_tensor(r, 32);
  if (!complete(r)) return PRUNUS_OK;
  return prunus_dequantize((size_t)numel(x), *(const float *)data(scale), &x_type, data(x), (float *)data(y));
}
