/* Weights, biases, multipliers and tables: 150 bytes. Generated, for model.c alone. */
#include "prunus/kernels.h"

static const int8_t op_n0002_weight[24] = {
  -66, -39, 50, 127, -12, 127, -62, 33, 124, 13, -102, -127, -58, 28, -127, -26, -37, 127, 50,
  83, -56, -11, 67, 127};
static const int32_t op_n0002_bias[6] = {
  -2221, 2037, 2685, 1423, 899, -386};
static const int32_t op_n0002_multiplier[6] = {
  1495871119, 1960697399, 1322556040, 1448670908, 1552086171, 2142879585};
static const int32_t op_n0002_shift[6] = {
  37, 37, 37, 37, 38, 37};
static const int8_t op_n0003_weight[18] = {
  94, 127, 117, 85, 23, -78, 0, 65, -127, 39, 42, 69, -86, -48, -32, -85, 127, -36};
static const int32_t op_n0003_bias[3] = {
  1002, -1198, 5436};
static const int32_t op_n0003_multiplier[3] = {
  1462565999, 1922515669, 1297757705};
static const int32_t op_n0003_shift[3] = {
  38, 39, 38};
