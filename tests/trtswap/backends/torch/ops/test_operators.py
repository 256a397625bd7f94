"""Every operator of the torch backend against ONNX Runtime, one node at a time.

A case gives a node's inputs as arrays; those in ``constants`` are initialisers of the graph, as exporters write them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from trtswap.backends import open_engine
from trtswap.backends.torch.ops import find, names

Array = NDArray[Any]
RANDOM = np.random.default_rng(7)


def f32(*shape: int) -> Array:
    return RANDOM.standard_normal(shape).astype(np.float32)


def positive(*shape: int) -> Array:
    return RANDOM.uniform(0.1, 3, shape).astype(np.float32)


def i64(*values: Any) -> Array:
    return np.array(values, np.int64)


def integers(low: int, high: int, *shape: int) -> Array:
    return RANDOM.integers(low, high, shape)


@dataclass
class Case:
    operator: str
    inputs: list[Array | None]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    constants: tuple[int, ...] = ()
    opset: int = 19
    outputs: int = 1
    note: str = ""

    def __str__(self) -> str:
        shapes = "x".join("-" if a is None else "".join(map(str, a.shape)) or "s" for a in self.inputs)
        attributes = ",".join(f"{k}={v}" for k, v in self.attributes.items() if not isinstance(v, onnx.TensorProto))
        return " ".join(filter(None, [self.operator, self.note or attributes or shapes, f"v{self.opset}"]))

    def model(self) -> onnx.ModelProto:
        names = ["" if a is None else f"x{i}" for i, a in enumerate(self.inputs)]
        outputs = [f"y{i}" for i in range(self.outputs)]
        node = helper.make_node(self.operator, names, outputs, **self.attributes)
        present = [(i, names[i], a) for i, a in enumerate(self.inputs) if a is not None]
        graph = helper.make_graph(
            [node],
            "case",
            [
                helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
                for i, n, a in present
                if i not in self.constants
            ],
            [onnx.ValueInfoProto(name=n) for n in outputs],
            [numpy_helper.from_array(a, n) for i, n, a in present if i in self.constants],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=9)
        return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)

    def feeds(self) -> dict[str, Array]:
        return {f"x{i}": a for i, a in enumerate(self.inputs) if a is not None and i not in self.constants}


def unary() -> list[Case]:
    plain = (
        "Abs Ceil Cos Erf Exp Floor Neg Reciprocal Relu Round Sigmoid Sign Sin Tanh Softplus HardSwish Mish Identity"
    )
    cases = [Case(name, [3 * f32(2, 3, 4)]) for name in plain.split()]
    cases += [Case(name, [positive(2, 3)]) for name in ("Log", "Sqrt")]
    cases += [Case("Round", [np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5], np.float32)], note="halves")]
    cases += [Case("Not", [integers(0, 2, 5).astype(bool)]), Case("Neg", [integers(-5, 5, 4)], note="int64")]
    cases += [Case("IsNaN", [np.array([1, np.nan, np.inf], np.float32)])]
    return cases


def binary() -> list[Case]:
    a, b = f32(2, 1, 4), f32(3, 1)
    p, q = integers(-9, 9, 3, 4), np.where((d := integers(-4, 5, 3, 4)) == 0, 3, d)
    flags = [integers(0, 2, 2, 3).astype(bool), integers(0, 2, 3).astype(bool)]
    comparisons = ("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual")
    cases = [Case(name, [a, b]) for name in ("Add", "Sub", "Mul", "Div", "Min", "Max")]
    cases += [Case(name, [p, q], note="int64") for name in ("Add", "Sub", "Mul", "Div", "Mod", "Min", "Max")]
    cases += [Case("Mod", [p, q], {"fmod": 1}), Case("Mod", [a, b], {"fmod": 1})]
    cases += [Case(name, [np.round(a), np.round(b)]) for name in comparisons]
    cases += [Case(name, flags) for name in ("And", "Or", "Xor")]
    cases += [Case("Pow", [positive(2, 3), f32(3)]), Case("Pow", [f32(2, 3), i64(2)], note="int exponent")]
    cases += [Case("Pow", [integers(1, 4, 3), np.array(2.0, np.float32)], note="float exponent")]
    cases += [Case(name, [a, b, f32(4)], note="three") for name in ("Min", "Max", "Sum", "Mean")]
    cases += [Case("Where", [flags[0], f32(2, 3), f32(1)])]
    return cases


def activations() -> list[Case]:
    x = f32(2, 3, 4, 5)
    low, high = np.array(-0.5, np.float32), np.array(0.25, np.float32)
    return [
        Case("LeakyRelu", [x]),
        Case("LeakyRelu", [x], {"alpha": 0.2}),
        Case("Elu", [x], {"alpha": 0.5}),
        Case("HardSigmoid", [x], {"alpha": 0.3, "beta": 0.4}),
        Case("PRelu", [x, f32(3, 1, 1)], constants=(1,), note="per channel"),
        Case("PRelu", [x, f32(1)], constants=(1,), note="one slope"),
        Case("PRelu", [x, f32(4, 1)], constants=(1,), note="per row"),
        Case("PRelu", [f32(2, 5), f32(5)], constants=(1,), note="rank 2"),
        Case("Clip", [x, low, high], constants=(1, 2)),
        Case("Clip", [x, None, high], constants=(2,), note="no lower"),
        Case("Clip", [x, low], constants=(1,), note="no upper"),
        Case("Clip", [x, high, low], constants=(1, 2), note="empty range"),
        Case("Clip", [integers(-9, 9, 7), i64(-3).reshape(()), i64(2).reshape(())], constants=(1, 2), note="int64"),
        Case("Dropout", [x], opset=13),
    ]


def casts() -> list[Case]:
    x = np.array([-2.7, -0.4, 0, 0.6, 3.5], np.float32)
    targets = (onnx.TensorProto.INT64, onnx.TensorProto.INT32, onnx.TensorProto.BOOL, onnx.TensorProto.FLOAT16)
    cases = [Case("Cast", [x], {"to": int(t)}) for t in targets]
    cases += [Case("Cast", [np.abs(x)], {"to": int(onnx.TensorProto.UINT8)})]
    cases += [Case("CastLike", [x, i64(1)])]
    cases += [Case("Cast", [x], {"to": int(onnx.TensorProto.DOUBLE)}, opset=11)]
    return cases


def quantisation() -> list[Case]:
    x, scale = 3 * f32(2, 3, 4), np.float32(0.02)
    zero, scales = np.array(0, np.int8), positive(3) / 50
    halves = np.array([-0.05, -0.03, -0.01, 0.01, 0.03, 0.05, 9, -9], np.float32)
    codes = integers(-128, 128, 2, 3, 4).astype(np.int8)
    return [
        Case("QuantizeLinear", [x, np.array(scale), zero], constants=(1, 2)),
        Case("QuantizeLinear", [halves, np.array(scale), zero], constants=(1, 2), note="halves, saturated"),
        Case("QuantizeLinear", [x, scales, np.zeros(3, np.int8)], {"axis": 1}, constants=(1, 2)),
        Case("QuantizeLinear", [x, np.array(scale), np.array(128, np.uint8)], constants=(1, 2), note="uint8"),
        Case("DequantizeLinear", [codes, np.array(scale), zero], constants=(1, 2)),
        Case("DequantizeLinear", [codes, scales, np.zeros(3, np.int8)], {"axis": -2}, constants=(1, 2)),
        Case("DequantizeLinear", [codes, np.array(scale)], constants=(1,), note="no zero point"),
    ]


def reductions() -> list[Case]:
    x = f32(2, 3, 4)
    norms = ("L1", "L2", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
    operators = [f"Reduce{norm}" for norm in norms]
    cases = [Case(n, [x, i64(-1, 0)], {"keepdims": 0}, constants=(1,)) for n in operators]
    cases += [Case(n, [x, i64(1)], constants=(1,), opset=18) for n in operators]
    cases += [Case(n, [x], {"axes": [1, -1]}, opset=12, note="axes attribute") for n in operators]
    cases += [Case("ReduceMean", [x], {"keepdims": 0}, note="all axes")]
    cases += [Case("ReduceSum", [x], {"noop_with_empty_axes": 1})]
    cases += [Case("ReduceSum", [integers(0, 9, 3, 4).astype(np.int32), i64(0)], constants=(1,), note="int32")]
    ties = np.array([[1, 3, 3, 2], [5, 5, 0, 0]], np.float32)
    cases += [Case("ArgMax", [ties], {"axis": -1, "select_last_index": last}) for last in (0, 1)]
    cases += [Case("ArgMin", [ties], {"axis": 1, "select_last_index": last, "keepdims": 0}) for last in (0, 1)]
    cases += [Case(n, [x], {"axis": a}) for n, a in (("Softmax", -1), ("Softmax", 1), ("LogSoftmax", -2))]
    cases += [Case("Softmax", [x], {"axis": 1}, opset=11), Case("Softmax", [x], opset=12, note="default axis")]
    top = integers(0, 4, 3, 9).astype(np.float32)
    cases += [Case("TopK", [top, i64(5)], {"largest": large}, (1,), outputs=2) for large in (0, 1)]
    cases += [Case("TopK", [top, i64(2)], {"axis": 0}, (1,), opset=11, outputs=2)]
    modes = ((0, 0), (1, 0), (0, 1), (1, 1))
    cases += [Case("CumSum", [x, np.array(-2, np.int64)], {"exclusive": e, "reverse": r}, (1,)) for e, r in modes]
    return cases


def shapes() -> list[Case]:
    x = f32(2, 3, 4)
    return [
        Case("Shape", [x]),
        Case("Shape", [x], {"start": -2}),
        Case("Shape", [x], {"start": 1, "end": -1}),
        Case("Size", [x]),
        Case("Reshape", [x, i64(0, -1)], constants=(1,)),
        Case("Reshape", [x, i64(4, 6)], constants=(1,)),
        Case("Flatten", [x]),
        Case("Flatten", [x], {"axis": 0}),
        Case("Flatten", [x], {"axis": -1}),
        Case("Transpose", [x]),
        Case("Transpose", [x], {"perm": [1, 2, 0]}),
        Case("Squeeze", [f32(1, 3, 1, 2), i64(-2)], constants=(1,)),
        Case("Squeeze", [f32(1, 3, 1, 2)], note="all"),
        Case("Squeeze", [f32(1, 3, 1, 2)], {"axes": [0, 2]}, opset=11),
        Case("Unsqueeze", [x, i64(0, -1)], constants=(1,)),
        Case("Unsqueeze", [x], {"axes": [3, 1]}, opset=11),
        Case("Concat", [x, f32(2, 1, 4), f32(2, 5, 4)], {"axis": -2}),
        Case("Split", [f32(2, 7), i64(3, 4)], {"axis": -1}, (1,), outputs=2),
        Case("Split", [f32(2, 7)], {"axis": 1, "num_outputs": 3}, outputs=3),
        Case("Split", [f32(6, 2)], opset=13, outputs=3, note="equal parts"),
        Case("Split", [f32(6, 2)], {"split": [1, 5]}, opset=11, outputs=2),
        Case("Expand", [f32(3, 1), i64(2, 1, 4)], constants=(1,)),
        Case("Expand", [x, i64(1)], constants=(1,)),
        Case("Tile", [x, i64(2, 1, 3)], constants=(1,)),
        Case("Trilu", [f32(2, 4, 5)]),
        Case("Trilu", [f32(4, 5), np.array(-1, np.int64)], {"upper": 0}, (1,)),
        Case("DepthToSpace", [f32(1, 8, 2, 3)], {"blocksize": 2}),
        Case("DepthToSpace", [f32(1, 8, 2, 3)], {"blocksize": 2, "mode": "CRD"}),
        Case("SpaceToDepth", [f32(1, 2, 4, 6)], {"blocksize": 2}),
        Case("ConstantOfShape", [i64(2, 3)], constants=(0,)),
        Case(
            "ConstantOfShape",
            [i64(3)],
            {"value": helper.make_tensor("v", onnx.TensorProto.INT64, [1], [7])},
            (0,),
            note="int64",
        ),
        *[
            Case("Range", [np.array(v, np.int64) for v in r], constants=(0, 1, 2))
            for r in ((1, 9, 3), (5, 0, -2), (3, 3, 1))
        ],
        Case("Range", [np.array(v, np.float32) for v in (0, 1, 0.25)], constants=(0, 1, 2), note="float"),
    ]


def slices() -> list[Case]:
    x, far = f32(4, 5, 6), np.iinfo(np.int64)
    bounds = {
        "plain": ([1, 0], [3, 4], [0, 2], [1, 2]),
        "negative": ([-3, -4], [-1, -1], [0, -1], [1, 1]),
        "clamped": ([-99, 2], [99, far.max], [1, 2], [1, 3]),
        "backwards": ([-1, 4], [far.min, 0], [0, 1], [-1, -2]),
        "empty": ([3], [1], [1], [1]),
    }
    return [
        Case("Slice", [x, i64(*a), i64(*b), i64(*c), i64(*d)], constants=(1, 2, 3, 4), note=note)
        for note, (a, b, c, d) in bounds.items()
    ] + [Case("Slice", [x, i64(1, 2), i64(3, 5)], constants=(1, 2), note="no axes", opset=11)]


def gathering() -> list[Case]:
    x = f32(4, 5, 6)
    rows = np.stack([RANDOM.permutation(4)[:3] for _ in range(2)], 1).astype(np.int64)
    return [
        Case("Gather", [x, i64([0, -1], [3, 1])]),
        Case("Gather", [x, np.array(-2, np.int64)], {"axis": -1}, note="scalar"),
        Case("Gather", [x, np.array([1, 4, 4], np.int32)], {"axis": 1}, note="int32"),
        Case("GatherElements", [x, integers(-5, 5, 4, 2, 6)], {"axis": 1}),
        Case("GatherElements", [x, integers(0, 4, 3, 5, 6)]),
        Case("GatherND", [x, i64([0, 1], [3, -1])], note="rows"),
        Case("GatherND", [x, i64([[0, 1, 2]], [[3, 2, 1]])], note="elements"),
        Case("GatherND", [f32(2, 3, 4), i64([[1], [2]], [[0], [0]])], {"batch_dims": 1}),
        Case("GatherND", [f32(2, 3, 4, 2), integers(0, 4, 2, 3, 5, 1)], {"batch_dims": 2}),
        Case("ScatterND", [x, rows[:, :1].copy(), f32(3, 5, 6)]),
        Case("ScatterND", [x, rows, f32(3, 6)], note="pairs"),
        Case("ScatterND", [x, i64([1], [1]), f32(2, 5, 6)], {"reduction": "add"}),
        Case("ScatterElements", [x, np.array([[[0]], [[-1]]]), f32(2, 1, 1)], {"axis": 1}),
        Case("ScatterElements", [x, np.array([[[0]], [[2]]]), f32(2, 1, 1)], {"axis": 2, "reduction": "add"}),
    ]


def padding() -> list[Case]:
    x, around = f32(2, 3, 5, 4), i64(0, 0, 2, 1, 0, 0, 1, 3)
    cases = [Case("Pad", [x, around], {"mode": mode}, (1,)) for mode in ("constant", "reflect", "edge")]
    cases += [
        Case("Pad", [x, i64(0, 1, 2, 0, 1, 1, 1, 0)], {"mode": m}, (1,), note=f"{m} outer") for m in ("reflect", "edge")
    ]
    cases += [Case("Pad", [x, i64(1, 2), np.array(0.5, np.float32), i64(-2)], constants=(1, 2, 3), note="value, axes")]
    cases += [Case("Pad", [x, i64(1, 1, 0, 2), None, i64(3, 1)], {"mode": "edge"}, (1, 3), note="edge, axes")]
    cases += [Case("Pad", [x, i64(0, 0, -1, 1, 0, 0, 2, -2)], constants=(1,), note="cropping")]
    cases += [Case("Pad", [integers(0, 9, 2, 3), i64(1, 0, 0, 2)], constants=(1,), note="int64")]
    cases += [Case("Pad", [f32(6), i64(2, 3)], {"mode": "reflect"}, (1,), note="rank 1")]
    return cases


def convolutions() -> list[Case]:
    x, w, b = f32(2, 4, 7, 8), f32(6, 4, 3, 3), f32(6)
    t = f32(4, 3, 3, 3)
    weights = (1, 2)
    return [
        Case("Conv", [x, w, b], constants=weights),
        Case("Conv", [x, w], {"pads": [1, 1, 1, 1], "strides": [2, 2]}, (1,)),
        Case("Conv", [x, w, b], {"pads": [0, 1, 2, 1]}, weights),
        Case("Conv", [x, w], {"dilations": [2, 1], "pads": [2, 1, 2, 1]}, (1,)),
        Case("Conv", [x, f32(6, 2, 3, 3)], {"group": 2}, (1,)),
        Case("Conv", [x, f32(4, 1, 3, 3)], {"group": 4, "pads": [1, 1, 1, 1]}, (1,)),
        *[
            Case("Conv", [x, w], {"auto_pad": a, "strides": [2, 3]}, (1,))
            for a in ("SAME_UPPER", "SAME_LOWER", "VALID")
        ],
        Case("Conv", [f32(2, 3, 9), f32(4, 3, 3)], {"pads": [1, 2]}, (1,)),
        Case("Conv", [f32(1, 2, 4, 5, 6), f32(3, 2, 2, 3, 3)], constants=(1,)),
        Case("Conv", [x, w], note="weights at run time"),
        Case("ConvTranspose", [x, t, f32(3)], constants=weights),
        Case("ConvTranspose", [x, t], {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]}, (1,)),
        Case("ConvTranspose", [x, t], {"strides": [2, 3], "pads": [0, 1, 1, 2]}, (1,)),
        Case("ConvTranspose", [x, f32(4, 2, 3, 3)], {"group": 2, "dilations": [2, 1]}, (1,)),
        Case("ConvTranspose", [x, t], {"strides": [2, 2], "auto_pad": "SAME_UPPER"}, (1,)),
        Case("ConvTranspose", [x, t], {"strides": [2, 2], "output_shape": [14, 16]}, (1,)),
        Case("ConvTranspose", [f32(2, 4, 9), f32(4, 3, 4)], {"strides": [2]}, (1,)),
    ]


def pools() -> list[Case]:
    x = f32(2, 3, 7, 8)
    cases = [Case(n, [x], {"kernel_shape": [3, 2], "strides": [2, 1]}) for n in ("MaxPool", "AveragePool")]
    cases += [Case(n, [x], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}) for n in ("MaxPool", "AveragePool")]
    cases += [Case(n, [x], {"kernel_shape": [3, 3], "pads": [0, 1, 2, 0]}) for n in ("MaxPool", "AveragePool")]
    cases += [
        Case("AveragePool", [x], {"kernel_shape": [3, 3], "pads": p, "count_include_pad": 1})
        for p in ([1, 1, 1, 1], [0, 1, 2, 0])
    ]
    cases += [Case("MaxPool", [x], {"kernel_shape": [2, 2], "dilations": [2, 3]})]
    cases += [Case("MaxPool", [x], {"kernel_shape": [2, 2], "strides": [2, 2], "auto_pad": "SAME_UPPER"})]
    cases += [Case("AveragePool", [f32(2, 3, 9)], {"kernel_shape": [4], "strides": [2]})]
    cases += [Case(n, [x]) for n in ("GlobalAveragePool", "GlobalMaxPool")]
    return cases


def normalisations() -> list[Case]:
    x, c = f32(2, 3, 4, 5), (1, 2, 3, 4)
    return [
        Case("BatchNormalization", [x, f32(3), f32(3), f32(3), positive(3)], {"epsilon": 1e-3}, c),
        Case("BatchNormalization", [f32(4, 3), f32(3), f32(3), f32(3), positive(3)], constants=c, opset=11),
        Case("InstanceNormalization", [x, f32(3), f32(3)], {"epsilon": 1e-3}, (1, 2)),
        Case("InstanceNormalization", [f32(2, 3, 1, 1), f32(3), f32(3)], constants=(1, 2), note="one element"),
        Case("LayerNormalization", [x, f32(5), f32(5)], constants=(1, 2)),
        Case("LayerNormalization", [x, f32(3, 4, 5)], {"axis": 1, "epsilon": 1e-3}, (1,)),
        Case("LpNormalization", [x], {"axis": 1}),
        Case("LpNormalization", [x], {"axis": -1, "p": 1}),
    ]


def products() -> list[Case]:
    return [
        Case("Gemm", [f32(3, 4), f32(4, 5), f32(5)]),
        Case("Gemm", [f32(4, 3), f32(5, 4), f32(3, 1)], {"transA": 1, "transB": 1, "alpha": 0.5, "beta": 2.0}),
        Case("Gemm", [f32(3, 4), f32(4, 5)], {"alpha": 0.5}),
        Case("MatMul", [f32(2, 1, 3, 4), f32(5, 4, 2)]),
        Case("MatMul", [f32(4), f32(4)]),
        Case("MatMul", [f32(3, 4), f32(4)]),
        Case("Einsum", [f32(2, 3, 4), f32(2, 4, 5)], {"equation": "bij,bjk->bik"}),
        Case("Einsum", [f32(3, 4)], {"equation": "...i->..."}),
    ]


def samples() -> list[Case]:
    x, grid = f32(2, 3, 5, 6), RANDOM.uniform(-1.3, 1.3, (2, 4, 7, 2)).astype(np.float32)
    return [
        Case("GridSample", [x, grid], {"mode": mode, "padding_mode": outside, "align_corners": corners}, opset=opset)
        for mode, opset in (("bilinear", 16), ("bilinear", 19), ("nearest", 19), ("bicubic", 19))
        for outside in ("zeros", "border", "reflection")
        for corners in (0, 1)
        if mode != "bicubic" or outside == "zeros"
    ]


def resizes() -> list[Case]:
    x, none = f32(2, 3, 5, 6), None

    def case(mode: str, coordinates: str, *, scales: Any = None, sizes: Any = None, x: Array = x, **more: Any) -> Case:
        given = [None if scales is None else np.array(scales, np.float32), None if sizes is None else i64(*sizes)]
        inputs = [x, none, *(given if sizes is not None else given[:1])]
        target = f"scales {scales}" if sizes is None else f"sizes {sizes}"
        attributes = {"mode": mode, "coordinate_transformation_mode": coordinates, **more}
        note = " ".join([mode, coordinates, *map(str, more.values()), target])
        return Case("Resize", inputs, attributes, (2, 3), note=note)

    by = {"up": {"scales": [1, 1, 2, 2]}, "odd": {"sizes": [2, 3, 7, 9]}, "down": {"sizes": [2, 3, 3, 2]}}
    cases = [
        case("linear", coordinates, **how)
        for coordinates in ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
        for how in (*by.values(), {"scales": [1, 1, 1.3, 0.7]})
    ]
    cases += [
        case("nearest", coordinates, nearest_mode=rounding, **how)
        for coordinates in ("half_pixel", "asymmetric", "align_corners")
        for rounding in ("floor", "round_prefer_floor")
        for how in by.values()
    ]
    cases += [case("nearest", "asymmetric", nearest_mode=r, sizes=[2, 3, 8, 9]) for r in ("ceil", "round_prefer_ceil")]
    cases += [case("linear", "pytorch_half_pixel", sizes=[2, 3, 1, 1])]
    cases += [case("linear", "half_pixel", sizes=[4, 7], x=f32(3, 5))]
    cases += [case("nearest", "asymmetric", nearest_mode="floor", scales=[2, 1, 2, 2])]
    cases += [case("linear", "half_pixel", scales=[2, 2], axes=[2, 3])]
    return cases


CASES = [
    *unary(), *binary(), *activations(), *casts(), *quantisation(), *reductions(), *shapes(), *slices(), *gathering(),
    *padding(), *convolutions(), *pools(), *normalisations(), *products(), *samples(), *resizes(),
]  # fmt: skip


DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_operator_is_as_in_onnxruntime(case: Case, device: str, tmp_path: Path) -> None:
    model = case.model()
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    expected = session.run(None, case.feeds())
    onnx.save(model, tmp_path / "case.onnx")
    with (
        open_engine(tmp_path / "case.onnx", backend="torch", device=device) as engine,
        torch.backends.cudnn.flags(enabled=True, allow_tf32=False),
    ):
        outputs = engine(**{name: torch.from_numpy(a).to(device) for name, a in case.feeds().items()})
    for found, wanted in zip(outputs.values(), expected, strict=True):
        assert found.is_contiguous()
        assert found.device.type == device
        assert found.cpu().numpy().dtype == wanted.dtype
        np.testing.assert_allclose(found.cpu().numpy(), wanted, rtol=2e-5, atol=2e-5)


def test_every_operator_has_a_case() -> None:
    assert names() == {case.operator for case in CASES}


def test_reshape_to_no_elements_at_all() -> None:
    reshape = find("Reshape", 19)
    assert reshape is not None
    result = reshape.run(torch.zeros(0, 3), torch.tensor([3, 0]), allowzero=1)
    assert isinstance(result, torch.Tensor)
    assert result.shape == (3, 0)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.int8, torch.uint8])
def test_the_smallest_integer_by_minus_one_ends_nothing(dtype: torch.dtype) -> None:
    """The processor's own division stops the process there; the result wraps around, as a negation does."""
    from trtswap.backends.torch.ops.elementwise import div

    least = torch.iinfo(dtype).min
    numbers = [least, 7, 9, 100] if least == 0 else [least, -7, 9, 100]
    found = div(torch.tensor(numbers, dtype=dtype), torch.tensor([-1 if least else 1, 2, 3, 7], dtype=dtype))
    assert found.dtype == dtype
    assert found.tolist() == [least, numbers[1] // 2 + (numbers[1] < 0), 3, 14]
