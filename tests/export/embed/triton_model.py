"""A graph in ONNX Runtime for Triton's Python backend: its onnxruntime backend comes in NVIDIA's containers alone."""

from pathlib import Path

import numpy as np
import onnxruntime
import triton_python_backend_utils as triton


class TritonPythonModel:
    """What the backend looks for."""

    def initialize(self, arguments):
        path = Path(arguments["model_repository"], arguments["model_version"], "model.onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.inputs, self.outputs = (
            [tensor.name for tensor in tensors] for tensors in (self.session.get_inputs(), self.session.get_outputs())
        )

    def execute(self, requests):
        """Requests that the server has put into one batch."""
        given = [[triton.get_input_tensor_by_name(r, name).as_numpy() for name in self.inputs] for r in requests]
        batch = map(np.concatenate, zip(*given, strict=True))
        made = self.session.run(None, dict(zip(self.inputs, batch, strict=True)))
        ends = np.cumsum([len(first) for first, *_ in given])[:-1]
        parts = zip(*(np.split(values, ends) for values in made), strict=True)
        return [
            triton.InferenceResponse(
                [
                    triton.Tensor(name, value)
                    for name, value in zip(self.outputs, part, strict=True)
                    if name in request.requested_output_names()
                ]
            )
            for request, part in zip(requests, parts, strict=True)
        ]
