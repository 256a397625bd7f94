"""PyTorch as a backend: an ONNX graph as a list of calls. Needs the package onnx."""
