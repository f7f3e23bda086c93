"""Creates, finds and deletes collections, and binds them to the encoders of their vectors."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from lookalike_common.errors import (
    CollectionNotReadyError,
    EncoderMismatchError,
    EncoderNotReadyError,
    EtagMismatchError,
    InvalidArgumentError,
    LimitExceededError,
    NotFoundError,
    UnsupportedByBackendError,
    WrongModalityError,
)
from lookalike_search.attributes import check_attribute_name
from lookalike_search.catalog import COLLECTION, Catalog
from lookalike_search.commands.collection_view import CollectionView, view_collection
from lookalike_search.commands.keyword_indexes import check_keyword_indexes
from lookalike_search.concurrency import together
from lookalike_search.encoding import EncoderFacts, EncoderPort
from lookalike_search.model import (
    DEFAULT_VECTOR_FIELD,
    Alias,
    AttributeSpec,
    AttributeType,
    CollectionSettings,
    CollectionSpec,
    IndexSpec,
    IndexType,
    Metric,
    StoredCollection,
    VectorFieldSpec,
    VectorKind,
)
from lookalike_search.pages import read_after, token_after
from lookalike_search.store import Capabilities, VectorStore
from lookalike_search.writing import TEXT

MAX_FILTERABLE: Final = 48
"""Declared attributes with a column of their own; Milvus has 64 columns for everything."""

MIN_TTL: Final = timedelta(seconds=1)
MAX_TTL: Final = timedelta(days=36_500)
_MAX_LABEL: Final = 255
_DIMENSIONS: Final = range(2, 32_769)
_INDEX_PARAMS: Final[Mapping[IndexType, Mapping[str, range]]] = {
    IndexType.HNSW: {"M": range(2, 2049), "efConstruction": range(1, 65_537)},
    IndexType.IVF_FLAT: {"nlist": range(1, 65_537)},
    IndexType.IVF_SQ8: {"nlist": range(1, 65_537)},
    IndexType.IVF_PQ: {
        "nlist": range(1, 65_537),
        "m": range(1, 32_769),
        "nbits": range(1, 25),
    },
    IndexType.SCANN: {"nlist": range(1, 65_537)},
}
"""Settings of each index with their ranges; the others have none."""
_METRICS: Final[Mapping[VectorKind, frozenset[Metric]]] = {
    VectorKind.DENSE: frozenset({Metric.COSINE, Metric.INNER_PRODUCT, Metric.EUCLIDEAN}),
    VectorKind.BINARY: frozenset({Metric.TANIMOTO, Metric.HAMMING}),
}
"""How vectors of a kind that can be stored are compared."""
_COLUMN_TYPES: Final = frozenset(AttributeType) - {AttributeType.STRING_LIST, AttributeType.JSON}


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorFieldDraft:
    """A vector field as a caller describes it; what is None or 0 comes from the encoder."""

    name: str = ""
    encoder: str = ""
    dimensions: int = 0
    kind: VectorKind | None = None
    metric: Metric | None = None
    index: IndexSpec = field(default_factory=IndexSpec)
    space: str = ""
    source_attribute: str = ""
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionDraft:
    """A collection as a caller describes it."""

    id: str
    vector_fields: tuple[VectorFieldDraft, ...]
    attributes: tuple[AttributeSpec, ...] = ()
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    partition_key: str = ""
    ttl: timedelta | None = None
    text_analyzer: str = ""
    """How the words of entities' text are told apart; empty where they are not indexed."""


