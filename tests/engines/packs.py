"""A pack written by hand: four graphs of a few nodes each, made in milliseconds."""

from pathlib import Path

import onnx
import tomli_w

from trtswap.model.pack import Pack, sha256_of

HEADER = '<ir_version: 9, opset_import: ["" : 19]>'

GRAPHS = {
    "detect": """
        detect (float[B,3,H,W] images)
            => (float[B,1,4] boxes, float[B,1,5,2] landmarks, float[B,1] scores)
        {
            all = Constant <value_ints = [1, 2, 3]> ()
            best = ReduceMax <keepdims = 0> (images, all)
            one = Constant <value_ints = [1]> ()
            scores = Unsqueeze (best, one)
            two = Constant <value_ints = [2]> ()
            wide = Unsqueeze (scores, two)
            box = Constant <value_floats = [10.0, 10.0, 110.0, 110.0]> ()
            boxes = Mul (wide, box)
            three = Constant <value_ints = [3]> ()
            deep = Unsqueeze (wide, three)
            shape = Constant <value_ints = [1, 1, 5, 2]> ()
            flat = Constant <value_floats = [30.0, 40.0, 70.0, 40.0, 50.0, 60.0, 35.0, 80.0, 65.0, 80.0]> ()
            points = Reshape (flat, shape)
            landmarks = Mul (deep, points)
        }""",
    "identify": """
        identify (float[N,3,112,112] faces) => (float[N,3] latents)
        {
            space = Constant <value_ints = [2, 3]> ()
            mean = ReduceMean <keepdims = 0> (faces, space)
            channels = Constant <value_ints = [1]> ()
            length = ReduceL2 <keepdims = 1> (mean, channels)
            least = Constant <value_float = 0.000001> ()
            safe = Max (length, least)
            latents = Div (mean, safe)
        }""",
    "swap": """
        swap (float[N,3,16,16] faces, float[N,3] latents) => (float[N,3,16,16] swapped)
        {
            space = Constant <value_ints = [2, 3]> ()
            wide = Unsqueeze (latents, space)
            half = Constant <value_float = 0.5> ()
            dimmed = Mul (faces, half)
            light = Mul (wide, half)
            bright = Add (dimmed, light)
            low = Constant <value_float = 0.0> ()
            high = Constant <value_float = 1.0> ()
            swapped = Clip (bright, low, high)
        }""",
    "parse": """
        parse (float[N,3,32,32] faces) => (uint8[N,32,32] labels)
        {
            best = ArgMax <axis = 1, keepdims = 0> (faces)
            labels = Cast <to = 2> (best)
        }""",
}

KEYS = {
    "detect": {"size": 320, "max_faces": 1, "threshold": 0.5},
    "identify": {"size": 112, "latent": 3, "template": "arcface_112_v1"},
    "swap": {"size": 16, "latent": 3, "template": "arcface_112_v1"},
    "parse": {"size": 32, "template": "ffhq_512"},
}


def write_pack(folder: Path, name: str = "hand", **graphs: str) -> Pack:
    """Write the pack, with other text for some graphs."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = {}
    for stage, text in (GRAPHS | graphs).items():
        onnx.save(onnx.parser.parse_model(HEADER + text), folder / f"{stage}.onnx")
        tables[stage] = {"file": f"{stage}.onnx", "sha256": sha256_of(folder / f"{stage}.onnx"), **KEYS[stage]}
    head = {"format": 1, "name": name, "version": "1", "licence": "none", "landmarks": "five", "stages": tables}
    (folder / "pack.toml").write_text(tomli_w.dumps(head), "utf-8")
    return Pack.load(folder)
