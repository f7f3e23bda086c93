"""Which encoders are in memory, and how that changes while calls are being served.

    UNLOADED ──load──► LOADING ──► READY ──reload──► READY, by the new model or still by the old
        ▲                 │          │
        │                 └─► FAILED │
        └──────────unload────────────┘

A model is loaded, proved and warmed up beside the one that serves. Then the registry points to the
new one, and the old one is closed when the last call that was given it has its answer. So both are
in memory for a moment. A change that has begun goes on when its caller leaves.
"""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any, Protocol, Self

from lookalike_common.errors import (
    ConcurrentChangeError,
    InternalError,
    LookalikeError,
    NotFoundError,
)
from lookalike_encoder.batching import Batcher
from lookalike_encoder.encoder import Encoder
from lookalike_encoder.leases import Leases
from lookalike_encoder.manifest import Manifest, ManifestError
from lookalike_encoder.precision import Loaded
from lookalike_encoder.registry import Registry, Slot, State

_logger = logging.getLogger(__name__)


class Source(Protocol):
    """What there is to load; see `shelf.Shelf`."""

    def wanted(self) -> list[Manifest]:
        """Return what should be loaded without being asked for."""

    def find(self, name: str) -> Manifest:
        """Return what is meant by a name."""

    def reread(self, manifest: Manifest) -> Manifest:
        """Return a manifest as it is now."""

    def load(self, manifest: Manifest) -> Loaded:
        """Load, prove and warm up."""

    def stamp(self, manifest: Manifest) -> object:
        """Return what differs when a manifest or its files were replaced."""


