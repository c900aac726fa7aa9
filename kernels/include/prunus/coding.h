/* Packed models, model.prz: an ONNX file whose tensors are Huffman-coded. compiler/coding/FORMAT.md describes the file.
 *
 *   uint64_t bytes;
 *   const char *why;
 *   prunus_model_bytes(packed, packed_bytes, &bytes, &why);      how large the ONNX file is; compare it with a limit
 *   prunus_model_unpack(packed, packed_bytes, zstd, NULL, model, bytes, &why);
 *
 * Files need not be trusted: anything malformed is PRUNUS_E_FILE with the reason in `why` (static text, in English; why
 * may be NULL). No function throws, aborts, or allocates more than a few times the caller's own buffer.
 */
#ifndef PRUNUS_CODING_H
#define PRUNUS_CODING_H

#include "prunus/network.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Decompresses one zstd frame into exactly out_bytes and returns the bytes that it wrote; anything else is a failure.
 * With libzstd: return ZSTD_decompress(out, out_bytes, in, in_bytes). */
typedef size_t (*prunus_decompress)(void *context, void *out, size_t out_bytes, const void *in, size_t in_bytes);

/* Checks the file's header, table and checksum; *model_bytes is what the model will take. */
PRUNUS_API prunus_status prunus_model_bytes(const void *packed, size_t packed_bytes, uint64_t *model_bytes,
                                            const char **why);

/* Writes the ONNX file, byte for byte the one that was packed, into the caller's `model_bytes` bytes.
 * zstd: NULL where files with zstd sections are refused (PRUNUS_E_OPTION); `context` is handed to it.
 * After a failure the contents of `model` are undefined. */
PRUNUS_API prunus_status prunus_model_unpack(const void *packed, size_t packed_bytes, prunus_decompress zstd,
                                             void *context, void *model, size_t model_bytes, const char **why);

#ifdef __cplusplus
}
#endif
#endif
