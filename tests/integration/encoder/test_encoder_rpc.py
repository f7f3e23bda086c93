"""Every rpc against a real server on real models: requests, outcomes, codes, reasons, fields."""

import urllib.request
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import grpc
import numpy as np
import pytest
from PIL import Image
from pydantic import ByteSize
from skimage import data

from lookalike.encoder.v1 import encoder_pb2, encoder_service_pb2_grpc
from lookalike.encoder.v1 import encoder_service_pb2 as pb
from lookalike.type.v1 import content_pb2, segment_pb2, server_info_service_pb2_grpc, vector_pb2
from lookalike.type.v1 import server_info_service_pb2 as info_pb
from lookalike_common.errors import Code
from lookalike_common.status import error_from_rpc, error_from_status
from lookalike_encoder.catalogue import discover
from tests.support.encoders import default_set

TEXT, IMAGE = "encoders/minilm-l6-v2", "encoders/efficientnet-lite0"
Stub = encoder_service_pb2_grpc.EncoderServiceStub
Content = content_pb2.Content


def request(encoder: str, *contents: Content, **fields: Any) -> pb.EncodeRequest:
    items = [pb.EncodeItem(content=content) for content in contents]
    return pb.EncodeRequest(encoder=encoder, items=items, **fields)


def texts(*values: str, **fields: Any) -> pb.EncodeRequest:
    return request(TEXT, *(Content(text=value) for value in values), **fields)


def vectors(result: pb.EncodeResult) -> np.ndarray:
    assert result.WhichOneof("result") == "item", result
    return np.stack([np.frombuffer(each.dense.data, "<f4") for each in result.item.vectors])


def picture(name: str = "chelsea") -> Image.Image:
    return Image.fromarray(getattr(data, name)())


def photo(name: str = "chelsea", file_format: str = "JPEG", **options: Any) -> bytes:
    buffer = BytesIO()
    picture(name).save(buffer, file_format, **options)
    return buffer.getvalue()


def test_encoders_are_listed_by_name(stub: Stub) -> None:
    listed = stub.ListEncoders(pb.ListEncodersRequest()).encoders
    names = [each.name for each in listed]
    assert names == sorted(names)
    assert all(each.state == encoder_pb2.Encoder.STATE_READY for each in listed)
    dimensions = {each.name: each.dimensions for each in listed}
    assert (dimensions[f"{IMAGE}@1"], dimensions[f"{TEXT}@1"]) == (1280, 384)


def test_listings_are_paged(stub: Stub) -> None:
    everything = [each.name for each in stub.ListEncoders(pb.ListEncodersRequest()).encoders]
    paged, token = [], ""
    for _ in everything:
        page = stub.ListEncoders(pb.ListEncodersRequest(page_size=1, page_token=token))
        token = page.next_page_token
        paged += [each.name for each in page.encoders]
    assert paged == everything
    assert not token


@pytest.mark.parametrize("name", [TEXT, f"{TEXT}@1"])
def test_replies_carry_the_version(stub: Stub, name: str) -> None:
    assert stub.GetEncoder(pb.GetEncoderRequest(name=name)).name == f"{TEXT}@1"
    reply = stub.Encode(request(name, Content(text="words")))
    assert reply.encoder == f"{TEXT}@1"
    assert reply.fingerprint == discover().find("minilm-l6-v2").fingerprint


def test_texts_become_unit_vectors(stub: Stub) -> None:
    reply = stub.Encode(texts("a cat", "a dog"))
    for result in reply.results:
        (vector,) = vectors(result)
        assert vector.shape == (384,)
        assert np.isclose(np.linalg.norm(vector), 1, atol=1e-5)


def test_readable_vectors_are_the_packed_ones(stub: Stub) -> None:
    packed = stub.Encode(texts("a cat"))
    readable = stub.Encode(texts("a cat", vector_format=vector_pb2.VECTOR_FORMAT_VALUES))
    values = readable.results[0].item.vectors[0].dense.values
    assert np.allclose(values, vectors(packed.results[0])[0], atol=1e-6)


def test_long_texts_are_truncated_and_say_so(stub: Stub) -> None:
    reply = stub.Encode(texts("short", "long " * 500))
    assert [each.item.truncated for each in reply.results] == [False, True]


