"""The two physical collections that a collection has while it migrates: its sides.

`ll_<id>` points at the one that answers, `ll_<target>` at the one that is to take over. Which role
a side has is never stored: the revision of the settings that started the migration names both, and
where `ll_<id>` points tells which is which. So altering that one alias is the whole switch, and a
process that dies before or after it leaves nothing half done.
"""

from __future__ import annotations

from dataclasses import replace

from lookalike_search.adapters.milvus.facts import FACTS_KEY, decode_facts
from lookalike_search.adapters.milvus.metadata import Metadata, property_of
from lookalike_search.model import StoredCollection


async def with_other_side(
    metadata: Metadata, tenant: str, collection: StoredCollection
) -> StoredCollection:
    """Return a collection together with its other side, if it has one that is there."""
    migration = collection.settings.migration
    if migration is None:
        return collection
    at_source = collection.storage == migration.source
    storage = migration.target if at_source else migration.source
    facts = property_of(await metadata.describe(tenant, storage), FACTS_KEY)
    if facts is None:
        return collection  # being dropped, by hand or by the end of the migration
    spec, _settings = decode_facts(facts)
    settings = collection.settings
    spec = spec.with_added(settings.attributes)
    return replace(
        collection, other=StoredCollection(spec=spec, settings=settings, storage=storage)
    )


def shadow_of(collection: StoredCollection) -> StoredCollection | None:
    """Return the other side as a collection of its own, ruled by this one."""
    if collection.other is None:
        return None
    return replace(collection.other, is_shadow=True, other=replace(collection, other=None))
