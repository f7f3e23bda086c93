"""Bearer tokens: who calls, for which tenant, and what that allows.

Scopes are ordered: `admin` includes `write`, which includes `read`. `service` is for the suite's
own processes, which may name the tenant they act for. What each method needs stands here; a test
compares it with the comments in the protos.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, ValidationError

from lookalike_common.errors import PermissionDeniedError, UnauthenticatedError

AUTHORIZATION: Final = "authorization"
TENANT_HEADER: Final = "x-lookalike-tenant"
SERVICE_SCOPE: Final = "service"

Scope = Literal["read", "write", "admin", "service"]
Tenant = Annotated[str, Field(pattern=r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)?$")]

_INCLUDED: Final[Mapping[Scope, frozenset[str]]] = {
    "read": frozenset({"read"}),
    "write": frozenset({"read", "write"}),
    "admin": frozenset({"read", "write", "admin"}),
    "service": frozenset({"service"}),
}

METHOD_SCOPES: Final[Mapping[Scope, frozenset[str]]] = {
    "read": frozenset(
        {
            *("ListEncoders", "GetEncoder", "Encode", "StreamEncode"),
            *("Detect", "Rerank", "MatchStructure"),
            *("ServerLive", "ServerReady", "ServerMetadata"),
            *("ModelReady", "ModelMetadata", "ModelInfer", "ModelStreamInfer"),
            *("GetCollection", "ListCollections", "ListAliases"),
            *("Search", "BatchSearch", "Recommend", "Classify"),
            *("GetEntity", "BatchGetEntities", "ListEntities", "CountEntities"),
            *("GetUpload", "GetAsset", "ReadAsset"),
            *("GetJob", "ListJobs", "WatchJob", "ListJobItems", "ListJobFailures"),
        }
    ),
    "write": frozenset(
        {
            *("UpsertEntities", "StreamUpsertEntities", "UpdateEntity", "DeleteEntities"),
            *("StartUpload", "UploadChunk", "DeleteAsset"),
            *("CreateJob", "CancelJob", "PauseJob", "ResumeJob", "RetryJob"),
        }
    ),
}
"""What rpcs need, by name; whatever is not listed needs `admin`."""


def required_scope(rpc: str) -> Scope:
    """Return the scope that a token must have to call an rpc, such as `Search`."""
    for scope, rpcs in METHOD_SCOPES.items():
        if rpc in rpcs:
            return scope
    return "admin"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a token stands for."""

    tenant: str
    scopes: frozenset[str]


class TokenEntry(BaseModel):
    """One entry of the tokens file."""

    model_config = ConfigDict(extra="forbid")

    token: SecretStr = Field(min_length=16)
    tenant: Tenant = ""
    scopes: list[Scope] = Field(min_length=1)


class Tokens:
    """The accepted tokens, kept as hashes only, so that looking one up leaks no timing."""

    def __init__(self, entries: list[TokenEntry]) -> None:
        self._identities = {
            _digest(entry.token.get_secret_value()): Identity(
                entry.tenant, frozenset().union(*(_INCLUDED[scope] for scope in entry.scopes))
            )
            for entry in entries
        }

    @classmethod
    def load(cls, path: Path) -> Tokens:
        """Read a YAML list of `{token, tenant, scopes}`; ValueError when it is not one."""
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
            return cls(TypeAdapter(list[TokenEntry]).validate_python(content))
        except ValidationError as error:
            problems = error.errors(include_input=False, include_url=False)
            places = {".".join(map(str, each["loc"])): each["msg"] for each in problems}
            raise ValueError(f"{path} is no list of tokens: {places}") from None
        except yaml.YAMLError:
            raise ValueError(f"{path} is no YAML file") from None

    def identify(self, metadata: Mapping[str, str | bytes]) -> Identity:
        """Return whom the call's `authorization: Bearer …` stands for.

        A service may name the tenant it acts for; anybody else who names one is refused.
        """
        header = metadata.get(AUTHORIZATION, "")
        kind, _, token = header.partition(" ") if isinstance(header, str) else ("", "", "")
        identity = self._identities.get(_digest(token)) if kind.lower() == "bearer" else None
        if identity is None:
            raise UnauthenticatedError("the bearer token is missing or not valid")
        tenant = metadata.get(TENANT_HEADER)
        if tenant is None or tenant == identity.tenant:
            return identity
        if SERVICE_SCOPE not in identity.scopes or not isinstance(tenant, str):
            raise PermissionDeniedError(f"only services may set {TENANT_HEADER}")
        return Identity(tenant, identity.scopes)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.strip().encode()).digest()
