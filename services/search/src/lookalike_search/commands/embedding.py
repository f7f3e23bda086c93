"""Makes the vectors of entities that are written."""

from __future__ import annotations

from collections.abc import Sequence

from lookalike_common.errors import LookalikeError
from lookalike_search.concurrency import together
from lookalike_search.encoding import EncoderPort
from lookalike_search.model import Task, Vector
from lookalike_search.vectors import check_vector
from lookalike_search.writing import Encoding


async def embed(encoder: EncoderPort, wanted: Sequence[Encoding]) -> list[Vector | LookalikeError]:
    """Return a vector for each, in order, by one call for each vector field.

    What cannot be encoded is an error at its source; raises what concerns all of a call.
    """
    made: dict[int, Vector | LookalikeError] = {}

    async def embed_field(name: str) -> None:
        places = [place for place, each in enumerate(wanted) if each.field.name == name]
        field = wanted[places[0]].field
        answers = await encoder.encode(
            field.encoder,
            field.fingerprint,
            [wanted[place].content for place in places],
            Task.DOCUMENT,
        )
        for place, answer in zip(places, answers, strict=True):
            made[place] = _checked(answer, wanted[place])

    await together(
        [embed_field(name) for name in dict.fromkeys(each.field.name for each in wanted)]
    )
    return [made[place] for place in range(len(wanted))]


def _checked(answer: Vector | LookalikeError, wanted: Encoding) -> Vector | LookalikeError:
    """Return a vector that its field can take, or what is wrong, at the source."""
    if isinstance(answer, LookalikeError):
        return answer.at(wanted.source)
    try:
        return check_vector(answer, wanted.field, wanted.source)
    except LookalikeError as error:
        return error
