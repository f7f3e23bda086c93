"""Step 3: what the bytes are, whether the collection takes them, and whether they can be read.

A still image is handed on as it is: its header is checked here, and the encoder decodes it. Kinds
that the collection does not take are skipped, unless the caller or the file's name promised one.
"""

from dataclasses import dataclass

from lookalike_common.errors import (
    InvalidContentError,
    LookalikeError,
    UnsupportedMediaError,
    WrongModalityError,
)
from lookalike_ingest.asset_store import asset_name
from lookalike_ingest.encoding import Content
from lookalike_ingest.media_types import Modality, claimed_modality, detect_media
from lookalike_ingest.steps.fetch import FetchOutput
from lookalike_ingest.steps.step import ItemSkippedError, StepError
from lookalike_media import ImageLimits, probe_image


@dataclass(frozen=True, slots=True)
class DecodeInput:
    """Bytes, and what the collection can use."""

    fetched: FetchOutput
    modalities: frozenset[Modality]


@dataclass(frozen=True, slots=True)
class DecodeOutput:
    """Content that is ready to be split."""

    content: Content
    text: str = ""
    """What keyword search reads."""


class DecodeError(StepError):
    """The bytes are not what they should be."""

    step = "decode"


class DecodeStep:
    """Checks bytes. Blocks: call it in a thread."""

    def __init__(self, limits: ImageLimits) -> None:
        self._limits = limits

    def run(self, item: DecodeInput) -> DecodeOutput:
        """Return content. Raises DecodeError, or ItemSkippedError for what is left out."""
        try:
            return self._decode(item.fetched, item.modalities)
        except LookalikeError as error:
            asset = asset_name(item.fetched.sha256) if item.fetched.stored else ""
            raise DecodeError(error, asset=asset) from error

    def _decode(self, fetched: FetchOutput, modalities: frozenset[Modality]) -> DecodeOutput:
        detected = detect_media(fetched.data)
        modality = fetched.given_as or detected.modality or claimed_modality(fetched.name)
        if modality not in modalities:
            _leave_out(fetched, modality, modalities)
        match modality:
            case Modality.IMAGE:
                probe_image(fetched.data, self._limits)
                return DecodeOutput(Content(modality, fetched.data, detected.name))
            case Modality.TEXT | Modality.MOLECULE | Modality.SEQUENCE if fetched.given_as:
                text = _text_of(fetched.data)
                return DecodeOutput(Content(modality, fetched.data), text)
            case _:
                raise ItemSkippedError


def _leave_out(fetched: FetchOutput, modality: Modality | None, taken: frozenset[Modality]) -> None:
    """Skip what was found; refuse what was given by name."""
    takes = ", ".join(sorted(taken)) or "nothing"
    if fetched.given_as is not None:
        raise WrongModalityError(f"the collection takes {takes}, not {modality}")
    if fetched.stored:
        raise UnsupportedMediaError(f"these bytes are no {takes} that can be read here")
    raise ItemSkippedError


def _text_of(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InvalidContentError("the text is not valid UTF-8") from error
