"""TensorRT without TensorRT: what trtswap uses of its API, run by ONNX Runtime on host memory.

``api`` stands in for the module ``tensorrt``; ``machine`` for the GPU under it.
"""