class Collections:
    """The commands of `CollectionService`."""

    def __init__(self, store: VectorStore, encoder: EncoderPort, catalog: Catalog) -> None:
        self._store = store
        self._encoder = encoder
        self._catalog = catalog

    async def create(self, tenant: str, draft: CollectionDraft) -> CollectionView:
        """Bind the draft to its encoders' present fingerprints, create and publish it."""
        check_labels(draft.labels)
        check_ttl(draft.ttl)
        spec = await self.specify(draft)
        settings = CollectionSettings(
            revision=0,
            update_time=spec.create_time,
            description=draft.description,
            labels=draft.labels,
            ttl=draft.ttl,
        )
        collection = await self._store.create(tenant, spec, settings)
        return await view_collection(self._store, tenant, draft.id, collection, aliases=[])

    async def specify(self, draft: CollectionDraft) -> CollectionSpec:
        """Return the facts of a draft, bound to its encoders' present fingerprints.

        Raises what is wrong with them, at `collection.…`.
        """
        check_attributes(draft.attributes)
        _check_partition_key(draft.partition_key, draft.attributes, self._store.capabilities)
        names = _field_names(draft.vector_fields)
        _check_optional(draft.vector_fields)
        capabilities = self._store.capabilities
        if len(names) > capabilities.max_vector_fields:
            raise UnsupportedByBackendError(
                f"{capabilities.backend} {capabilities.version} has "
                f"{capabilities.max_vector_fields} vector field(s) in a collection at most",
                field="collection.vector_fields",
            )
        check_keyword_indexes(
            draft.text_analyzer, draft.attributes, capabilities, vector_fields=len(names)
        )
        fields = await together(
            [
                self._bind(name, each, f"collection.vector_fields[{index}]")
                for index, (name, each) in enumerate(zip(names, draft.vector_fields, strict=True))
            ]
        )
        for index, each in enumerate(fields):
            at = f"collection.vector_fields[{index}]"
            _check_supported(each, capabilities, at)
            _check_source(each.source_attribute, draft.attributes, f"{at}.source_attribute")
        return CollectionSpec(
            id=draft.id,
            uid=secrets.token_hex(8),
            create_time=datetime.now(UTC),
            vector_fields=tuple(fields),
            attributes=draft.attributes,
            partition_key=draft.partition_key,
            text_analyzer=draft.text_analyzer,
        )

    async def get(self, tenant: str, collection_id: str) -> CollectionView:
        """Return one collection as it is now; raises `NotFoundError`."""
        self._catalog.forget(tenant, collection_id)
        return await self._catalog.using(
            tenant,
            collection_id,
            lambda collection: view_collection(self._store, tenant, collection_id, collection),
        )

    async def list(
        self, tenant: str, *, page_size: int, page_token: str
    ) -> tuple[list[CollectionView], str]:
        """Return a page of collections by id, and the next page's token or nothing."""
        after = read_after(page_token, "collections", tenant)
        ids = [each for each in await self._store.list_ids(tenant) if each > after]
        page = ids[:page_size]
        aliases = await self._store.list_aliases(tenant)
        found = await together([self._get_if_there(tenant, each, aliases) for each in page])
        token = token_after(page[-1], "collections", tenant) if len(ids) > len(page) else ""
        return [each for each in found if each is not None], token

    async def delete(self, tenant: str, collection_id: str, etag: str = "") -> None:
        """Delete a collection and its entities; raises `NotFoundError` or `EtagMismatchError`."""
        self._catalog.forget(tenant, collection_id)
        collection = await self._catalog.resolve(tenant, collection_id)
        if collection.is_shadow:
            raise CollectionNotReadyError(
                f"it is the target of a migration: abort that of collections/{collection.spec.id}",
                field="name",
            )
        if collection.spec.id != collection_id:
            raise NotFoundError(
                f"this is an alias of collections/{collection.spec.id}, and no collection",
                resource_type=COLLECTION,
                resource_name=f"collections/{collection_id}",
            )
        check_etag(collection, etag)
        async with self._store.exclusive(tenant, collection):
            await self._store.drop(tenant, collection)
        self._catalog.forget(tenant, collection_id)

    async def _get_if_there(
        self, tenant: str, collection_id: str, aliases: Sequence[Alias]
    ) -> CollectionView | None:
        try:
            collection = await self._store.resolve(tenant, collection_id)
            return await view_collection(self._store, tenant, collection_id, collection, aliases)
        except NotFoundError:
            return None  # deleted since it was listed

    async def _bind(self, name: str, draft: VectorFieldDraft, at: str) -> VectorFieldSpec:
        if not draft.encoder:
            return _unbound(name, draft, at)
        facts = await self._encoder.describe(draft.encoder)
        if not facts.ready:
            raise EncoderNotReadyError(
                f"{facts.name} is not loaded, so its vectors are not proven right",
                field=f"{at}.encoder",
            )
        _check_agreement(draft, facts, at)
        if draft.source_attribute and facts.source_kind is None:
            raise WrongModalityError(
                f"{facts.name} encodes no strings, which attributes and text are",
                field=f"{at}.encoder",
            )
        return VectorFieldSpec(
            name=name,
            dimensions=facts.dimensions,
            metric=facts.metric,
            kind=facts.kind,
            encoder=facts.name,
            fingerprint=facts.fingerprint,
            space=facts.space,
            index=draft.index,
            source_attribute=draft.source_attribute,
            source_kind=facts.source_kind or "text",
            optional=draft.optional,
            takes=tuple(sorted(facts.takes)) if draft.optional else (),
        )


