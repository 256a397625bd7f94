"""A client of Triton Inference Server, with the repository of ``trtswap embed avatar --triton DIR``:

python swap.py localhost:8001 avatar face.png frame.png out.png
"""

import sys

import numpy as np
import tritonclient.grpc as triton
from PIL import Image

address, pack, face, frame, out = sys.argv[1:]
server = triton.InferenceServerClient(address)


def run(model, tensors):
    """What a model makes of the tensors that it takes: arrays by name."""
    inputs = []
    for entry in server.get_model_metadata(model).inputs:
        inputs.append(triton.InferInput(entry.name, tensors[entry.name].shape, entry.datatype))
        inputs[-1].set_data_from_numpy(tensors[entry.name])
    result = server.infer(model, inputs)
    return {entry.name: result.as_numpy(entry.name) for entry in result.get_response().outputs}


frames = np.asarray(Image.open(frame).convert("RGB"))[None]
# The source goes the same way as a frame, so its picture is put into one.
picture = Image.new("RGB", (frames.shape[2], frames.shape[1]))
picture.paste(Image.open(face).convert("RGB"))
source = {"frames": np.asarray(picture)[None]}
who = run(f"{pack}_identify", source | run(f"{pack}_find", source))  # of all faces of the picture, the first counts

slots = who["latents"].shape[1]
everybody = {name: np.repeat(values[:, :1], slots, axis=1) for name, values in who.items()}
made = run(pack, {"frames": frames, "strengths": np.ones((1, slots), np.float32), **everybody})
Image.fromarray(made["swapped_frames"][0]).save(out)
print(f"score of the face: {made['scores'][0, 0]:.2f}")
