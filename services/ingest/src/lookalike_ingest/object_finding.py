"""Objects in pictures, as the encoder service's detectors find them."""

from collections.abc import Mapping, Sequence
from functools import partial

from lookalike_common.errors import LookalikeError
from lookalike_ingest.batches.bisection import Bisection
from lookalike_ingest.batches.patience import Patience
from lookalike_ingest.encoding import Content, Encoder, EncoderFacts, FoundObject
from lookalike_ingest.job import ImageOptions, SplitterOptions
from lookalike_ingest.loop_calls import LoopCalls


class ObjectFinder:
    """Asks detectors on behalf of one batch. Blocks: call it in a thread, never in the loop."""

    def __init__(
        self,
        encoder: Encoder,
        patience: Patience,
        calls: LoopCalls,
        facts: Mapping[str, EncoderFacts],
    ) -> None:
        self._encoder = encoder
        self._patience = patience
        self._calls = calls
        self._facts = facts

    def identity(self, options: ImageOptions) -> str:
        """Return what decides which objects are found: the model, and how sure it has to be."""
        if not options.detector:
            return ""
        return f"{self._facts[options.detector].fingerprint}>{options.min_score:g}"

    def find(self, picture: Content, options: ImageOptions) -> Sequence[FoundObject]:
        """Return the objects in a picture, best first; waits while the encoder is away.

        Raises what the detector says about the picture.
        """
        found = self._calls.call(partial(self._find, picture, options))
        if isinstance(found, LookalikeError):
            raise found
        return found

    async def _find(
        self, picture: Content, options: ImageOptions
    ) -> Sequence[FoundObject] | LookalikeError:
        async def call(
            pictures: Sequence[Content],
        ) -> Sequence[Sequence[FoundObject] | LookalikeError]:
            return [
                await self._encoder.detect(options.detector, each, min_score=options.min_score)
                for each in pictures
            ]

        describe = partial(self._encoder.describe, options.detector, fresh=True)
        bisection = Bisection("encoder", self._patience, check_alive=describe)
        (found,) = await bisection.call([picture], call)
        return found


def detectors_of(options: SplitterOptions) -> frozenset[str]:
    """Return the detectors that a job asks for, by name."""
    return frozenset({options.image.detector, options.video.frames.detector} - {""})
