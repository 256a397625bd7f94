"""Engines of single graphs, outside of any pack."""

import hashlib
from pathlib import Path

import torch

from trtswap.backends import device as gpus
from trtswap.backends.onnxruntime import OnnxRuntimeEngine
from trtswap.backends.trt.library import find_library
from trtswap.backends.trt.plans import Place, PlanRecord, PlanTensor, StoredPlan, write_plan
from trtswap.engines.compiler import compile_graph
from trtswap.engines.config import BuildConfig, Range
from trtswap.engines.progress import Silent
from trtswap.model.pack import sha256_of

SMALL = {"N": Range(1, 2, 8), "D": Range(1, 7, 16), "H": Range(1, 4, 64), "W": Range(1, 5, 64)}


def build(graph: Path, *profiles: dict[str, Range], **config: object) -> StoredPlan:
    """Compile a graph and store its plan where the runtime looks for it."""
    with OnnxRuntimeEngine(graph, device=torch.device("cpu"), precision="fp32") as engine:
        inputs, outputs = list(engine.inputs.values()), list(engine.outputs.values())
    used = BuildConfig(profiles=profiles or (SMALL,), **config)  # type: ignore[arg-type]
    gpu, library = gpus.find_gpu(), find_library("tensorrt")
    with gpu.current():
        made = compile_graph(library, used.request(graph, inputs), cache=None, listener=Silent())
    data = made.plan
    sha256 = sha256_of(graph)
    record = PlanRecord(
        key=sha256[:8], pack="none", stage=graph.stem, source_sha256=sha256, graph_sha256=sha256, precision="fp32",
        compiler="onnx-parser", config=used.as_table(), inputs=tuple(map(PlanTensor.of, inputs)),
        outputs=tuple(map(PlanTensor.of, outputs)), place=Place.of(library, gpu), cuda=None, driver=None,
        plan_sha256=hashlib.sha256(data).hexdigest(), plan_bytes=len(data), device_memory_bytes=0, build_seconds=0.0,
    )  # fmt: skip
    return write_plan(record, data)
