"""Reading, owning and editing ONNX models."""
