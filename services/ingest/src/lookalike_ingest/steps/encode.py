"""Step 5: vectors for the parts of a batch, from the encoder service.

Requests are as large as the encoder says it likes, and a few are on their way at a time, so that
it never runs dry. Every request names the fingerprint that the collection is bound to.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lookalike_common.errors import LookalikeError, WrongModalityError
from lookalike_ingest.batches.batching import cut
from lookalike_ingest.batches.bisection import Bisection
from lookalike_ingest.batches.patience import Patience
from lookalike_ingest.concurrency import gather_all
from lookalike_ingest.encoding import Content, Encoder, PackedVector
from lookalike_ingest.entities import VectorField
from lookalike_ingest.steps.step import StepError

_IN_FLIGHT = 2


@dataclass(frozen=True, slots=True)
class EncodeInput:
    """Contents, and the fields that need a vector of each."""

    fields: Sequence[VectorField]
    contents: Sequence[Content]


@dataclass(frozen=True, slots=True)
class EncodeOutput:
    """For each content, in order, its vectors by field, or why it has none."""

    results: Sequence[Mapping[str, PackedVector] | LookalikeError]


class EncodeError(StepError):
    """The encoder refused the item."""

    step = "encode"


class EncodeStep:
    """Encodes batches."""

    def __init__(self, encoder: Encoder, max_request_bytes: int) -> None:
        self._encoder = encoder
        self._max_request_bytes = max_request_bytes

    async def run(self, batch: EncodeInput, patience: Patience) -> EncodeOutput:
        """Return vectors. Raises JobFailedError, such as for another fingerprint."""
        by_field = [
            (field.name, await self._encode_field(field, batch.contents, patience))
            for field in batch.fields
        ]
        return EncodeOutput(
            [
                _merge({name: results[index] for name, results in by_field})
                for index in range(len(batch.contents))
            ]
        )

    async def _encode_field(
        self, field: VectorField, contents: Sequence[Content], patience: Patience
    ) -> Sequence[PackedVector | LookalikeError | None]:
        """Return a vector a content; None for those that the field's encoder does not take."""
        facts = await patience.call("encoder", lambda: self._encoder.describe(field.encoder))
        taken = [
            index for index, content in enumerate(contents) if content.modality in facts.modalities
        ]
        results: list[PackedVector | LookalikeError | None] = [None] * len(contents)
        vectors = await self._encode_all(
            field, [contents[index] for index in taken], facts.preferred_items, patience
        )
        for index, vector in zip(taken, vectors, strict=True):
            results[index] = vector
        return results

    async def _encode_all(
        self, field: VectorField, contents: Sequence[Content], size: int, patience: Patience
    ) -> Sequence[PackedVector | LookalikeError]:
        bisection = Bisection(
            "encoder",
            patience,
            check_alive=lambda: self._encoder.describe(field.encoder, fresh=True),
        )
        slots = asyncio.Semaphore(_IN_FLIGHT)

        async def call(items: Sequence[Content]) -> Sequence[PackedVector | LookalikeError]:
            return await self._encoder.encode(field.encoder, field.fingerprint, items)

        async def encode(chunk: Sequence[Content]) -> Sequence[PackedVector | LookalikeError]:
            async with slots:
                return await bisection.call(chunk, call)

        runs = cut([len(each.data) for each in contents], size, self._max_request_bytes)
        parts = await gather_all(encode(contents[run]) for run in runs)
        return [each for part in parts for each in part]


def _merge(
    by_field: Mapping[str, PackedVector | LookalikeError | None],
) -> Mapping[str, PackedVector] | LookalikeError:
    vectors: dict[str, PackedVector] = {}
    for name, result in by_field.items():
        if isinstance(result, LookalikeError):
            return result
        if result is not None:
            vectors[name] = result
    return vectors or WrongModalityError("no encoder of the collection takes this content")
