"""Collects handlers from generated code, which believes that it registers them with a server."""

from __future__ import annotations

from collections.abc import Mapping

from lookalike_common.policies.chain import Handler


class Registrar:
    """Stands in for a server and keeps the handlers, by service and rpc."""

    def __init__(self) -> None:
        self.handlers: dict[str, dict[str, Handler]] = {}

    def add_registered_method_handlers(
        self, service_name: str, method_handlers: Mapping[str, Handler]
    ) -> None:
        """Keep the handlers of one service."""
        self.handlers[service_name] = dict(method_handlers)

    def add_generic_rpc_handlers(self, generic_rpc_handlers: object) -> None:
        """Ignore what generated code passes here: the same handlers come registered."""
