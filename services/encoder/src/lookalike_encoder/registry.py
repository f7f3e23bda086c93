"""The encoders of this process: which there are, which are ready, and why the others are not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from lookalike_common.errors import (
    EncoderMismatchError,
    EncoderNotReadyError,
    LookalikeError,
    NotFoundError,
    WrongOperationError,
)
from lookalike_encoder.batching import Batcher
from lookalike_encoder.content import Operation
from lookalike_encoder.leases import Leases
from lookalike_encoder.manifest import Manifest, version_key

_PREFIX = "encoders/"


class State(Enum):
    """Whether an encoder can be used."""

    UNLOADED = "unloaded"
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"


@dataclass(slots=True)
class Slot:
    """One encoder of this process."""

    manifest: Manifest
    state: State = State.LOADING
    error: LookalikeError | None = None
    """Why the last load failed; after a failed reload it is READY nevertheless."""
    device: str = ""
    """Where it runs, once it is ready."""
    variant: str = ""
    """What it was loaded from, such as `fp16`, once it is ready; empty: its canonical files."""
    variant_error: LookalikeError | None = None
    """Why it is not the variant for its device."""
    operations: frozenset[Operation] = frozenset({Operation.ENCODE})
    """What can be asked of it, once it is ready."""
    labels: tuple[str, ...] = ()
    """What it can detect, once it is ready."""
    batcher: Batcher | None = None
    """What encodes, once it is ready."""
    leases: Leases = field(default_factory=Leases)
    """The calls that use the batcher."""
    stamp: object = None
    """What its files were when it was loaded."""
    changing: bool = False
    """Whether it is being loaded, unloaded or reloaded."""

    @property
    def name(self) -> str:
        """Return `encoders/{name}@{version}`."""
        return f"{_PREFIX}{self.manifest.versioned_name}"


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class ReadyEncoder:
    """An encoder that can be used for as long as this is referred to, whatever is reloaded."""

    manifest: Manifest
    batcher: Batcher
    labels: tuple[str, ...] = ()
    """What it can detect."""


class Registry:
    """The encoders that this process serves, or tries to."""

    def __init__(self, served: Iterable[Manifest]) -> None:
        """Take the manifests of what is about to be loaded."""
        self._slots: dict[str, Slot] = {}
        for manifest in served:
            self.add(Slot(manifest))

    def slots(self) -> list[Slot]:
        """Return all encoders, by name and version, a newer version after the older one."""
        return list(self._slots.values())

    def add(self, slot: Slot) -> None:
        """Take one more encoder."""
        slots = [*self._slots.values(), slot]
        slots.sort(key=lambda each: version_key(each.manifest))
        self._slots = {each.manifest.versioned_name: each for each in slots}

    def remove(self, slot: Slot) -> None:
        """Forget an encoder."""
        del self._slots[slot.manifest.versioned_name]

    def get(self, versioned_name: str) -> Slot | None:
        """Return the slot of `name@version`, if there is one."""
        return self._slots.get(versioned_name)

    def find(self, name: str) -> Slot:
        """Return the slot of `encoders/{name}@{version}` or `encoders/{name}`.

        Without a version it is the newest that is ready, or the newest where none is. Raises
        NotFoundError.
        """
        wanted, _, version = name.removeprefix(_PREFIX).partition("@")
        found = [
            slot
            for slot in self._slots.values()
            if slot.manifest.name == wanted and version in {"", slot.manifest.version}
        ]
        if not found:
            raise NotFoundError(
                f"{name} is not installed here",
                resource_type="lookalike/Encoder",
                resource_name=name,
            )
        ready = [slot for slot in found if slot.state is State.READY]
        return (ready or found)[-1]

    def ready(
        self,
        name: str,
        expected_fingerprint: str = "",
        operation: Operation = Operation.ENCODE,
    ) -> ReadyEncoder:
        """Return an encoder to be used for an operation.

        Raises NotFoundError, EncoderNotReadyError, WrongOperationError, or EncoderMismatchError if
        it is another one than the caller is bound to.
        """
        slot = self.find(name)
        if slot.batcher is None:
            raise EncoderNotReadyError(
                f"encoders/{slot.manifest.versioned_name} is {slot.state.value}"
                + (f": {slot.error.message}" if slot.error else "")
            )
        if operation not in slot.operations:
            raise WrongOperationError(
                f"encoders/{slot.manifest.versioned_name} cannot {operation.value}; it can "
                + ", ".join(sorted(each.value for each in slot.operations)),
                field="encoder",
            )
        if expected_fingerprint not in {"", slot.manifest.fingerprint}:
            raise EncoderMismatchError(
                f"encoders/{slot.manifest.versioned_name} has the fingerprint "
                f"{slot.manifest.fingerprint}; the caller expects {expected_fingerprint}",
                field="expected_fingerprint",
            )
        encoder = ReadyEncoder(slot.manifest, slot.batcher, slot.labels)
        slot.leases.lend(encoder)
        return encoder

    def check_space(self, manifest: Manifest) -> None:
        """Raise EncoderNotReadyError if vectors of a ready encoder in its space differ in kind."""
        for slot in self._slots.values():
            there = slot.manifest
            if slot.batcher is None or there.versioned_name == manifest.versioned_name:
                continue
            if there.space == manifest.space and _kind(there) != _kind(manifest):
                raise EncoderNotReadyError(
                    f"encoders/{manifest.versioned_name} makes vectors of {_kind(manifest)}; "
                    f"{slot.name}, in the same space {there.space}, of {_kind(there)}"
                )

    def fingerprints(self) -> dict[str, str]:
        """Return the fingerprints of the ready encoders by name."""
        return {
            f"{_PREFIX}{name}": slot.manifest.fingerprint
            for name, slot in self._slots.items()
            if slot.state is State.READY
        }

    def devices(self) -> set[str]:
        """Return the kinds of devices in use: `cpu`, `cuda`."""
        return {slot.device.partition(":")[0] for slot in self._slots.values() if slot.device}


def _kind(manifest: Manifest) -> str:
    """Say what two encoders must share for their vectors to be comparable."""
    return (
        f"{manifest.dimensions} dimensions ({manifest.vector_kind.value}, {manifest.metric.value})"
    )
