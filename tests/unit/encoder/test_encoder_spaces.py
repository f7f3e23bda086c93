"""Encoders of one space must make vectors that can be compared."""

from collections.abc import Callable
from typing import Any, cast

import pytest

from lookalike_common.errors import EncoderNotReadyError
from lookalike_encoder.batching import Batcher
from lookalike_encoder.manifest import Manifest
from lookalike_encoder.registry import Registry, State

MakeManifest = Callable[..., Manifest]


def ready_registry(manifest: Manifest) -> Registry:
    registry = Registry([manifest])
    (slot,) = registry.slots()
    slot.state, slot.batcher = State.READY, cast("Batcher", object())
    return registry


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dimensions": 16}, r"16 dimensions.*fake@1, in the same space fake@1, of 8 dimensions"),
        ({"metric": "euclidean"}, r"euclidean.*cosine"),
        ({"metric": "hamming", "vector_kind": "binary"}, r"binary.*dense"),
    ],
)
def test_another_kind_of_vector_is_refused(
    make_manifest: MakeManifest, changes: dict[str, Any], said: str
) -> None:
    registry = ready_registry(make_manifest())
    with pytest.raises(EncoderNotReadyError, match=said):
        registry.check_space(make_manifest(name="other", **changes))


def test_the_same_kind_and_other_spaces_are_welcome(make_manifest: MakeManifest) -> None:
    registry = ready_registry(make_manifest())
    registry.check_space(make_manifest(name="other"))
    registry.check_space(make_manifest(name="other", space="other@1", dimensions=16))
    registry.check_space(make_manifest(dimensions=16))  # takes the place of the one that is there