def test_large_requests_are_split_and_answered_in_order(stub: Stub) -> None:
    words = [f"{'the number ' * (index % 7)}{index}" for index in range(300)]
    reply = stub.Encode(texts(*words, priority=pb.PRIORITY_BULK))
    assert len(reply.results) == 300
    for index in (0, 1, 150, 299):
        alone = stub.Encode(texts(words[index]))
        assert np.allclose(vectors(reply.results[index]), vectors(alone.results[0]), atol=1e-5)


def test_a_picture_and_its_jpeg_copy_lie_close(stub: Stub) -> None:
    reply = stub.Encode(
        request(
            IMAGE,
            Content(image=photo(file_format="PNG")),
            Content(image=photo(quality=60)),
            Content(image=photo("coffee")),
        )
    )
    original, copy, other = (vectors(result)[0] for result in reply.results)
    assert original @ copy > 0.9
    assert original @ other < 0.6


def test_regions_get_a_vector_each_from_one_decoding(stub: Stub) -> None:
    whole = picture()
    width, height = whole.size
    boxes = [(0, 0, width, height), (10, 20, 200, 150)]
    item = pb.EncodeItem(
        content=Content(image=photo(file_format="PNG")),
        regions=[segment_pb2.BoundingBox(x=x, y=y, width=w, height=h) for x, y, w, h in boxes],
    )
    (result,) = stub.Encode(pb.EncodeRequest(encoder=IMAGE, items=[item])).results

    part = whole.crop((10, 20, 210, 170))
    raw = content_pb2.RawImage(data=part.tobytes(), width=200, height=150)
    alone = stub.Encode(
        request(IMAGE, Content(image=photo(file_format="PNG")), Content(raw_image=raw))
    )
    assert np.allclose(vectors(result)[0], vectors(alone.results[0])[0], atol=1e-5)
    assert np.allclose(vectors(result)[1], vectors(alone.results[1])[0], atol=1e-5)


def test_timings_are_given_if_asked_for(stub: Stub) -> None:
    reply = stub.Encode(texts("a", "b", include_timings=True))
    assert [each.stage for each in reply.timings] == ["queue", "preprocess", "inference"]
    assert reply.timings[2].duration.ToMicroseconds() > 0
    assert reply.batch_size == 2
    assert not stub.Encode(texts("a")).timings


@pytest.mark.parametrize(
    ("message", "code", "reason", "field"),
    [
        (request("encoders/other", Content(text="a")), "NOT_FOUND", "RESOURCE_NOT_FOUND", ""),
        (request(f"{TEXT}@9", Content(text="a")), "NOT_FOUND", "RESOURCE_NOT_FOUND", ""),
        (request("", Content(text="a")), "INVALID_ARGUMENT", "INVALID_FIELD", "encoder"),
        (request("Not A Name", Content(text="a")), "INVALID_ARGUMENT", "INVALID_FIELD", "encoder"),
        (request(TEXT), "INVALID_ARGUMENT", "INVALID_FIELD", "items"),
        (texts(""), "INVALID_ARGUMENT", "INVALID_FIELD", "items[0].content.text"),
        (texts(*["a"] * 1025), "INVALID_ARGUMENT", "INVALID_FIELD", "items"),
        (
            texts("a", expected_fingerprint="f" * 64),
            "FAILED_PRECONDITION",
            "ENCODER_MISMATCH",
            "expected_fingerprint",
        ),
    ],
)
def test_requests_that_cannot_be_served(
    stub: Stub, message: pb.EncodeRequest, code: str, reason: str, field: str
) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        stub.Encode(message)
    error = error_from_rpc(refused.value)
    assert (error.code.name, error.reason, error.field) == (code, reason, field)


def test_the_expected_fingerprint_is_accepted(stub: Stub) -> None:
    fingerprint = stub.GetEncoder(pb.GetEncoderRequest(name=TEXT)).fingerprint
    assert stub.Encode(texts("a", expected_fingerprint=fingerprint)).fingerprint == fingerprint


