"""Token ids of the Open Inference Protocol: what the mask keeps is read, what it cannot mean is
refused with the row's name."""

from __future__ import annotations

import numpy as np
import pytest

from lookalike_common.errors import LookalikeError
from lookalike_encoder.catalogue import discover
from lookalike_encoder.content import Item, Task, TokensContent
from lookalike_encoder.convert.inference import from_infer_request, to_metadata
from lookalike_encoder.inference_protocol import inference_service_pb2 as pb
from lookalike_encoder.manifest import Manifest

_Tensor = pb.ModelInferRequest.InferInputTensor
IDS = [[101, 7, 102, 0], [101, 8, 9, 102]]
MASK = [[1, 1, 1, 0], [1, 1, 1, 1]]


def manifest(name: str = "minilm-l6-v2") -> Manifest:
    return next(each for each in discover().manifests if each.name == name)


def tensor(name: str, values: list[list[int]], datatype: str = "INT64") -> _Tensor:
    contents = pb.InferTensorContents(int64_contents=[each for row in values for each in row])
    shape = [len(values), len(values[0])]
    return _Tensor(name=name, datatype=datatype, shape=shape, contents=contents)


def read(*inputs: _Tensor, name: str = "minilm-l6-v2") -> list[Item]:
    request = pb.ModelInferRequest(inputs=inputs)
    found, items = from_infer_request(request, manifest(name), Task.DOCUMENT)
    assert found == "input_ids"
    return items


def ids_of(items: list[Item]) -> list[list[int]]:
    contents = [each.content for each in items]
    return [
        np.frombuffer(each.ids, "<i8").tolist()
        for each in contents
        if isinstance(each, TokensContent)
    ]


def test_the_mask_takes_padding_away() -> None:
    ids, mask = tensor("input_ids", IDS), tensor("attention_mask", MASK)
    expected = [[101, 7, 102], [101, 8, 9, 102]]
    assert ids_of(read(ids, mask)) == ids_of(read(mask, ids)) == expected
    assert ids_of(read(ids)) == IDS


def test_padding_may_stand_before_the_text() -> None:
    ids, mask = tensor("input_ids", [[0, 0, 5, 6]]), tensor("attention_mask", [[0, 0, 1, 1]])
    assert ids_of(read(ids, mask)) == [[5, 6]]


def test_raw_tensors_are_read_in_their_order() -> None:
    bare = [_Tensor(name=name, datatype="INT64", shape=[2, 4]) for name in ("attention_mask", "x")]
    bare[1].name = "input_ids"
    data = [np.array(each, "<i8").tobytes() for each in (MASK, IDS)]
    request = pb.ModelInferRequest(inputs=bare, raw_input_contents=data)
    _, items = from_infer_request(request, manifest(), Task.DOCUMENT)
    assert ids_of(items) == [[101, 7, 102], [101, 8, 9, 102]]


@pytest.mark.parametrize(
    ("inputs", "field"),
    [
        ([tensor("attention_mask", MASK)], "inputs[0].name"),
        ([tensor("input_ids", IDS), tensor("input_ids", IDS)], "inputs"),
        ([tensor("input_ids", IDS), tensor("attention_mask", MASK[:1])], "inputs[1].shape"),
        ([tensor("attention_mask", MASK[:1]), tensor("input_ids", IDS)], "inputs[0].shape"),
        (
            [tensor("input_ids", IDS), tensor("attention_mask", [MASK[0], [1, 0, 1, 1]])],
            "attention_mask[1]",
        ),
        (
            [tensor("input_ids", IDS), tensor("attention_mask", [[1, 1, 1, 2], MASK[1]])],
            "attention_mask[0]",
        ),
        ([tensor("input_ids", IDS, "FP32")], "inputs[0].contents"),
        ([tensor("input_ids", IDS), tensor("token_type_ids", MASK)], "inputs"),
    ],
)
def test_what_cannot_be_meant_is_refused(inputs: list[_Tensor], field: str) -> None:
    with pytest.raises(LookalikeError) as error:
        read(*inputs)
    assert error.value.field == field


def test_encoders_of_another_class_take_no_tokens() -> None:
    with pytest.raises(LookalikeError, match="text or image or raw_image"):
        read(tensor("input_ids", IDS), name="conse")


def test_both_inputs_are_announced() -> None:
    about = to_metadata(manifest(), ["1"], encodes=True)
    assert [(each.name, each.datatype, list(each.shape)) for each in about.inputs] == [
        ("text", "BYTES", [-1]),
        ("input_ids", "INT64", [-1, -1]),
        ("attention_mask", "INT64", [-1, -1]),
    ]
    assert about.properties["input_sets"] == "text or input_ids [attention_mask]"
