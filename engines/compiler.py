"""One graph through TensorRT's own parser and builder. The same code runs on TensorRT 10.13 and on 11."""

from collections.abc import Sequence
from pathlib import Path

import tensorrt as trt

from trtswap.backends.engine import TensorSpec
from trtswap.backends.trt.library import LibraryLogger
from trtswap.engines.config import BuildConfig
from trtswap.engines.progress import BuildListener, Monitor
from trtswap.engines.timing_cache import TimingCache
from trtswap.errors import DeviceMemoryError, EngineBuildError

_HARDWARE = {
    "none": trt.HardwareCompatibilityLevel.NONE,
    "same-capability": trt.HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY,
    "ampere-plus": trt.HardwareCompatibilityLevel.AMPERE_PLUS,
}


class BuildCancelled(EngineBuildError):
    """A build was stopped on purpose."""


def compile_graph(
    graph: Path,
    inputs: Sequence[TensorSpec],
    wanted: BuildConfig,
    *,
    cache: TimingCache | None,
    listener: BuildListener,
) -> bytes:
    """A plan from an ONNX graph, for CUDA's current device.

    Types are those of the graph ("strongly typed"): what is float16 in it runs as float16, what is float32 stays so.

    Args:
        graph: ONNX file, opset 19 or lower.
        inputs: its inputs with the names of their dynamic dimensions.
        wanted: how.
        cache: times that are known; takes those that are measured. None: measure everything, keep nothing.
        listener: is told how far it is.

    Raises:
        EngineBuildError: the parser refuses a node, or no plan came out.
        DeviceMemoryError: the GPU's memory did not suffice.
        BuildCancelled: the listener wanted to stop.
    """
    logger = LibraryLogger()
    trt.init_libnvinfer_plugins(logger, "")
    builder = trt.Builder(logger)
    # Demanded by 10.x; 11 knows nothing else and ignores it.
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(graph)):
        raise EngineBuildError(
            f"{graph} cannot be loaded by TensorRT {trt.__version__}: {_parse_errors(parser, logger)}"
        )
    config = _config(builder, network, inputs, wanted, logger)
    if cache is not None:
        cache.attach(config)
    monitor = Monitor(listener)
    config.progress_monitor = monitor
    plan = builder.build_serialized_network(network, config)
    if cache is not None and plan is not None:
        cache.keep(config)
    if monitor.error is not None:
        raise monitor.error
    if plan is None:
        raise _failure(graph, monitor, logger.take_errors())
    return bytes(plan)


def _parse_errors(parser: trt.OnnxParser, logger: LibraryLogger) -> str:
    """Every node that the parser refuses, with its reason."""
    errors = [parser.get_error(i) for i in range(parser.num_errors)]
    texts = []
    for error in errors:
        where = f"node {error.node()} {error.node_operator()} {error.node_name()!r}: " if error.node() >= 0 else ""
        texts.append(f"{where}{error.desc()}")
    return "; ".join(texts) or logger.take_errors()


def _config(
    builder: trt.Builder,
    network: trt.INetworkDefinition,
    inputs: Sequence[TensorSpec],
    wanted: BuildConfig,
    logger: LibraryLogger,
) -> trt.IBuilderConfig:
    config = builder.create_builder_config()
    config.builder_optimization_level = wanted.optimisation_level
    config.hardware_compatibility_level = _HARDWARE[wanted.hardware_compatibility]
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    config.max_aux_streams = 0  # everything on the one stream that it is given, which scratch memory is shared by
    if wanted.workspace_bytes is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, wanted.workspace_bytes)
    if wanted.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if not wanted.tf32:
        config.clear_flag(trt.BuilderFlag.TF32)
    taken = {network.get_input(i).name for i in range(network.num_inputs)}
    for ranges in wanted.profiles:
        profile = builder.create_optimization_profile()
        for spec in inputs:
            if spec.name in taken:
                profile.set_shape(spec.name, *wanted.shapes(ranges, spec))
        if config.add_optimization_profile(profile) < 0:
            raise EngineBuildError(f"TensorRT refused the profile {dict(ranges)}: {logger.take_errors()}.")
    return config


def _failure(graph: Path, monitor: Monitor, errors: str) -> EngineBuildError | DeviceMemoryError:
    if monitor.cancelled:
        return BuildCancelled(f"{graph.name}: the build was stopped.")
    if "out of memory" in errors.lower() or "outofmemory" in errors.lower():
        return DeviceMemoryError(
            f"{graph.name}: the GPU's memory did not suffice for the build: {errors}. Close other programs that use "
            "it, limit --workspace, or build for fewer --faces and a smaller --batch."
        )
    return EngineBuildError(
        f"{graph.name}: TensorRT {trt.__version__} built no engine: {errors}. Run it again with --verbose for its log."
    )
