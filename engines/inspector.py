"""What the library itself tells about an engine."""

from trtswap.backends.device import Gpu
from trtswap.backends.trt.library import find_library
from trtswap.backends.trt.loaded import LoadedPlan
from trtswap.backends.trt.plans import StoredPlan


def layer_information(plan: StoredPlan, gpu: Gpu, *, host_code: bool = False) -> str:
    """Every layer with its kernel, formats and types, as the library's JSON, which differs between versions.

    Args:
        plan: on disk.
        gpu: that it was built for.
        host_code: load it even if it carries code for the CPU.

    Raises:
        PlanError: the plan is damaged, or not for this GPU and TensorRT.
    """
    library = find_library(plan.record.place.library)
    trt = library.trt
    with gpu.current():
        loaded = LoadedPlan(library, plan.read(), name=plan.path.name, host_code=host_code)
        inspector = loaded.engine.create_engine_inspector()
        text = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
        del inspector
        loaded.close()
    return text
