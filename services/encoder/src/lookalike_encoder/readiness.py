"""What the health service and Prometheus say about encoders, after every change of one.

The services that encode are SERVING while they can do what they were set up for: with the setting
`encoders`, while each of those is ready; otherwise while any is. Every encoder has a name of its
own in the health service, its resource name, so that a probe may wait for one.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Gauge

from lookalike_common.errors import NotFoundError
from lookalike_common.health import OVERALL, Health
from lookalike_encoder.registry import Registry, State

_logger = logging.getLogger(__name__)


class Readiness:
    """Tells the outside which encoders can be used."""

    def __init__(
        self,
        registry: Registry,
        health: Health,
        metrics: CollectorRegistry,
        *,
        services: Sequence[str],
        required: Sequence[str],
    ) -> None:
        """`required` are names with or without version, as the setting `encoders` has them."""
        self._registry = registry
        self._health = health
        self._services = (*services, OVERALL)
        self._required = required
        self._started = False
        self._state = Gauge(
            "lookalike_encoder_state",
            "1 for the state that an encoder is in, 0 for the others.",
            ("encoder", "state"),
            registry=metrics,
        )
        self.update()

    def start(self) -> None:
        """Open the doors, if there is reason to: what is there at the start has been loaded."""
        self._started = True
        self.update()
        if not self._suffices():
            _logger.error("not serving: no encoder is installed, or one is refused, see above")

    def update(self) -> None:
        """Say how things are now."""
        for slot in self._registry.slots():
            for state in State:
                labels = (slot.manifest.versioned_name, state.value)
                self._state.labels(*labels).set(slot.state is state)
            self._health.add(slot.name)
            self._health.set_serving(slot.name, slot.state is State.READY)
        for name in self._services:
            self._health.set_serving(name, self._started and self._suffices())

    def _suffices(self) -> bool:
        if self._required:
            return all(self._is_ready(name) for name in self._required)
        slots = self._registry.slots()
        # Encoders made of code alone are always there; with those alone, an install was forgotten.
        return any(slot.manifest.files for slot in slots) and any(
            slot.state is State.READY for slot in slots
        )

    def _is_ready(self, name: str) -> bool:
        try:
            return self._registry.find(name).state is State.READY
        except NotFoundError:
            return False
