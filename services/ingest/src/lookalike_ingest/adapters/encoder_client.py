"""The encoder service, called as bulk work: whoever waits for an answer goes first there."""

import time
from collections.abc import Sequence

import grpc.aio

from lookalike.encoder.v1 import encoder_pb2, encoder_service_pb2, encoder_service_pb2_grpc
from lookalike.type.v1 import content_pb2
from lookalike_common.errors import InternalError, LookalikeError
from lookalike_ingest.adapters.grpc_calls import error_of_one, errors_translated
from lookalike_ingest.encoding import (
    Content,
    EncoderFacts,
    FoundObject,
    PackedVector,
    RawPicture,
    RawSound,
)
from lookalike_ingest.media_types import Modality
from lookalike_ingest.segments import Box

_FACTS_SECONDS = 60.0
_DEFAULT_ITEMS = 32
_MODALITIES = {
    content_pb2.MODALITY_TEXT: Modality.TEXT,
    content_pb2.MODALITY_IMAGE: Modality.IMAGE,
    content_pb2.MODALITY_AUDIO: Modality.AUDIO,
    content_pb2.MODALITY_VIDEO: Modality.VIDEO,
    content_pb2.MODALITY_MOLECULE: Modality.MOLECULE,
    content_pb2.MODALITY_SEQUENCE: Modality.SEQUENCE,
}


class EncoderClient:
    """An `Encoder` over gRPC; facts are remembered for a minute."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = encoder_service_pb2_grpc.EncoderServiceStub(channel)
        self._facts: dict[str, tuple[float, EncoderFacts]] = {}

    async def describe(self, encoder: str, *, fresh: bool = False) -> EncoderFacts:
        """Return an encoder's facts, asked for anew if `fresh`."""
        known = self._facts.get(encoder)
        if known is not None and not fresh and time.monotonic() - known[0] < _FACTS_SECONDS:
            return known[1]
        with errors_translated():
            reply = await self._stub.GetEncoder(encoder_service_pb2.GetEncoderRequest(name=encoder))
        facts = _to_facts(reply)
        self._facts[encoder] = (time.monotonic(), facts)
        return facts

    async def encode(
        self, encoder: str, fingerprint: str, contents: Sequence[Content]
    ) -> Sequence[PackedVector | LookalikeError]:
        """Return a vector, or why there is none, for each content in order."""
        request = encoder_service_pb2.EncodeRequest(
            encoder=encoder,
            items=[encoder_service_pb2.EncodeItem(content=_to_content(each)) for each in contents],
            task_type=content_pb2.TASK_TYPE_DOCUMENT,
            priority=encoder_service_pb2.PRIORITY_BULK,
            expected_fingerprint=fingerprint,
        )
        with errors_translated():
            reply = await self._stub.Encode(request)
        if len(reply.results) != len(contents):
            raise InternalError("the encoder answered with another number of results")
        return [_to_vector(result) for result in reply.results]

    async def detect(
        self, encoder: str, picture: Content, *, min_score: float
    ) -> Sequence[FoundObject]:
        """Return the objects in a picture, best first; `min_score` 0 leaves it to the encoder."""
        request = encoder_service_pb2.DetectRequest(
            encoder=encoder,
            contents=[_to_content(picture)],
            min_score=min_score or None,
            priority=encoder_service_pb2.PRIORITY_BULK,
        )
        with errors_translated():
            reply = await self._stub.Detect(request)
        if len(reply.results) != 1:
            raise InternalError("the encoder answered with another number of pictures")
        if reply.results[0].HasField("error"):
            raise error_of_one(reply.results[0].error)
        return [_to_object(each) for each in reply.results[0].detections.detections]


def _to_facts(reply: encoder_pb2.Encoder) -> EncoderFacts:
    limits = reply.limits
    preferred = limits.preferred_items or _DEFAULT_ITEMS
    return EncoderFacts(
        modalities=frozenset(_MODALITIES[each] for each in reply.modalities),
        preferred_items=min(preferred, limits.max_items or preferred),
        min_duration=limits.min_duration.ToTimedelta(),
        max_duration=limits.max_duration.ToTimedelta() or None,
        max_tokens=limits.max_tokens,
        fingerprint=reply.fingerprint,
    )


def _to_content(content: Content) -> content_pb2.Content:
    match content.raw:
        case RawPicture(width, height):
            pixels = content_pb2.RawImage(
                data=content.data,
                width=width,
                height=height,
                pixel_format=content_pb2.RawImage.PIXEL_FORMAT_RGB8,
            )
            return content_pb2.Content(raw_image=pixels)
        case RawSound(sample_rate):
            samples = content_pb2.RawAudio(
                data=content.data,
                sample_rate=sample_rate,
                channels=1,
                sample_format=content_pb2.RawAudio.SAMPLE_FORMAT_S16,
            )
            return content_pb2.Content(raw_audio=samples)
    return _to_plain_content(content)


def _to_plain_content(content: Content) -> content_pb2.Content:
    match content.modality:
        case Modality.IMAGE:
            return content_pb2.Content(image=content.data, media_type=content.media_type)
        case Modality.AUDIO:
            return content_pb2.Content(audio=content.data, media_type=content.media_type)
        case Modality.TEXT:
            return content_pb2.Content(text=content.data.decode())
        case Modality.MOLECULE:
            return content_pb2.Content(smiles=content.data.decode())
        case Modality.SEQUENCE:
            return content_pb2.Content(sequence=content.data.decode())
        case _:
            raise InternalError(f"{content.modality} is never encoded as such")


def _to_vector(result: encoder_service_pb2.EncodeResult) -> PackedVector | LookalikeError:
    if result.HasField("error"):
        return error_of_one(result.error)
    if not result.item.vectors:
        return InternalError("the encoder answered without a vector")
    return result.item.vectors[0].SerializeToString()


def _to_object(found: encoder_service_pb2.Detection) -> FoundObject:
    box = found.box
    return FoundObject(found.label, found.score, Box(box.x, box.y, box.width, box.height))
