"""What a processor can do at most: operations a second of large matrix products, in the libraries that engines use."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import openvino
import torch
from onnx import TensorProto, helper, numpy_helper

from figureground.training.trainer import cpu_multiplies_bfloat16


class Peaks:
    """The best of repeated products of two n × n matrices, each 2 n³ operations.

    Attributes:
        best: by type of number and library, operations a second.
    """

    def __init__(self, n: int) -> None:
        self._n = n
        self._products: dict[str, dict[str, Callable[[], object]]] = {
            "float32": {"torch": torch_product(n, torch.float32), "openvino": openvino_product(n, "f32")},
            "int8": {"openvino": openvino_int8_product(n), "onnxruntime": onnxruntime_int8_product(n)},
        }
        if cpu_multiplies_bfloat16():
            bfloat16 = {"torch": torch_product(n, torch.bfloat16), "openvino": openvino_product(n, "bf16")}
            self._products["bfloat16"] = bfloat16
        self.best = {kind: dict.fromkeys(products, 0.0) for kind, products in self._products.items()}

    def measure(self) -> None:
        """One more round."""
        for kind, products in self._products.items():
            for library, product in products.items():
                product()
                start = time.perf_counter()
                product()
                speed = 2 * self._n**3 / (time.perf_counter() - start)
                self.best[kind][library] = max(self.best[kind][library], speed)


def torch_product(n: int, dtype: torch.dtype) -> Callable[[], object]:
    first, second = torch.rand(n, n).to(dtype), torch.rand(n, n).to(dtype)
    return lambda: first @ second


def openvino_product(n: int, precision: str) -> Callable[[], object]:
    """A product that OpenVINO computes in ``f32`` or ``bf16``."""
    weight = numpy_helper.from_array(random_matrix(n), "weight")
    nodes = [helper.make_node("MatMul", ["x", "weight"], ["y"])]
    return in_openvino(product_model(n, nodes, [weight], TensorProto.FLOAT, TensorProto.FLOAT), n, precision)


def openvino_int8_product(n: int) -> Callable[[], object]:
    """A product of dequantized matrices, which OpenVINO computes in int8."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero_x"], ["quantized"]),
        helper.make_node("DequantizeLinear", ["quantized", "scale", "zero_x"], ["first"]),
        helper.make_node("DequantizeLinear", ["weight", "scale", "zero_weight"], ["second"]),
        helper.make_node("MatMul", ["first", "second"], ["y"]),
    ]
    constants = [
        numpy_helper.from_array(np.array(1 / 255, np.float32), "scale"),
        numpy_helper.from_array(np.array(0, np.uint8), "zero_x"),
        numpy_helper.from_array(np.array(0, np.int8), "zero_weight"),
        int8_weight(n),
    ]
    return in_openvino(product_model(n, nodes, constants, TensorProto.FLOAT, TensorProto.FLOAT), n, "f32")


def onnxruntime_int8_product(n: int) -> Callable[[], object]:
    """MatMulInteger, whose sums are int32."""
    nodes = [helper.make_node("MatMulInteger", ["x", "weight"], ["y"])]
    model = product_model(n, nodes, [int8_weight(n)], TensorProto.UINT8, TensorProto.INT32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).integers(0, 255, (n, n), np.uint8)
    return lambda: session.run(None, {"x": x})


def random_matrix(n: int) -> np.ndarray:
    return np.random.default_rng(0).random((n, n), np.float32)


def int8_weight(n: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.random.default_rng(1).integers(-127, 127, (n, n), np.int8), "weight")


def product_model(
    n: int, nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto], taken: int, given: int
) -> onnx.ModelProto:
    """A model from ``x`` to ``y``, both (n, n), of the types that are taken and given."""
    graph = helper.make_graph(
        nodes,
        "product",
        [helper.make_tensor_value_info("x", taken, (n, n))],
        [helper.make_tensor_value_info("y", given, (n, n))],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def in_openvino(model: onnx.ModelProto, n: int, precision: str) -> Callable[[], object]:
    core, settings = openvino.Core(), {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}
    network = core.compile_model(core.read_model(model.SerializeToString()), "CPU", settings)
    request, x = network.create_infer_request(), random_matrix(n)
    return lambda: request.infer([x], share_inputs=True)
