"""Makes a half-precision model of any ONNX model, by ONNX Runtime's own converter.

Weights and what lies between the nodes become float16; inputs and outputs stay as they are, so that
encoders need not know. What has no float16, such as `Range`, stays in float32 between casts. The
bytes depend on the version of ONNX Runtime, which is pinned, and not on that of `onnx`: types that
were only inferred are left out again. Used when models are installed: it needs the extra `install`,
which a server does not.
"""

from __future__ import annotations

import os

import onnx

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when it loads

from onnxruntime.transformers.float16 import convert_float_to_float16


def convert_float16(content: bytes) -> bytes:
    """Turn a model into one of half precision; the same input gives the same bytes.

    Raises ValueError for a model with weights in further files.
    """
    model = onnx.load_model_from_string(content)
    if any(each.data_location == onnx.TensorProto.EXTERNAL for each in model.graph.initializer):
        raise ValueError("its weights lie in further files")
    model = convert_float_to_float16(model, keep_io_types=True)
    del model.graph.value_info[:]
    _sort(model.graph)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def _sort(graph: onnx.GraphProto) -> None:
    """Put nodes after those they need, as ONNX wants it; the converter appends its casts."""
    made = {output for node in graph.node for output in node.output if output}
    waiting, ready = list(graph.node), list[onnx.NodeProto]()
    while waiting:
        late = []
        for node in waiting:
            if _needs(node) & made:
                late.append(node)
            else:
                ready.append(node)
                made -= set(node.output)
        if len(late) == len(waiting):
            raise ValueError("its nodes need one another")
        waiting = late
    del graph.node[:]
    graph.node.extend(ready)


def _needs(node: onnx.NodeProto) -> set[str]:
    """Return the tensors a node reads, those in its branches and loops too."""
    names = set(node.input)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            names = names.union(*map(_needs, graph.node))
    return names