def bomb() -> bytes:
    """Make a small PNG that declares 60,000 by 60,000 pixels."""
    content = bytearray(photo(file_format="PNG"))
    content[16:24] = (60_000).to_bytes(4) * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4)
    return bytes(content)


BAD_ITEMS: list[tuple[str, pb.EncodeItem, str, str]] = [
    (
        "garbage",
        pb.EncodeItem(content=Content(image=b"hello" * 50)),
        "UNSUPPORTED_MEDIA",
        "content",
    ),
    (
        "truncated",
        pb.EncodeItem(content=Content(image=photo()[:-500])),
        "INVALID_CONTENT",
        "content",
    ),
    ("bomb", pb.EncodeItem(content=Content(image=bomb())), "LIMIT_EXCEEDED", "content"),
    ("text", pb.EncodeItem(content=Content(text="a cat")), "WRONG_MODALITY", "content"),
    ("sound", pb.EncodeItem(content=Content(audio=b"RIFF")), "WRONG_MODALITY", "content"),
    (
        "asset",
        pb.EncodeItem(content=Content(asset=f"assets/{'0' * 64}")),
        "UNSUPPORTED_MEDIA",
        "content.asset",
    ),
    (
        "pixels",
        pb.EncodeItem(
            content=Content(raw_image=content_pb2.RawImage(data=b"123", width=9, height=9))
        ),
        "INVALID_CONTENT",
        "content",
    ),
    (
        "region",
        pb.EncodeItem(
            content=Content(image=photo()),
            regions=[segment_pb2.BoundingBox(x=9000, y=0, width=10, height=10)],
        ),
        "INVALID_CONTENT",
        "regions[0]",
    ),
]


@pytest.mark.parametrize(
    ("item", "reason", "field"),
    [each[1:] for each in BAD_ITEMS],
    ids=[each[0] for each in BAD_ITEMS],
)
def test_a_bad_item_fails_alone_with_its_place(
    stub: Stub, item: pb.EncodeItem, reason: str, field: str
) -> None:
    good = pb.EncodeItem(content=Content(image=photo()))
    reply = stub.Encode(pb.EncodeRequest(encoder=IMAGE, items=[good, item, good]))

    assert np.array_equal(vectors(reply.results[0]), vectors(reply.results[2]))
    error = error_from_status(reply.results[1].error)
    assert (error.code, error.reason) == (Code.INVALID_ARGUMENT, reason)
    assert error.field == f"items[1].{field}"


def test_a_request_of_bad_items_only_is_answered(stub: Stub) -> None:
    reply = stub.Encode(request(IMAGE, Content(text="a"), Content(text="b"), include_timings=True))
    assert [each.WhichOneof("result") for each in reply.results] == ["error", "error"]


@pytest.mark.parametrize(
    "encoded",
    [
        photo(file_format="PNG"),
        photo(file_format="WEBP"),
        photo(file_format="GIF"),
        photo(file_format="BMP"),
        photo(file_format="TIFF"),
    ],
    ids=["png", "webp", "gif", "bmp", "tiff"],
)
def test_formats_agree(stub: Stub, encoded: bytes) -> None:
    reply = stub.Encode(request(IMAGE, Content(image=photo(quality=95)), Content(image=encoded)))
    jpeg, other = (vectors(result)[0] for result in reply.results)
    assert jpeg @ other > 0.9


def test_streams_answer_in_order_and_need_the_name_once(stub: Stub) -> None:
    def requests() -> Iterator[pb.EncodeRequest]:
        for number in range(40):
            message = texts(*(f"number {number} {index}" for index in range(number % 5 + 1)))
            if number:
                message.encoder = ""
            yield message

    replies = list(stub.StreamEncode(requests(), timeout=60))

    assert [len(reply.results) for reply in replies] == [number % 5 + 1 for number in range(40)]
    alone = stub.Encode(texts("number 39 4"))
    assert np.allclose(vectors(replies[39].results[4]), vectors(alone.results[0]), atol=1e-5)


def test_a_wrong_request_ends_a_stream_after_what_came_before(stub: Stub) -> None:
    replies = stub.StreamEncode(
        iter([texts("a"), texts("b"), request("encoders/other", Content(text="c"))])
    )
    assert len([next(replies), next(replies)]) == 2
    with pytest.raises(grpc.RpcError) as ended:
        next(replies)
    assert error_from_rpc(ended.value).reason == "RESOURCE_NOT_FOUND"


