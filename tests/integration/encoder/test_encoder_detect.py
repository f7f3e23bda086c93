"""Detect and Rerank on a real server, and the bridge between pictures and texts."""

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from lookalike.encoder.v1 import encoder_service_pb2 as pb
from lookalike.encoder.v1.encoder_service_pb2_grpc import EncoderServiceStub
from lookalike.type.v1 import content_pb2
from lookalike_common.status import error_from_status
from lookalike_encoder.content import ImageContent, Item, Operation, TextContent
from lookalike_encoder.encoder import Encoder, Prepared, Row
from tests.support.tiny_detector import (
    DETECTOR,
    as_png,
    install_tiny_detector,
    link_models,
    picture,
)

Content = content_pb2.Content
PHOTOS = ("astronaut", "chelsea", "coffee")


@pytest.fixture(scope="module")
def stub(
    serve: Callable[..., Any], models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EncoderServiceStub]:
    """A server with the tiny detector, and encoders of texts and pictures."""
    folder = tmp_path_factory.mktemp("detect")
    linked = link_models(models, folder / "models")
    install_tiny_detector(folder / "manifests", linked)
    names = ("efficientnet-lite0", "minilm-l6-v2", "tiny-detector")
    with (
        serve(models_dir=linked, manifest_dirs=(folder / "manifests",), encoders=names) as port,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        yield EncoderServiceStub(channel)


def detect(stub: EncoderServiceStub, *pictures: bytes, **fields: Any) -> pb.DetectResponse:
    contents = [Content(image=each) for each in pictures]
    return stub.Detect(pb.DetectRequest(encoder=DETECTOR, contents=contents, **fields))


def test_detected_boxes_are_regions_to_encode(stub: EncoderServiceStub) -> None:
    pixels = picture((0, 0, "red"), (2, 2, "blue"), scale=5)
    content = as_png(pixels)
    found = detect(stub, content).results[0].detections.detections
    assert len(found) == 2
    regions = pb.EncodeItem(content=Content(image=content), regions=[each.box for each in found])
    crops = [
        pixels[box.y : box.y + box.height, box.x : box.x + box.width]
        for box in (each.box for each in found)
    ]
    cut = [pb.EncodeItem(content=Content(image=as_png(each))) for each in crops]
    request = pb.EncodeRequest(encoder="encoders/efficientnet-lite0", items=[regions, *cut])
    together, *alone = stub.Encode(request).results
    assert [each.dense.data for each in together.item.vectors] == (
        [each.item.vectors[0].dense.data for each in alone]
    )


def test_many_pictures_are_answered_in_their_order(stub: EncoderServiceStub) -> None:
    pictures = [as_png(picture((index % 4, index // 4 % 4, "green"))) for index in range(40)]
    reply = detect(stub, *pictures)
    boxes = [each.detections.detections[0].box for each in reply.results]
    assert [(box.x // 16, box.y // 16) for box in boxes] == [
        (index % 4, index // 4 % 4) for index in range(40)
    ]


def test_damaged_pictures_never_break_detect(stub: EncoderServiceStub) -> None:
    """Each gets its objects or its error, and a good one beside them is always answered."""
    chance = random.Random(11)
    good = as_png(picture((1, 1, "red")))
    for _ in range(5):
        damaged = [_damaged(good, chance) for _ in range(60)]
        reply = detect(stub, *damaged, good)
        assert len(reply.results) == 61
        assert reply.results[-1].detections.detections[0].label == "red"
        for result in reply.results:
            if result.WhichOneof("result") == "error":
                assert error_from_status(result.error).reason in {
                    "INVALID_CONTENT",
                    "UNSUPPORTED_MEDIA",
                    "LIMIT_EXCEEDED",
                }


def _damaged(data: bytes, chance: random.Random) -> bytes:
    """Change some bytes, or leave out the end."""
    changed = bytearray(data[: chance.choice([len(data), chance.randrange(1, len(data))])])
    for _ in range(chance.randrange(1, 6)):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def test_more_documents_than_are_encoded_at_once_have_the_same_scores(
    stub: EncoderServiceStub,
) -> None:
    texts = [f"document {index % 7} about things" for index in range(300)]
    reply = stub.Rerank(
        pb.RerankRequest(
            encoder="encoders/minilm-l6-v2",
            query=Content(text="document 3"),
            documents=[Content(text=each) for each in texts],
        )
    )
    scores = np.array([each.document.score for each in reply.results])
    assert len(scores) == 300
    for number in range(7):
        assert np.ptp(scores[number::7]) < 1e-5
    assert scores.argmax() % 7 == 3


def rows_of(encoder: Encoder, items: Sequence[Item]) -> list[Row]:
    prepared = encoder.prepare(items)
    assert all(isinstance(each, Prepared) for each in prepared), prepared
    return [row for each in prepared if isinstance(each, Prepared) for row in each.rows]


def test_vectors_and_tokens_are_the_same_alone_and_in_company(loaded: dict[str, Encoder]) -> None:
    encoder = loaded["minilm-l6-v2"]
    texts = ["a cat", "a much longer text about nothing in particular", "stocks fell"]
    items = [
        Item(TextContent(text), operation=operation)
        for text in texts
        for operation in (Operation.ENCODE, Operation.RERANK)
    ]
    rows = rows_of(encoder, items)
    for row, made in zip(rows, encoder.encode(rows), strict=True):
        (alone,) = encoder.encode([row])
        assert made.shape == alone.shape
        assert np.abs(made - alone).max() < 1e-5


def photo(name: str) -> Item:
    pixels: NDArray[np.uint8] = getattr(data, name)()
    return Item(ImageContent(as_png(np.asarray(Image.fromarray(pixels)))))


def test_words_find_photos(loaded: dict[str, Encoder]) -> None:
    encoder = loaded["conse"]
    pictures = np.stack(encoder.encode(rows_of(encoder, [photo(name) for name in PHOTOS])))
    words = ["a cat", "a cup of coffee"]
    texts = np.stack(encoder.encode(rows_of(encoder, [Item(TextContent(each)) for each in words])))
    assert (texts @ pictures.T).argmax(axis=1).tolist() == [1, 2]


def test_the_bridge_takes_both_in_one_batch(loaded: dict[str, Encoder]) -> None:
    encoder = loaded["conse"]
    items = [Item(TextContent("a cat")), photo("chelsea"), Item(TextContent("x " * 20))]
    rows = rows_of(encoder, items)
    together = encoder.encode(rows)
    for row, made in zip(rows, together, strict=True):
        assert np.abs(made - encoder.encode([row])[0]).max() < 1e-5
    assert np.allclose(np.linalg.norm(np.stack(together), axis=1), 1, atol=1e-5)