def check_etag(collection: StoredCollection, etag: str) -> None:
    """Raise `EtagMismatchError` unless the etag is empty or the collection's."""
    if etag and etag != collection.etag:
        raise EtagMismatchError(
            "the collection changed since its etag was read; read it again", field="etag"
        )


def _check_optional(fields: Sequence[VectorFieldDraft]) -> None:
    """Raise `InvalidArgumentError` for a field that entities cannot lack, as it is the only one."""
    if len(fields) == 1 and fields[0].optional:
        raise InvalidArgumentError(
            "is the only vector field; entities without any vector cannot be stored",
            field="collection.vector_fields[0].optional",
        )


def _check_partition_key(
    name: str, attributes: Sequence[AttributeSpec], capabilities: Capabilities
) -> None:
    """Raise `InvalidArgumentError` unless every entity has a column with the key."""
    if not name:
        return
    at = "collection.partition_key"
    if not capabilities.partition_key:
        raise UnsupportedByBackendError(
            f"{capabilities.backend} {capabilities.version} has no partition keys that hold when "
            "entities are written again",
            field=at,
        )
    attribute = next((each for each in attributes if each.name == name), None)
    if attribute is None:
        raise InvalidArgumentError(f"{name} is no declared attribute", field=at)
    if attribute.type not in {AttributeType.STRING, AttributeType.INT}:
        raise InvalidArgumentError(f"{name} is a {attribute.type}, not string or int", field=at)
    if attribute.nullable or not attribute.filterable:
        raise InvalidArgumentError(f"{name} must be filterable and not nullable", field=at)


def check_ttl(ttl: timedelta | None) -> None:
    """Raise `InvalidArgumentError` for a ttl that is too short or too long."""
    if ttl is not None and not MIN_TTL <= ttl <= MAX_TTL:
        raise InvalidArgumentError(
            f"must be from {MIN_TTL.seconds} s to {MAX_TTL.days} days", field="collection.ttl"
        )


def check_labels(labels: Mapping[str, str]) -> None:
    """Raise `LimitExceededError` for a label that is too long or has no key."""
    for key, value in labels.items():
        if not key or len(key) > _MAX_LABEL or len(value) > _MAX_LABEL:
            raise LimitExceededError(
                f"a label's key has 1 to {_MAX_LABEL} characters, its value {_MAX_LABEL} at most",
                field="collection.labels",
            )


def check_attributes(attributes: Sequence[AttributeSpec]) -> None:
    """Raise what is wrong with declared attributes, at `collection.attributes`."""
    seen: set[str] = set()
    for index, each in enumerate(attributes):
        at = f"collection.attributes[{index}].name"
        check_attribute_name(each.name, at)
        if each.name in seen:
            raise InvalidArgumentError(f"{each.name} is declared twice", field=at)
        seen.add(each.name)
    columns = sum(each.has_column and each.type in _COLUMN_TYPES for each in attributes)
    if columns > MAX_FILTERABLE:
        raise LimitExceededError(
            f"{columns} attributes are filterable or full texts, {MAX_FILTERABLE} can be; filters "
            "on the others work too, but slower",
            field="collection.attributes",
        )


