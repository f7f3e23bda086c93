"""Detect and Rerank between protobuf and the encoder's own types."""

from collections.abc import Callable
from typing import Any

import numpy as np

from lookalike.encoder.v1 import encoder_service_pb2 as pb
from lookalike.type.v1 import content_pb2
from lookalike_common.status import to_status
from lookalike_encoder.content import Encoded, Item, Task
from lookalike_encoder.convert.detect import from_wanted, to_detect_response
from lookalike_encoder.convert.rerank import from_documents, from_query
from lookalike_encoder.manifest import Manifest

MakeManifest = Callable[..., Manifest]
LABELS = ("cat", "dog")


def detected(manifest: Manifest, *rows: list[float], **fields: Any) -> list[pb.Detection]:
    """What a reply says of one picture of 100 by 50 pixels."""
    request = pb.DetectRequest(**fields)
    wanted = from_wanted(request, manifest, LABELS)
    found = Encoded(np.array([rows], np.float32), width=100, height=50)
    (result,) = to_detect_response(manifest, wanted, [found], None, to_status).results
    assert (result.detections.width, result.detections.height) == (100, 50)
    return list(result.detections.detections)


def test_boxes_are_rounded_outwards_to_whole_pixels(make_manifest: MakeManifest) -> None:
    (cat,) = detected(make_manifest(), [10.0, 4.5, 30.25, 20.0, 0.75, 0])
    box = cat.box
    assert (box.x, box.y, box.width, box.height) == (10, 4, 21, 16)
    assert (cat.label, cat.score) == ("cat", 0.75)
    (thin,) = detected(make_manifest(), [10.2, 4.2, 10.4, 4.4, 0.5, 1])
    assert (thin.box.width, thin.box.height, thin.label) == (1, 1, "dog")


def test_objects_are_chosen_by_label_score_and_number(make_manifest: MakeManifest) -> None:
    rows = ([0, 0, 9, 9, 0.9, 0], [0, 0, 8, 8, 0.8, 1], [0, 0, 7, 7, 0.3, 1])
    chosen = detected(make_manifest(), *rows, labels=["dog"])
    assert [each.label for each in chosen] == ["dog", "dog"]
    assert len(detected(make_manifest(), *rows, min_score=0.5)) == 2
    (best,) = detected(make_manifest(), *rows, max_objects=1)
    assert best.label == "cat"


def test_a_query_is_prepared_as_one_and_documents_as_documents(make_manifest: MakeManifest) -> None:
    request = pb.RerankRequest(
        query=content_pb2.Content(text="asked"), documents=[content_pb2.Content(text="written")]
    )
    assert from_query(request, make_manifest()).task is Task.QUERY
    (document,) = from_documents(request, make_manifest())
    assert isinstance(document, Item)
    assert document.task is Task.DOCUMENT
