"""Object stores (S3, Google Cloud Storage, Azure) by prefix, through obstore.

Endpoints and credentials come from the operator; from a caller comes a path below a configured
prefix, and nothing of it is taken for a pattern, a query or a folder above.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

import obstore
from obstore.exceptions import (
    BaseError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import ObjectStore, from_url

from lookalike_common import errors
from lookalike_ingest.places import ObjectPlace, RemotePlace
from lookalike_ingest.sources.found import Found

if TYPE_CHECKING:
    from obstore import GetOptions

_SCHEMES = ("s3://", "gs://", "az://", "azure://", "abfs://", "abfss://")
_DENIAL = re.compile(r"\b40[13] (Unauthorized|Forbidden)")
_PIECE_BYTES = 1 << 20
_LISTED_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class StoreAccess:
    """One prefix that jobs may read, and how."""

    prefix: str
    """`s3://bucket/prefix/`."""
    config: Mapping[str, str] = field(default_factory=dict)
    """What obstore calls it: `endpoint`, `region`, `access_key_id` and so on."""


class _Store:
    def __init__(self, access: StoreAccess, retry_timeout: timedelta) -> None:
        self.prefix = access.prefix.rstrip("/") + "/"
        self._config = dict(access.config)
        self._retry_timeout = retry_timeout

    @cached_property
    def client(self) -> ObjectStore:
        return open_store(StoreAccess(self.prefix, self._config), self._retry_timeout)


def open_store(
    access: StoreAccess, retry_timeout: timedelta = timedelta(seconds=30)
) -> ObjectStore:
    """Return a client; nothing is asked yet."""
    # Any: obstore's typed dictionaries differ by scheme, and the operator chooses that.
    config: Any = dict(access.config)
    plain = access.config.get("endpoint", "").startswith("http://")
    return from_url(
        access.prefix,
        config=config,
        client_options={"allow_http": plain},
        retry_config={"max_retries": 3, "retry_timeout": retry_timeout},
    )


class ObjectStores:
    """`RemoteFiles` in object stores."""

    def __init__(
        self, accesses: Sequence[StoreAccess], *, retry_timeout: timedelta = timedelta(seconds=30)
    ) -> None:
        stores = [_Store(access, retry_timeout) for access in accesses]
        self._stores = {each.prefix: each for each in stores}

    def serves(self, uri: str) -> bool:
        """Tell whether URIs of this kind are read here, allowed or not."""
        return uri.startswith(_SCHEMES)

    def place_of(self, uri: str) -> ObjectPlace:
        """Return the place of a URI, without asking whether anything is there."""
        matching = [prefix for prefix in self._stores if (uri + "/").startswith(prefix)]
        if not matching:
            raise errors.LocationNotAllowedError(
                "this place is not under a configured store; an operator can add one to "
                "LOOKALIKE_INGEST__STORES"
            )
        prefix = max(matching, key=len)
        key = uri[len(prefix) :]
        parts = key.removesuffix("/").split("/") if key else []
        if {"", ".", ".."} & set(parts):
            raise errors.InvalidArgumentError("a path in a store has no empty part, no '.' or '..'")
        return ObjectPlace(prefix, key, "", -1)

    def walk(self, uri: str) -> Iterator[Found]:
        """Yield the objects below a prefix, keyed by what follows it; there must be one."""
        start = self.place_of(uri)
        store = self._store(start)
        empty = True
        with _translated(store.prefix):
            listing = obstore.list(
                store.client, start.key.rstrip("/") or None, chunk_size=_LISTED_AT_ONCE
            )
            for chunk in listing:
                for meta in chunk:
                    found = self._found(store, start.key, meta["path"], meta["size"], meta["e_tag"])
                    if found is not None:
                        empty = False
                        yield found
        if empty:
            raise errors.NotFoundError("nothing lies below this prefix", resource_name=uri)

    def look(self, place: RemotePlace) -> ObjectPlace:
        """Return the place as it is now, with its etag and size."""
        place = _own(place)
        store = self._store(place)
        with self._denial_explained(store, place), _translated(store.prefix, place.key):
            meta = obstore.head(store.client, place.key)
        return ObjectPlace(place.store, place.key, meta["e_tag"] or "", meta["size"])

    def read(self, place: RemotePlace, length: int) -> Iterator[bytes]:
        """Yield an object's first bytes; all for a negative length."""
        place = _own(place)
        store = self._store(place)
        options: GetOptions = {} if length < 0 else {"range": (0, length)}
        with self._denial_explained(store, place), _translated(store.prefix, place.key):
            try:
                result = obstore.get(store.client, place.key, options=options)
            except (NotFoundError, FileNotFoundError) as error:
                if place.etag:
                    raise errors.SourceChangedError("the object is gone") from error
                raise
            if place.etag and result.meta["e_tag"] != place.etag:
                raise errors.SourceChangedError("the object changed since it was listed")
            for piece in result.stream(min_chunk_size=_PIECE_BYTES):
                yield bytes(piece)

    def _store(self, place: ObjectPlace) -> _Store:
        try:
            return self._stores[place.store]
        except KeyError as error:
            raise errors.LocationNotAllowedError(
                f"the store {place.store} is not configured any more"
            ) from error

    def _found(
        self, store: _Store, below: str, key: str, size: int, etag: str | None
    ) -> Found | None:
        relative = key.removeprefix(below)
        marks_folder = size == 0 and "." not in relative.rpartition("/")[2]
        if not relative or marks_folder:
            return None
        place = ObjectPlace(store.prefix, key, etag or "", size)
        return Found(relative, store.prefix + key, place, size, etag or "")

    @contextmanager
    def _denial_explained(self, store: _Store, place: ObjectPlace) -> Iterator[None]:
        """Tell one object that is forbidden from credentials that are not good any more."""
        try:
            yield
        except _DeniedError as error:
            with _translated(store.prefix):
                next(iter(obstore.list(store.client, chunk_size=1)), None)
            # The credentials are good: since when? Only what is still forbidden is so by itself.
            try:
                with _translated(store.prefix, place.key):
                    obstore.head(store.client, place.key)
            except _DeniedError:
                raise errors.LocationNotAllowedError(
                    f"the store does not let {place.key} be read"
                ) from error
            raise


class _DeniedError(errors.BackendUnavailableError):
    """The store refuses its credentials, for all or for one object."""


def _denied(prefix: str) -> _DeniedError:
    return _DeniedError(f"the store {prefix} refuses its credentials")


@contextmanager
def _translated(prefix: str, key: str = "") -> Iterator[None]:
    try:
        yield
    except (NotFoundError, FileNotFoundError) as error:
        raise errors.NotFoundError(
            "no such object" if key else "no such bucket", resource_name=prefix + key
        ) from error
    except (PermissionDeniedError, UnauthenticatedError, PermissionError) as error:
        raise _denied(prefix) from error
    except (BaseError, OSError) as error:
        if _DENIAL.search(str(error)):  # as errors of listing say it
            raise _denied(prefix) from error
        raise errors.BackendUnavailableError(
            f"the store {prefix} cannot be reached: {str(error).splitlines()[0][:200]}"
        ) from error
    except ValueError as error:
        raise errors.InvalidArgumentError("this is no path in a store") from error


def _own(place: RemotePlace) -> ObjectPlace:
    if not isinstance(place, ObjectPlace):
        raise errors.InternalError("a place of another kind reached the object stores")
    return place
