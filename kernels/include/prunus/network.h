/* Prunus networks: operators planned together, with the fastest exact kernels of the machine.
 *
 * A network is defined operator by operator with the argument structs of kernels.h, or loaded from a packed file, then
 * planned once for the machine (layouts, kernels, memory), then run any number of times. A plan for one layer is a
 * network of one operator. Results equal those of kernels.h bit for bit, whatever kernel is chosen.
 *
 *   prunus_network *net;
 *   prunus_network_load(packed, packed_bytes, &net);             or prunus_network_create + prunus_network_conv2d ...
 *   prunus_network_plan(net, NULL);
 *   void *workspace = aligned_alloc(64, prunus_network_workspace_bytes(net));
 *   prunus_network_run(net, inputs, outputs, workspace, NULL, NULL);
 *   prunus_network_destroy(net);
 *
 * Definition, planning and loading allocate; running does not, keeps no state in the network, and may happen on several
 * threads at once, each with a workspace of its own. No function throws or aborts; all validate what they are given.
 */
#ifndef PRUNUS_NETWORK_H
#define PRUNUS_NETWORK_H

#include "prunus/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define PRUNUS_API
#else
#define PRUNUS_API __attribute__((visibility("default")))
#endif

typedef struct prunus_network prunus_network;

PRUNUS_API prunus_status prunus_network_create(prunus_network **network);
PRUNUS_API void prunus_network_destroy(prunus_network *network); /* NULL is allowed */

/* What went wrong last in this network, in English, with the operator's number; "" when nothing did. */
PRUNUS_API const char *prunus_network_error(const prunus_network *network);

/* -- definition -------------------------------------------------------------------------------------------------- */

/* A float tensor can only be an input or output of the network, quantized or dequantized there. */
typedef enum prunus_element { PRUNUS_ELEMENT_U8 = 0, PRUNUS_ELEMENT_S8 = 1, PRUNUS_ELEMENT_F32 = 2 } prunus_element;

/* Dimensions in ONNX's order, the batch first. */
typedef struct prunus_tensor {
  int32_t element; /* prunus_element */
  int32_t rank;
  int32_t shape[PRUNUS_MAX_RANK];
} prunus_tensor;

/* Defines a tensor; *id counts from 0. Every tensor is an input, or the output of one operator. */
PRUNUS_API prunus_status prunus_network_tensor(prunus_network *network, const prunus_tensor *tensor, int32_t *id);
PRUNUS_API prunus_status prunus_network_input(prunus_network *network, int32_t id);  /* order of calls = order of inputs */
PRUNUS_API prunus_status prunus_network_output(prunus_network *network, int32_t id);

/* Operators in topological order; arrays are copied. Names and semantics as in kernels.h; x, y, a, b are tensor ids.
 * gemm: any rank, over the last dimension. concat: the epilogue has one multiplier per input; an input whose `copy` is
 * set is copied. reshape: same elements, other dimensions. */
PRUNUS_API prunus_status prunus_network_conv2d(prunus_network *network, int32_t x, int32_t y,
                                               const prunus_conv2d_args *args, const int8_t *w, const int32_t *bias);
PRUNUS_API prunus_status prunus_network_depthwise2d(prunus_network *network, int32_t x, int32_t y,
                                                    const prunus_conv2d_args *args, const int8_t *w,
                                                    const int32_t *bias);
PRUNUS_API prunus_status prunus_network_gemm(prunus_network *network, int32_t x, int32_t y,
                                             const prunus_gemm_args *args, const int8_t *w, const int32_t *bias);
PRUNUS_API prunus_status prunus_network_add(prunus_network *network, int32_t a, int32_t b, int32_t y,
                                            const prunus_binary_args *args);
PRUNUS_API prunus_status prunus_network_mul(prunus_network *network, int32_t a, int32_t b, int32_t y,
                                            const prunus_binary_args *args);
PRUNUS_API prunus_status prunus_network_concat(prunus_network *network, const int32_t *xs, const prunus_type *types,
                                               const int32_t *copy, int32_t count, int32_t axis, int32_t y,
                                               const prunus_epilogue *epilogue);
PRUNUS_API prunus_status prunus_network_requantize(prunus_network *network, int32_t x, int32_t y,
                                                   const prunus_type *x_type, const prunus_epilogue *epilogue);
PRUNUS_API prunus_status prunus_network_maxpool2d(prunus_network *network, int32_t x, int32_t y,
                                                  const prunus_pool2d_args *args);
PRUNUS_API prunus_status prunus_network_avgpool2d(prunus_network *network, int32_t x, int32_t y,
                                                  const prunus_pool2d_args *args, const prunus_epilogue *epilogue,
                                                  const int32_t *count_index);
PRUNUS_API prunus_status prunus_network_lut(prunus_network *network, int32_t x, int32_t y, const void *table);
PRUNUS_API prunus_status prunus_network_softmax(prunus_network *network, int32_t x, int32_t y,
                                                const prunus_softmax_args *args, const uint32_t *table);
PRUNUS_API prunus_status prunus_network_slice(prunus_network *network, int32_t x, int32_t y,
                                              const prunus_slice_args *args);
