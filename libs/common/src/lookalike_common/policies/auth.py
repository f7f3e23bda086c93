"""Sixth policy: who calls, for which tenant, and whether that is allowed."""

from __future__ import annotations

from dataclasses import replace

from lookalike_common.auth import Tokens, required_scope
from lookalike_common.errors import PermissionDeniedError
from lookalike_common.policies._policy import Call, Policy


class AuthPolicy(Policy):
    """Checks bearer tokens; without a tokens file everybody is the empty tenant and may do all."""

    def __init__(self, tokens: Tokens | None) -> None:
        self._tokens = tokens

    def start(self, call: Call) -> None:
        """Put tenant and scopes into the request context, or refuse."""
        if self._tokens is None or call.method.is_public:
            return
        identity = self._tokens.identify(call.metadata)
        scope = required_scope(call.method.name)
        if scope not in identity.scopes:
            raise PermissionDeniedError(
                f"{call.method.name} needs the scope {scope}", metadata={"scope": scope}
            )
        call.set_request(replace(call.request, tenant=identity.tenant, scopes=identity.scopes))