def test_a_stream_must_begin_with_a_name(stub: Stub) -> None:
    with pytest.raises(grpc.RpcError) as ended:
        list(stub.StreamEncode(iter([request("", Content(text="a"))])))
    assert error_from_rpc(ended.value).field == "encoder"


def test_callers_may_leave_a_stream(stub: Stub) -> None:
    long = texts(*["long " * 300] * 16, priority=pb.PRIORITY_BULK)
    replies = stub.StreamEncode(iter([long] * 20))
    replies.cancel()
    assert stub.Encode(texts("after"), timeout=20).results[0].item.vectors


def test_server_info_tells_limits_and_fingerprints(port: int) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = server_info_service_pb2_grpc.ServerInfoServiceStub(channel)
        info = stub.GetServerInfo(info_pb.GetServerInfoRequest())
    assert info.name == "servers/encoder"
    assert dict(info.encoder_fingerprints) == {
        f"encoders/{each.versioned_name}": each.fingerprint for each in default_set()
    }
    assert info.limits["max_batch_items"] == 1024
    assert "cpu" in info.features or "cuda" in info.features


def test_deadlines_end_a_call(stub: Stub) -> None:
    with pytest.raises(grpc.RpcError) as ended:
        stub.Encode(texts(*["long " * 300] * 64), timeout=0.2)
    assert error_from_rpc(ended.value).code is Code.DEADLINE_EXCEEDED


def test_a_full_queue_says_when_to_come_again(serve: Callable[..., Any]) -> None:
    from lookalike_encoder.settings import QueueSettings

    with (
        serve(queue=QueueSettings(max_items=1)) as port,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        stub = Stub(channel)
        # A stream waits for room, so it gets in, whichever request comes first.
        busy = stub.StreamEncode(iter([texts(*["long " * 300] * 64)]))
        refused = None
        while refused is None and busy.is_active():
            try:
                stub.Encode(texts("me too"))
            except grpc.RpcError as error:
                refused = error_from_rpc(error)
        assert refused is not None
        assert refused.reason == "OVERLOADED"
        assert refused.retry_after
        streamed = list(stub.StreamEncode(iter([texts("I wait")] * 3), timeout=60))
        assert len(streamed) == 3, "a stream waits instead"
        assert len(list(busy)) == 1


def test_metrics_tell_queue_batches_and_seconds(serve: Callable[..., Any]) -> None:
    from lookalike_common.testing import free_port
    from lookalike_encoder.settings import EncoderServerSettings

    metrics_port = free_port()
    settings = EncoderServerSettings(port=0, metrics_port=metrics_port)
    with (
        serve(server=settings.model_copy(update={"drain_delay": settings.drain_delay * 0})) as port,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        Stub(channel).Encode(texts("one", "two"))
        with urllib.request.urlopen(f"http://127.0.0.1:{metrics_port}/metrics") as page:
            lines = page.read().decode()
    label = '{encoder="minilm-l6-v2@1"}'
    assert f"lookalike_encoder_batch_rows_sum{label} 2.0" in lines
    assert f"lookalike_encoder_queue_items{label} 0.0" in lines
    assert f"lookalike_encoder_inference_seconds_count{label} 1.0" in lines
    assert f"lookalike_encoder_queue_seconds_count{label} 1.0" in lines
    assert f"lookalike_encoder_inference_count_total{label} 2.0" in lines
    assert f"lookalike_encoder_execution_count_total{label} 1.0" in lines


def test_results_are_kept_where_a_size_is_set(serve: Callable[..., Any]) -> None:
    from lookalike_encoder.settings import CacheSettings

    with (
        serve(cache=CacheSettings(max_bytes=ByteSize(1 << 20))) as port,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        request = texts("one", "two")
        request.include_timings = True
        first, again = Stub(channel).Encode(request), Stub(channel).Encode(request)
    assert first.batch_size == 2
    assert again.batch_size == 0
    assert list(again.results) == list(first.results)
