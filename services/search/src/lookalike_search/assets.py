"""Contents that are stored assets, turned into their bytes before they are encoded.

An asset is named by the hash of its bytes, so whatever compares contents can compare names; bytes
are only read when a vector has to be made of them. Assets belong to tenants; whose they are is
carried along with the call.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Protocol

from lookalike_common.errors import (
    InvalidContentError,
    LookalikeError,
    UnimplementedError,
    UnsupportedMediaError,
)
from lookalike_search.concurrency import together
from lookalike_search.encoding import Content, ContentKind, EncoderPort
from lookalike_search.model import Task, Vector

_AT_ONCE: Final = 4
"""Assets whose bytes are held at the same time, for one call."""
_MESSAGE_BYTES: Final = 48 * 1024 * 1024
"""Of contents that are encoded in one call; a larger one goes alone."""
_FIELD: Final = "asset"
_TEXTS: Final = frozenset({ContentKind.TEXT, ContentKind.SMILES, ContentKind.SEQUENCE})


class AssetPort(Protocol):
    """The asset service."""

    async def read(self, name: str) -> tuple[ContentKind | None, bytes, str]:
        """Return what an asset is, as far as its bytes tell, its bytes, and its media type.

        Raises `NotFoundError` for another tenant's as well, `LimitExceededError` for one that is
        larger than may be read here, and `BackendUnavailableError`.
        """
        ...


class ResolvingEncoder:
    """An `EncoderPort` that has another one encode the bytes of assets."""

    def __init__(self, encoder: EncoderPort, assets: AssetPort | None) -> None:
        self._encoder = encoder
        self._assets = assets
        self.describe = encoder.describe
        self.rerank = encoder.rerank
        self.match_structure = encoder.match_structure

    async def encode(
        self, encoder: str, fingerprint: str, contents: Sequence[Content], task: Task
    ) -> list[Vector | LookalikeError]:
        """See `EncoderPort`. What is wrong with an asset is an error at `asset`, for itself."""
        stored = [place for place, each in enumerate(contents) if each.kind is ContentKind.ASSET]
        if not stored:
            return await self._encoder.encode(encoder, fingerprint, contents, task)
        given = [place for place in range(len(contents)) if place not in set(stored)]
        made: dict[int, Vector | LookalikeError] = {}
        for places in [given, *_portions(stored)]:
            read = await together([self._resolve(contents[place]) for place in places])
            good: dict[int, Content] = {}
            for place, each in zip(places, read, strict=True):
                if isinstance(each, LookalikeError):
                    made[place] = each
                else:
                    good[place] = each
            for some in _fitting(good):
                answers = await self._encoder.encode(
                    encoder, fingerprint, [good[place] for place in some], task
                )
                made |= dict(zip(some, answers, strict=True))
        return [made[place] for place in range(len(contents))]

    async def _resolve(self, content: Content) -> Content | LookalikeError:
        if content.kind is not ContentKind.ASSET:
            return content
        if self._assets is None:
            return UnimplementedError(
                "no service that keeps assets is configured here; send the bytes", field=_FIELD
            )
        try:
            kind, data, media_type = await self._assets.read(content.data.decode())
        except LookalikeError as error:
            return error
        return _as_content(kind, data, content.media_type or media_type)


def _portions(places: Sequence[int]) -> list[Sequence[int]]:
    return [places[start : start + _AT_ONCE] for start in range(0, len(places), _AT_ONCE)]


def _fitting(contents: Mapping[int, Content]) -> Iterator[list[int]]:
    """Yield the places of contents that go into one message together."""
    some: list[int] = []
    size = 0
    for place, content in contents.items():
        if some and size + len(content.data) > _MESSAGE_BYTES:
            yield some
            some, size = [], 0
        some.append(place)
        size += len(content.data)
    if some:
        yield some


def _as_content(kind: ContentKind | None, data: bytes, media_type: str) -> Content | LookalikeError:
    """Return bytes as what they are, or else as the text that the caller says they are."""
    if kind in {None, ContentKind.TEXT}:  # a PDF holds text, and is none
        kind = ContentKind.TEXT if media_type.startswith("text/") else None
    if kind is None or not data:
        return UnsupportedMediaError(
            f"the asset is {media_type or 'of no known type'}, which cannot be encoded as such",
            field=_FIELD,
        )
    if kind in _TEXTS:
        try:
            data.decode()
        except UnicodeDecodeError:
            return InvalidContentError("the asset's text is not valid UTF-8", field=_FIELD)
    return Content(kind=kind, data=data, media_type=media_type)
