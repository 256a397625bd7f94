"""One graph through a library's own parser and builder. The same code runs on TensorRT 10.13, on 11 and on TensorRT for
RTX."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtswap.backends.trt.library import MEMORY, Library, Logger, make_logger
from trtswap.engines.progress import BuildListener, Monitor, progress_of
from trtswap.engines.request import Compiled, Request
from trtswap.errors import DeviceMemoryError, EngineBuildError

if TYPE_CHECKING:
    import tensorrt as trt

    from trtswap.engines.timing_cache import TimingCache


class BuildCancelled(EngineBuildError):
    """A build was stopped on purpose."""


def compile_graph(
    library: Library, request: Request, *, cache: "TimingCache | None", listener: BuildListener
) -> Compiled:
    """A plan from an ONNX graph: for CUDA's current device, or for the request's targets.

    Types are those of the graph ("strongly typed"): what is float16 in it runs as float16, what is float32 stays so.

    Args:
        library: that compiles.
        request: what and how.
        cache: times that are known; takes those that are measured. None: measure everything, keep nothing.
        listener: is told how far it is.

    Raises:
        EngineBuildError: the parser refuses a node, or no plan came out.
        DeviceMemoryError: the GPU's memory did not suffice.
        BuildCancelled: the listener wanted to stop.
    """
    trt = library.trt
    graph = Path(request.graph)
    logger: Any = make_logger(library)
    trt.init_libnvinfer_plugins(logger, "")
    builder = trt.Builder(logger)
    # Demanded by 10.x; later ones know nothing else and ignore it.
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(graph)):
        raise EngineBuildError(f"{graph} cannot be loaded by {library.title}: {_parse_errors(parser, logger)}")
    config = _config(library, builder, network, request, logger)
    if cache is not None:
        cache.attach(config)
    monitor = Monitor(listener)
    progress = config.progress_monitor = progress_of(library, monitor)
    plan = builder.build_serialized_network(network, config)
    del progress  # the library does not keep it alive
    if cache is not None and plan is not None:
        cache.keep(config)
    if monitor.error is not None:
        raise monitor.error
    if plan is None:
        raise _failure(graph, library, monitor, logger.take_errors())
    return Compiled(bytes(plan), stated_memory(logger.take_notes()), tuple(logger.take_warnings()))


def stated_memory(notes: list[str]) -> int:
    """The most scratch memory that a library has spoken of, bytes; it says so for each profile."""
    found = (re.search(rf"{MEMORY}: (\d+) bytes", note) for note in notes)
    return max((int(match[1]) for match in found if match), default=0)


def _parse_errors(parser: "trt.OnnxParser", logger: Logger) -> str:
    """Every node that the parser refuses, with its reason.

    For an operator that it does not know, TensorRT's reason is the text of the check that failed, which may be the word
    "false": the code and the function of the check say more.
    """
    errors = [parser.get_error(i) for i in range(parser.num_errors)]
    texts = []
    for error in errors:
        where = f"node {error.node()} {error.node_operator()} {error.node_name()!r}: " if error.node() >= 0 else ""
        code = str(error.code()).rsplit(".", 1)[-1]
        texts.append(f"{where}{error.desc()} ({code} in {error.func()})")
    return "; ".join(texts) or logger.take_errors()


def _config(
    library: Library,
    builder: "trt.Builder",
    network: "trt.INetworkDefinition",
    request: Request,
    logger: Logger,
) -> "trt.IBuilderConfig":
    trt = library.trt
    config = builder.create_builder_config()
    config.builder_optimization_level = request.optimisation_level
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    config.max_aux_streams = 0  # everything on the one stream that it is given, which scratch memory is shared by
    if request.workspace_bytes is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, request.workspace_bytes)
    if not request.tf32:
        config.clear_flag(trt.BuilderFlag.TF32)
    if library.kind.ahead_of_time:
        _set_targets(library, config, request.targets)
    else:
        _set_compatibility(library, config, request)
    taken = {network.get_input(i).name for i in range(network.num_inputs)}
    for shapes in request.profiles:
        profile = builder.create_optimization_profile()
        for name, (least, best, most) in shapes.items():
            if name in taken:
                profile.set_shape(name, least, best, most)
        if config.add_optimization_profile(profile) < 0:
            raise EngineBuildError(f"{library.kind.title} refused the profile {dict(shapes)}: {logger.take_errors()}.")
    return config


def _set_compatibility(library: Library, config: "trt.IBuilderConfig", request: Request) -> None:
    trt = library.trt
    config.hardware_compatibility_level = {
        "none": trt.HardwareCompatibilityLevel.NONE,
        "same-capability": trt.HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY,
        "ampere-plus": trt.HardwareCompatibilityLevel.AMPERE_PLUS,
    }[request.hardware_compatibility]
    if request.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)


def _set_targets(library: Library, config: Any, targets: Sequence[str]) -> None:
    """Where none is named, the library makes one plan for all from Ampere on."""
    named = [t for t in targets if t in library.kind.targets]
    if len(named) != len(targets):
        return
    config.num_compute_capabilities = len(named)
    for index, target in enumerate(named):
        config.set_compute_capability(getattr(library.trt.ComputeCapability, library.kind.targets[target]), index)


def _failure(graph: Path, library: Library, monitor: Monitor, errors: str) -> EngineBuildError | DeviceMemoryError:
    if monitor.cancelled:
        return BuildCancelled(f"{graph.name}: the build was stopped.")
    if "out of memory" in errors.lower() or "outofmemory" in errors.lower():
        return DeviceMemoryError(
            f"{graph.name}: the GPU's memory did not suffice for the build: {errors}. Close other programs that use "
            "it, limit --workspace, or build for fewer --faces and a smaller --batch."
        )
    return EngineBuildError(
        f"{graph.name}: {library.title} built no engine: {errors}. Run it again with --verbose for its log."
    )
