"""Which encoders are served, and what is said about the others."""

from collections.abc import Callable
from typing import Any

import pytest

from lookalike_common.errors import (
    EncoderMismatchError,
    EncoderNotReadyError,
    InternalError,
    NotFoundError,
)
from lookalike_encoder.lifecycle import Lifecycle
from lookalike_encoder.manifest import Manifest
from lookalike_encoder.precision import Loaded
from lookalike_encoder.registry import Registry, State

MakeManifest = Callable[..., Manifest]


def _nothing() -> None:
    """Do nothing when something changes."""


class Source:
    """Manifests of which some cannot be loaded."""

    def __init__(self, make_encoder: Callable[[], Any]) -> None:
        self._make_encoder = make_encoder

    def load(self, manifest: Manifest) -> Any:
        if manifest.name == "broken":
            raise EncoderNotReadyError("its vectors are wrong")
        if manifest.name == "weird":
            raise ZeroDivisionError
        return Loaded(self._make_encoder())

    def stamp(self, manifest: Manifest) -> object:
        return manifest.versioned_name

    def wanted(self) -> list[Manifest]:
        return []

    def find(self, name: str) -> Manifest:
        raise NotFoundError(name)

    def reread(self, manifest: Manifest) -> Manifest:
        return manifest


@pytest.fixture
async def registry(make_manifest: MakeManifest, make_encoder: Any, make_batcher: Any) -> Any:
    manifests = [make_manifest(name=name) for name in ("weird", "broken", "fine")]
    manifests.insert(0, make_manifest(name="fine", version="2"))
    registry = Registry(manifests)
    async with Lifecycle(
        registry, Source(make_encoder), make_batcher, _nothing, _nothing
    ) as lifecycle:
        await lifecycle.start()
        yield registry


def test_names_lead_to_the_newest_version(registry: Registry) -> None:
    assert registry.find("encoders/fine").manifest.version == "2"
    assert registry.find("encoders/fine@1").manifest.version == "1"
    assert [slot.manifest.versioned_name for slot in registry.slots()] == [
        "broken@1",
        "fine@1",
        "fine@2",
        "weird@1",
    ]


async def test_names_without_version_lead_to_what_is_loaded(
    make_manifest: MakeManifest, make_encoder: Any, make_batcher: Any
) -> None:
    registry = Registry([make_manifest(version=each) for each in ("9", "10")])
    async with Lifecycle(
        registry, Source(make_encoder), make_batcher, _nothing, _nothing
    ) as lifecycle:
        assert registry.find("encoders/fake").manifest.version == "10"
        await lifecycle.start()
        unloaded = await lifecycle.unload("encoders/fake")
        assert (unloaded.manifest.version, unloaded.state) == ("10", State.UNLOADED)
        assert registry.ready("encoders/fake").manifest.version == "9"
        with pytest.raises(EncoderNotReadyError, match="unloaded"):
            registry.ready("encoders/fake@10")


@pytest.mark.parametrize("name", ["encoders/other", "encoders/fine@3", "encoders/"])
def test_unknown_names_are_not_found(registry: Registry, name: str) -> None:
    with pytest.raises(NotFoundError) as error:
        registry.find(name)
    assert error.value.resource_name == name


def test_one_that_fails_is_refused_and_the_others_served(registry: Registry) -> None:
    states = {slot.manifest.versioned_name: slot.state for slot in registry.slots()}
    assert states == {
        "broken@1": State.FAILED,
        "fine@1": State.READY,
        "fine@2": State.READY,
        "weird@1": State.FAILED,
    }
    with pytest.raises(EncoderNotReadyError, match="its vectors are wrong"):
        registry.ready("encoders/broken")
    assert isinstance(registry.find("encoders/weird").error, InternalError)
    assert set(registry.fingerprints()) == {"encoders/fine@1", "encoders/fine@2"}
    assert registry.devices() == {"cpu"}


def test_an_encoder_is_not_ready_before_it_is_loaded(make_manifest: MakeManifest) -> None:
    with pytest.raises(EncoderNotReadyError, match="loading"):
        Registry([make_manifest()]).ready("encoders/fake")


def test_callers_are_told_of_another_fingerprint(registry: Registry) -> None:
    fingerprint = registry.find("encoders/fine").manifest.fingerprint
    assert registry.ready("encoders/fine", fingerprint).manifest.version == "2"
    with pytest.raises(EncoderMismatchError) as error:
        registry.ready("encoders/fine", "f" * 64)
    assert fingerprint in str(error.value)
    assert "f" * 64 in str(error.value)
