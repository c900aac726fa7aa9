/* Verification: reads samples, records every integer tensor and every output; trace.h is generated beside it. */
#include "board.h"
#include "model.h"

enum { CHUNK = 64 };

/* Integers of one input, quantized from float32 in small pieces where a function is given. */
typedef prunus_status quantize_function(const float *x, size_t count, void *y);
typedef prunus_status dequantize_function(const void *x, size_t count, float *y);

static int failed;

static inline void load(void *place, size_t count, quantize_function *quantize) {
  uint8_t *y = place;
  float x[CHUNK];
  for (size_t first = 0; first < count; first += CHUNK) {
    size_t n = count - first < CHUNK ? count - first : CHUNK;
    board_read(quantize ? (void *)x : y + first, quantize ? n * sizeof *x : n);
    if (quantize) failed |= quantize(x, n, y + first) != PRUNUS_OK;
  }
  board_record(place, count);
}

static inline void record(const void *place, size_t count, dequantize_function *dequantize) {
  const uint8_t *x = place;
  float y[CHUNK];
  for (size_t first = 0; first < count; first += CHUNK) {
    size_t n = count - first < CHUNK ? count - first : CHUNK;
    failed |= dequantize(x + first, n, y) != PRUNUS_OK;
    board_record(y, n * sizeof *y);
  }
}

#include "trace.h"

void prunus_model_trace(const void *data, size_t bytes) { board_record(data, bytes); }

int main(void) {
  uint32_t samples;
  board_read(&samples, sizeof samples);
  for (uint32_t i = 0; i < samples; ++i) {
    trace_load();
    if (prunus_model_run() != PRUNUS_OK || failed) return 1;
    trace_record();
  }
  return 0;
}
