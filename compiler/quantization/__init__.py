"""Post-training quantization to standard QDQ ONNX."""
