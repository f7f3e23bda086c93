"""The only importers of ONNX Runtime and of tokenizers."""
