"""ONNX files: opened with the right options, read and cut without the onnx package."""