class Lifecycle:
    """Loads, unloads and reloads; an async context manager that closes what is loaded."""

    def __init__(
        self,
        registry: Registry,
        source: Source,
        make_batcher: Callable[[Encoder], Batcher],
        on_change: Callable[[], None],
        on_close: Callable[[], None],
    ) -> None:
        """`on_change` is called on the event loop whenever the state of an encoder changes.

        `on_close` is called in a thread when an encoder has left memory.
        """
        self._registry = registry
        self._source = source
        self._make_batcher = make_batcher
        self._on_change = on_change
        self._on_close = on_close
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Drop what is being changed, and close every encoder."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for slot in self._registry.slots():
            batcher, slot.batcher = slot.batcher, None
            if batcher:
                await batcher.__aexit__(None, None, None)

    async def start(self) -> None:
        """Load what is LOADING, one after the other; one that fails does not stop the others."""
        slots = [slot for slot in self._registry.slots() if slot.state is State.LOADING]
        for slot in slots:
            slot.changing = True
        for slot in slots:
            await _attempt(self._change(slot, self._load(slot, slot.manifest)))

    async def load(self, name: str) -> Slot:
        """Load an encoder unless it is ready.

        Raises NotFoundError, EncoderNotReadyError, ConcurrentChangeError.
        """
        manifest = await asyncio.to_thread(self._source.find, name)
        slot = self._registry.get(manifest.versioned_name)
        if slot is None:
            slot = Slot(manifest, State.UNLOADED)
            self._registry.add(slot)
        self._claim(slot)
        if slot.state is State.READY:
            slot.changing = False
        else:
            await self._change(slot, self._load(slot, manifest))
        return slot

    async def unload(self, name: str) -> Slot:
        """Take an encoder out of memory once its calls are answered; new ones are refused.

        Raises NotFoundError, ConcurrentChangeError.
        """
        slot = self._registry.find(name)
        self._claim(slot)
        await self._change(slot, self._unload(slot))
        return slot

    async def reload(self, name: str) -> Slot:
        """Load an encoder as it is on disk now, and put it in the place of the one that serves.

        Raises NotFoundError, EncoderNotReadyError and keeps the old one, ConcurrentChangeError.
        """
        try:
            slot = self._registry.find(name)
        except NotFoundError:
            return await self.load(name)
        self._claim(slot)
        await self._change(slot, self._load(slot, None))
        return slot

    async def refresh(self) -> None:
        """Reload what changed on disk or failed before, and load what is new there.

        What somebody unloaded stays so. Failures are logged.
        """
        _logger.info("looking for encoders that changed")
        for slot in self._registry.slots():
            if slot.changing or slot.state not in {State.READY, State.FAILED}:
                continue
            if slot.error or await self._differs(slot):
                await _attempt(self.reload(slot.name))
        try:
            wanted = await asyncio.to_thread(self._source.wanted)
        except (ManifestError, LookalikeError):
            _logger.exception("the manifests cannot be read")
            return
        for manifest in wanted:
            if not self._registry.get(manifest.versioned_name):
                await _attempt(self.load(manifest.versioned_name))

    def _claim(self, slot: Slot) -> None:
        """Keep others from changing an encoder."""
        if slot.changing:
            raise ConcurrentChangeError(
                f"{slot.name} is being loaded or unloaded by another call; try again later",
                resource_type="lookalike/Encoder",
                resource_name=slot.name,
            )
        slot.changing = True

    async def _change(self, slot: Slot, work: Coroutine[Any, Any, None]) -> None:
        """Do to the end what was claimed, even if the caller leaves."""

        def end(task: asyncio.Task[None]) -> None:
            slot.changing = False
            self._tasks.discard(task)
            if not task.cancelled():
                task.exception()  # it was logged, and a caller who left does not fetch it

        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(end)
        await asyncio.shield(task)

    async def _load(self, slot: Slot, manifest: Manifest | None) -> None:
        """Bring a manifest, or the slot's own as it is on disk now, into memory."""
        if slot.batcher is None:
            self._set(slot, State.LOADING)
        try:
            if manifest is None:
                manifest = await asyncio.to_thread(self._source.reread, slot.manifest)
            self._registry.check_space(manifest)
            stamp = await asyncio.to_thread(self._source.stamp, manifest)
            loaded = await asyncio.to_thread(self._source.load, manifest)
        except Exception as error:  # noqa: BLE001 - it is logged, told to callers and raised anew
            kept = slot.batcher is not None
            _log_refusal(f"{slot.name} is refused{', the old one is kept' * kept}", error)
            slot.error = _without_frames(error)
            self._set(slot, State.READY if kept else State.FAILED)
            raise copy.copy(slot.error) from None
        slot.manifest, slot.stamp, slot.error = manifest, stamp, None
        slot.variant, slot.variant_error = loaded.variant, loaded.variant_error
        encoder = loaded.encoder
        slot.device, slot.operations = encoder.device, encoder.operations
        slot.labels = encoder.labels
        _logger.info("%s is ready on %s%s", slot.name, slot.device, _in_brackets(slot.variant))
        await self._exchange(slot, await self._make_batcher(encoder).__aenter__(), State.READY)

    async def _unload(self, slot: Slot) -> None:
        slot.error = slot.variant_error = None
        slot.device = slot.variant = ""
        await self._exchange(slot, None, State.UNLOADED)
        _logger.info("%s is unloaded", slot.name)

    async def _exchange(self, slot: Slot, batcher: Batcher | None, state: State) -> None:
        """Send calls elsewhere from now on, and close what served them when it is done."""
        old, leases = slot.batcher, slot.leases
        slot.batcher, slot.leases = batcher, Leases()
        self._set(slot, state)
        if old is None:
            return
        try:
            await leases.all_returned()
        finally:
            await old.__aexit__(None, None, None)
        del old
        await asyncio.to_thread(self._on_close)

    def _set(self, slot: Slot, state: State) -> None:
        slot.state = state
        self._on_change()

    async def _differs(self, slot: Slot) -> bool:
        """Whether what lies on disk is not what was loaded."""
        return slot.stamp != await asyncio.to_thread(self._source.stamp, slot.manifest)


async def _attempt(change: Awaitable[object]) -> None:
    try:
        await change
    except (ConcurrentChangeError, NotFoundError) as error:
        _logger.warning("%s", error)
    except LookalikeError:
        pass  # a refusal, which was logged


def _log_refusal(words: str, error: Exception) -> None:
    """Log a reason that was foreseen as one line, and a fault with its traceback."""
    foreseen = isinstance(error, LookalikeError)
    _logger.error("%s: %s", words, error, exc_info=None if foreseen else error)


def _in_brackets(words: str) -> str:
    return f" ({words})" if words else ""


def _without_frames(error: Exception) -> LookalikeError:
    """Return what to tell callers, without the traceback, which would keep the refused model."""
    if isinstance(error, LookalikeError):
        return copy.copy(error)
    return InternalError(f"it cannot be loaded: {error}")
