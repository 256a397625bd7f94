"""TensorRT: plans on disk, the library, execution contexts, and the engine made of them."""
