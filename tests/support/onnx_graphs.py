"""Models of other makes, tiny: the inputs, outputs, types and shapes of real exports.

Their weights come from a seed, so that tests work out with numpy what they must make.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

Floats = NDArray[np.float32]
WORDS: Final = ("a", "cat", "dog", "sleeps", "runs", "red", "blue", "query", "passage", ":", "on")
SPECIAL: Final = {
    "bert": ("[PAD]", "[UNK]", "[CLS]", "[SEP]"),
    "clip": ("<|startoftext|>", "<|endoftext|>"),
    "siglip": ("</s>", "<unk>"),
}
VOCABULARY: Final = 64


def table(seed: int, *shape: int) -> Floats:
    """Return weights."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def save_tokenizer(path: Path, kind: str = "bert", *, pad_left: bool = False) -> Tokenizer:
    """Write a tokenizer of words that frames texts as one kind of model does."""
    special = SPECIAL[kind]
    ids = {word: index for index, word in enumerate((*special, *WORDS))}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=special[1]))
    if kind != "siglip":  # its lower case is made elsewhere
        tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    frames = {"bert": "[CLS] $A [SEP]", "clip": "<|startoftext|> $A <|endoftext|>"}
    frame = frames.get(kind, "$A </s>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single=frame, special_tokens=[(word, ids[word]) for word in special]
    )
    padding = {"bert": "[PAD]", "clip": "<|endoftext|>", "siglip": "</s>"}[kind]
    direction = "left" if pad_left else "right"
    tokenizer.enable_padding(pad_id=ids[padding], pad_token=padding, direction=direction)
    tokenizer.save(str(path))
    tokenizer.no_padding()
    return tokenizer


def token_model(
    dimensions: int,
    *,
    seed: int = 1,
    inputs: Sequence[str] = ("input_ids", "attention_mask", "token_type_ids"),
    integer: int = TensorProto.INT64,
    batch: int | None = None,
    tokens: int | None = None,
    half: bool = False,
) -> onnx.ModelProto:
    """Return a model whose `last_hidden_state` is a row of `table(seed, 64, dimensions)` a token.

    Beside it lies `pooler_output`, the mean over all tokens, padding too.
    """
    weights = table(seed, VOCABULARY, dimensions).astype(np.float16 if half else np.float32)
    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    nodes = [
        helper.make_node("Gather", ["table", inputs[0]], ["last_hidden_state"]),
        helper.make_node(
            "ReduceMean", ["last_hidden_state"], ["pooler_output"], axes=[1], keepdims=0
        ),
    ]
    shape = [batch or "batch", tokens or "tokens"]
    outputs = {"last_hidden_state": [*shape, dimensions], "pooler_output": [shape[0], dimensions]}
    return _model(
        nodes,
        dict.fromkeys(inputs, (integer, shape)),
        {name: (kind, each) for name, each in outputs.items()},
        {"table": weights},
    )


def text_tower(dimensions: int, *, seed: int = 1, output: str = "text_embeds") -> onnx.ModelProto:
    """Return the text tower of CLIP: its output is the sum over the tokens that the mask keeps."""
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["hidden"]),
        helper.make_node("Cast", ["attention_mask"], ["kept"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["kept", "axis"], ["weights"]),
        helper.make_node("Mul", ["hidden", "weights"], ["weighted"]),
        helper.make_node("ReduceSum", ["weighted", "first"], [output], keepdims=0),
    ]
    shape = ["batch", "tokens"]
    return _model(
        nodes,
        dict.fromkeys(("input_ids", "attention_mask"), (TensorProto.INT64, shape)),
        {output: (TensorProto.FLOAT, ["batch", dimensions])},
        {
            "table": table(seed, VOCABULARY, dimensions),
            "axis": np.array([2], np.int64),
            "first": np.array([1], np.int64),
        },
    )


def pixel_model(
    side: int,
    dimensions: int,
    *,
    seed: int = 1,
    output: str = "image_embeds",
    batch: int | None = None,
    free: bool = False,
    block: int = 1,
) -> onnx.ModelProto:
    """Return a model of float pictures [n, 3, side, side]: their flat pixels times a table.

    `block`: squares of so many pixels count by their mean, so that the table is small.

    `last_hidden_state` has the whole's vector and then those of the upper and the lower half.
    `free`: its file leaves the size of every axis open, as optimum does.
    """
    taken = (
        ["batch", "num_channels", "height", "width"] if free else [batch or "batch", 3, side, side]
    )
    side //= block
    flat = 3 * side * side
    size: dict[str, Any] = {"kernel_shape": [block, block], "strides": [block, block]}
    nodes = [
        helper.make_node("AveragePool", ["pixel_values"], ["means"], **size),
        helper.make_node("Reshape", ["means", "flat"], ["pixels"]),
    ]
    parts = np.ones((3, 3, side, side), np.float32)
    parts[1, :, side // 2 :] = parts[2, :, : side // 2] = 0
    constants: dict[str, NDArray[Any]] = {
        "flat": np.array([-1, 1, flat], np.int64),
        "parts": parts.reshape(1, 3, flat),
        "table": table(seed, flat, dimensions),
    }
    if output == "last_hidden_state":
        nodes.append(helper.make_node("Mul", ["pixels", "parts"], ["masked"]))
        nodes.append(helper.make_node("MatMul", ["masked", "table"], [output]))
        shape: list[Any] = [batch or "batch", None if free else 3, dimensions]
    else:
        constants["flat"] = np.array([-1, flat], np.int64)
        nodes.append(helper.make_node("MatMul", ["pixels", "table"], [output]))
        shape = [batch or "batch", dimensions]
    return _model(
        nodes,
        {"pixel_values": (TensorProto.FLOAT, taken)},
        {output: (TensorProto.FLOAT, shape)},
        constants,
    )


def save_outside(model: onnx.ModelProto, path: Path, location: str = "model.onnx_data") -> None:
    """Write a model whose weights lie in a file beside it."""
    onnx.save_model(
        model, str(path), save_as_external_data=True, location=location, size_threshold=0
    )


def _model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, tuple[int, Sequence[Any]]],
    outputs: Mapping[str, tuple[int, Sequence[Any]]],
    constants: Mapping[str, NDArray[Any]],
) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "tiny",
        [helper.make_tensor_value_info(name, *each) for name, each in inputs.items()],
        [helper.make_tensor_value_info(name, *each) for name, each in outputs.items()],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
