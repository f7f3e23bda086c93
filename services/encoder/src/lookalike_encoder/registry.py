"""The encoders of this process: which there are, which are ready, and why the others are not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import Enum

from lookalike_common.errors import (
    EncoderMismatchError,
    EncoderNotReadyError,
    InternalError,
    LookalikeError,
    NotFoundError,
    WrongOperationError,
)
from lookalike_encoder.batching import Batcher
from lookalike_encoder.content import Operation
from lookalike_encoder.encoder import Encoder
from lookalike_encoder.manifest import Manifest

_logger = logging.getLogger(__name__)
_PREFIX = "encoders/"


class State(Enum):
    """Whether an encoder can be used."""

    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"


@dataclass(slots=True)
class Slot:
    """One encoder of this process."""

    manifest: Manifest
    state: State = State.LOADING
    error: LookalikeError | None = None
    """Why it failed."""
    device: str = ""
    """Where it runs, once it is ready."""
    operations: frozenset[Operation] = frozenset({Operation.ENCODE})
    """What can be asked of it, once it is ready."""
    labels: tuple[str, ...] = ()
    """What it can detect, once it is ready."""
    batcher: Batcher | None = None
    """What encodes, once it is ready."""


@dataclass(frozen=True, slots=True)
class ReadyEncoder:
    """An encoder that can be used now."""

    manifest: Manifest
    batcher: Batcher
    labels: tuple[str, ...] = ()
    """What it can detect."""


class Registry:
    """The encoders that this process serves, or tries to."""

    def __init__(self, served: Iterable[Manifest]) -> None:
        """Take the manifests, a newer version after the older one."""
        self._slots = {each.versioned_name: Slot(each) for each in served}

    def slots(self) -> list[Slot]:
        """Return all encoders, by name and version."""
        return list(self._slots.values())

    def find(self, name: str) -> Slot:
        """Return the slot of `encoders/{name}` (its newest version) or `encoders/{name}@{v}`.

        Raises NotFoundError.
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
        return found[-1]

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
        return ReadyEncoder(slot.manifest, slot.batcher, slot.labels)

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

    async def load(
        self,
        load: Callable[[Manifest], Encoder],
        make_batcher: Callable[[Encoder], Batcher],
        stack: AsyncExitStack,
    ) -> None:
        """Load every encoder, in a thread, one after the other; `stack` closes their batchers.

        One that fails is refused with its reason; the others are served.
        """
        for name, slot in self._slots.items():
            try:
                encoder = await asyncio.to_thread(load, slot.manifest)
            except Exception as error:
                _logger.exception("encoders/%s is refused", name)
                slot.error = error if isinstance(error, LookalikeError) else _unexpected(error)
                slot.state = State.FAILED
                continue
            slot.device = encoder.device
            slot.operations, slot.labels = encoder.operations, encoder.labels
            slot.batcher = await stack.enter_async_context(make_batcher(encoder))
            slot.state = State.READY
            _logger.info("encoders/%s is ready on %s", name, slot.device)


def _unexpected(error: Exception) -> LookalikeError:
    return InternalError(f"it cannot be loaded: {error}")