PRUNUS_API prunus_status prunus_network_transpose(prunus_network *network, int32_t x, int32_t y,
                                                  const prunus_transpose_args *args);
PRUNUS_API prunus_status prunus_network_resize_nearest(prunus_network *network, int32_t x, int32_t y,
                                                       const prunus_resize_args *args, const int32_t *rows,
                                                       const int32_t *columns);
PRUNUS_API prunus_status prunus_network_reshape(prunus_network *network, int32_t x, int32_t y);
PRUNUS_API prunus_status prunus_network_quantize(prunus_network *network, int32_t x, int32_t y, float scale,
                                                 const prunus_epilogue *y_type);
PRUNUS_API prunus_status prunus_network_dequantize(prunus_network *network, int32_t x, int32_t y, float scale,
                                                   const prunus_type *x_type);

/* -- packed files ------------------------------------------------------------------------------------------------ */

/* The definition as bytes: versioned, little-endian, checksummed, weights stored in the smallest of the canonical
 * formats (dense, 4x4, 16x4 and 32x4 blocks, bitmask), the same on every machine; kernels repack them in plan.
 * save: with `data` NULL only *bytes is set. load: copies what it needs; anything malformed is PRUNUS_E_FILE. */
PRUNUS_API prunus_status prunus_network_save(const prunus_network *network, void *data, size_t *bytes);
PRUNUS_API prunus_status prunus_network_load(const void *data, size_t bytes, prunus_network **network);

/* -- planning ---------------------------------------------------------------------------------------------------- */

typedef struct prunus_plan_options {
  const char *isa;     /* NULL: all of this machine's; else as PRUNUS_ISA */
  const char *kernel;  /* NULL: the chooser's; else the one kernel that every layer of its family must use (tests) */
  int32_t timed;       /* 0: the limit model decides; n: the n best candidates of each layer are run and timed */
  const char *cache;   /* NULL or a file that keeps what was timed, per cpu, shape and density */
  int32_t batch;       /* 0: as defined; else replaces dimension 0 of every tensor, which must be 1 */
} prunus_plan_options;

PRUNUS_API prunus_status prunus_network_plan(prunus_network *network, const prunus_plan_options *options);
PRUNUS_API size_t prunus_network_workspace_bytes(const prunus_network *network);

/* Number, definition and bytes of inputs and outputs, after definition or load (with the planned batch after plan). */
PRUNUS_API int32_t prunus_network_input_count(const prunus_network *network);
PRUNUS_API int32_t prunus_network_output_count(const prunus_network *network);
PRUNUS_API prunus_status prunus_network_input_tensor(const prunus_network *network, int32_t index, prunus_tensor *out);
PRUNUS_API prunus_status prunus_network_output_tensor(const prunus_network *network, int32_t index,
                                                      prunus_tensor *out);

/* The plan as JSON: one entry per step with operator, kernel, layout, density, predicted and timed seconds, the
 * candidates that lost, and the arena. With `text` NULL only *bytes is set (final NUL included). */
PRUNUS_API prunus_status prunus_network_describe(const prunus_network *network, char *text, size_t *bytes);

/* -- running ----------------------------------------------------------------------------------------------------- */

/* Calls task(state, i) for i in 0 .. count - 1, in any order, possibly at once, and returns when all have returned. */
typedef void (*prunus_task)(void *state, int32_t index);
typedef void (*prunus_parallel_for)(void *context, int32_t count, prunus_task task, void *state);
typedef struct prunus_threads {
  prunus_parallel_for run; /* NULL: serial */
  void *context;
  int32_t count; /* how many run at once: work is cut into a few times as many tasks */
} prunus_threads;

/* inputs and outputs: dense NCHW arrays of the defined types, none overlapping another. workspace: 64-byte aligned.
 * seconds: NULL, or one entry per step of the plan, the time it took. */
PRUNUS_API prunus_status prunus_network_run(const prunus_network *network, const void *const *inputs,
                                            void *const *outputs, void *workspace, const prunus_threads *threads,
                                            double *seconds);
PRUNUS_API int32_t prunus_network_step_count(const prunus_network *network);

/* A small pool of `count` threads, the caller's included, to hand to prunus_network_run. */
typedef struct prunus_pool prunus_pool;
PRUNUS_API prunus_status prunus_pool_create(int32_t count, prunus_pool **pool);
PRUNUS_API void prunus_pool_destroy(prunus_pool *pool);
PRUNUS_API prunus_threads prunus_pool_threads(prunus_pool *pool);

/* -- prediction -------------------------------------------------------------------------------------------------- */

/* What a convolution (or a matrix product: kernel 1x1, width = rows) would cost with this share of nonzero blocks of
 * rows x columns weights: seconds on one thread of this machine, of the best kernel or of the named one, conversion of
 * layouts left out. The pruner asks this. */
typedef struct prunus_prediction {
  double seconds, dense_seconds;
  char kernel[32];
} prunus_prediction;
PRUNUS_API prunus_status prunus_predict(const prunus_conv2d_args *args, double density, int32_t block_rows,
                                        int32_t block_columns, const char *kernel, prunus_prediction *out);

#ifdef __cplusplus
}
#endif
#endif /* PRUNUS_NETWORK_H */
