"""What MediaPipe's own runtime says to three rendered faces: writes ``mesh_golden.npz`` beside this file.

Runs where mediapipe 0.10.21 is installed, with nothing of trtswap: ``python tests/export/mesh_golden.py``. LiteRT alone
cannot run the file, since three of its operators are MediaPipe's.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

HERE = Path(__file__).parent
SAMPLES = HERE.parents[1] / "trtswap" / "packs" / "avatar" / "samples"
MODEL = "mediapipe/modules/face_landmark/face_landmark_with_attention.tflite"
OUTPUTS = ("mesh", "lips", "right_eye", "left_eye", "right_iris", "left_iris", "score")


def pictures() -> NDArray[np.uint8]:
    """The pack's samples, uint8 [3, 192, 192, 3]: means of blocks of 3 by 3, in whole numbers."""
    made = []
    for path in sorted(SAMPLES.glob("source_*.png")):
        whole = np.asarray(Image.open(path).convert("RGB"), dtype=np.int64)
        whole = np.pad(whole, ((32, 32), (32, 32), (0, 0)), mode="edge")
        made.append((whole.reshape(192, 3, 192, 3, 3).sum((1, 3)) + 4) // 9)
    return np.stack(made).astype(np.uint8)


def graph_config() -> str:
    splits = "".join(f' output_stream: "t{i}"' for i in range(len(OUTPUTS)))
    ranges = "".join(f" ranges: {{ begin: {i} end: {i + 1} }}" for i in range(len(OUTPUTS)))
    kind = "TensorsToFloatsCalculator"
    floats = "".join(
        f'node {{ calculator: "{kind}" input_stream: "TENSORS:t{i}" output_stream: "FLOATS:{name}" }}'
        for i, name in enumerate(OUTPUTS)
    )
    outputs = "".join(f'output_stream: "{name}"\n' for name in OUTPUTS)
    return f"""
        input_stream: "image"
        {outputs}
        node {{
          calculator: "ImageToTensorCalculator" input_stream: "IMAGE:image" output_stream: "TENSORS:in"
          options {{ [mediapipe.ImageToTensorCalculatorOptions.ext] {{
            output_tensor_width: 192 output_tensor_height: 192 keep_aspect_ratio: false
            output_tensor_float_range {{ min: 0.0 max: 1.0 }} }} }}
        }}
        node {{
          calculator: "TfLiteCustomOpResolverCalculator" output_side_packet: "OP_RESOLVER:operators"
          options {{ [mediapipe.TfLiteCustomOpResolverCalculatorOptions.ext] {{ use_gpu: false }} }}
        }}
        node {{
          calculator: "InferenceCalculator" input_side_packet: "OP_RESOLVER:operators"
          input_stream: "TENSORS:in" output_stream: "TENSORS:out"
          options {{ [mediapipe.InferenceCalculatorOptions.ext] {{
            model_path: "{MODEL}" delegate {{ tflite {{}} }} }} }}
        }}
        node {{
          calculator: "SplitTensorVectorCalculator" input_stream: "out" {splits}
          options {{ [mediapipe.SplitVectorCalculatorOptions.ext] {{ {ranges} }} }}
        }}
        {floats}
    """


def answers(images: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    import mediapipe
    from mediapipe.python import packet_creator, packet_getter
    from mediapipe.python._framework_bindings import resource_util
    from mediapipe.python._framework_bindings.calculator_graph import CalculatorGraph

    resource_util.set_resource_dir(str(Path(mediapipe.__file__).parents[1]))
    graph, found = CalculatorGraph(graph_config=graph_config()), {name: [] for name in OUTPUTS}
    for name in OUTPUTS:
        graph.observe_output_stream(name, lambda n, packet: found[n].append(packet_getter.get_float_list(packet)))
    graph.start_run()
    for i, image in enumerate(images):
        frame = mediapipe.ImageFrame(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(image))
        graph.add_packet_to_input_stream("image", packet_creator.create_image_frame(frame).at(i + 1))
        graph.wait_until_idle()
    return {name: np.asarray(values, dtype=np.float32) for name, values in found.items()}


if __name__ == "__main__":
    sys.stdout.write(f"{ {name: value.shape for name, value in answers(pictures()).items()} }\n")
    np.savez_compressed(HERE / "mesh_golden.npz", **answers(pictures()))
