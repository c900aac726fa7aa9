/* An integer neural network in C. Generated.
 *
 * Write the inputs, call prunus_model_run(), read the outputs. They stand in the model's static arena and share bytes
 * with everything between them: write all inputs before every run, read the outputs before the next. Not reentrant.
 */
#ifndef PRUNUS_MODEL_H
#define PRUNUS_MODEL_H

#include "prunus/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

#define PRUNUS_ARENA_BYTES 10

/* input_0 t0000: uint8 [4], real = (q - 163) * 0.0138148684 */
#define PRUNUS_MODEL_INPUT_0_BYTES 4
uint8_t *prunus_model_input_0(void);

/* output_0 t0005: uint8 [3], real = (q - 88) * 0.00616976526 */
#define PRUNUS_MODEL_OUTPUT_0_BYTES 3
const uint8_t *prunus_model_output_0(void);

/* PRUNUS_OK, always, unless this file and the kernels do not belong together. */
prunus_status prunus_model_run(void);

/* model_float.c: y[i] is the integer of x[i], and back. A float unit helps, but is not needed. */
prunus_status prunus_model_quantize_input_0(const float *x, size_t count, uint8_t *y);
prunus_status prunus_model_dequantize_output_0(const uint8_t *x, size_t count, float *y);

#ifdef PRUNUS_MODEL_TRACE
/* For verification, yours to define: is shown every result of an operator, in order. */
void prunus_model_trace(const void *data, size_t bytes);
#endif

#ifdef __cplusplus
}
#endif
#endif