def _field_names(fields: Sequence[VectorFieldDraft]) -> list[str]:
    names: list[str] = []
    for index, each in enumerate(fields):
        at = f"collection.vector_fields[{index}].name"
        name = each.name or DEFAULT_VECTOR_FIELD
        if not each.name and len(fields) > 1:
            raise InvalidArgumentError("is needed where there are several fields", field=at)
        if name in names:
            raise InvalidArgumentError(f"{name} is declared twice", field=at)
        names.append(name)
    return names


def _unbound(name: str, draft: VectorFieldDraft, at: str) -> VectorFieldSpec:
    if not draft.dimensions or draft.metric is None:
        raise InvalidArgumentError("either encoder, or dimensions and metric, are needed", field=at)
    if draft.source_attribute:
        raise InvalidArgumentError(
            "needs an encoder, which the field has not", field=f"{at}.source_attribute"
        )
    return VectorFieldSpec(
        name=name,
        dimensions=draft.dimensions,
        metric=draft.metric,
        kind=draft.kind or VectorKind.DENSE,
        space=draft.space,
        index=draft.index,
        optional=draft.optional,
    )


def _check_source(name: str, attributes: Sequence[AttributeSpec], at: str) -> None:
    """Raise `InvalidArgumentError` unless what is encoded is always a text."""
    declared = next((each for each in attributes if each.name == name), None)
    if name in {"", TEXT} or (declared is not None and declared.type is AttributeType.STRING):
        return
    raise InvalidArgumentError("must be a declared attribute of type string, or `text`", field=at)


def _check_agreement(draft: VectorFieldDraft, facts: EncoderFacts, at: str) -> None:
    """Raise `EncoderMismatchError` where the draft says something else than the encoder."""
    wanted = {
        "dimensions": (draft.dimensions or None, facts.dimensions),
        "metric": (draft.metric, facts.metric),
        "vector_kind": (draft.kind, facts.kind),
        "space": (draft.space or None, facts.space),
    }
    for name, (asked, actual) in wanted.items():
        if asked is not None and asked != actual:
            raise EncoderMismatchError(
                f"{name} is {asked} in the request and {actual} in {facts.name}",
                field=f"{at}.{name}",
                metadata={"requested": str(asked), "encoder": str(actual)},
            )


def _check_supported(spec: VectorFieldSpec, capabilities: Capabilities, at: str) -> None:
    backend = f"{capabilities.backend} {capabilities.version}"
    if spec.kind not in capabilities.vector_kinds:
        raise UnsupportedByBackendError(
            f"{backend} cannot store {spec.kind} vectors", field=f"{at}.vector_kind"
        )
    indexes = (
        capabilities.bit_index_types if spec.kind is VectorKind.BINARY else capabilities.index_types
    )
    if spec.index.type is not IndexType.AUTO and spec.index.type not in indexes:
        raise UnsupportedByBackendError(
            f"{backend} has no index {spec.index.type} for {spec.kind} vectors",
            field=f"{at}.index.type",
        )
    _check_index_params(spec.index, f"{at}.index.params")
    if spec.metric not in _METRICS[spec.kind]:
        raise InvalidArgumentError(
            f"{spec.kind} vectors are not compared by {spec.metric}", field=f"{at}.metric"
        )
    if spec.dimensions not in _DIMENSIONS:
        raise InvalidArgumentError(
            f"must be from {_DIMENSIONS.start} to {_DIMENSIONS.stop - 1}",
            field=f"{at}.dimensions",
        )
    if spec.dimensions % spec.index.params.get("m", 1):
        raise InvalidArgumentError("must divide the dimensions", field=f"{at}.index.params.m")


def _check_index_params(index: IndexSpec, at: str) -> None:
    known = _INDEX_PARAMS.get(index.type, {})
    for name, value in index.params.items():
        field = f"{at}.{name[:80]}"
        if name not in known:
            raise InvalidArgumentError(f"the index {index.type} has no such setting", field=field)
        allowed = known[name]
        if not float(value).is_integer() or int(value) not in allowed:
            raise InvalidArgumentError(
                f"must be whole and from {allowed.start} to {allowed.stop - 1}", field=field
            )
