"""Checks of collections and entities."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

import numpy as np

from lookalike_common.errors import (
    AlreadyExistsError,
    CollectionNotReadyError,
    NotFoundError,
    OverloadedError,
)
from lookalike_search.commands.collection_changes import CollectionUpdate
from lookalike_search.commands.entities import ItemSelector
from lookalike_search.conformance.feature import Feature
from lookalike_search.conformance.trial import (
    ATTRIBUTES,
    TENANT,
    Trial,
    WrongAnswerError,
    ensure,
    entity,
    name_of,
    names_of,
    priced,
    random_vectors,
    vectors,
)
from lookalike_search.model import (
    AttributeSpec,
    AttributeType,
    JsonValue,
    Outcome,
    StoredCollection,
)

_RACERS: Final = 4
_LARGE: Final = 1024
_LOOKS: Final = 100
_PAUSE: Final = 0.1


async def check_lifecycle(trial: Trial) -> None:
    """A collection is found with its facts, and gone when it was deleted."""
    created = await trial.create(attributes=ATTRIBUTES)
    name = created.spec.id
    found = await trial.collections.get(TENANT, name)
    ensure(found.collection, created, "the collection that was created")
    await trial.collections.delete(TENANT, name)
    try:
        await trial.collections.get(TENANT, name)
    except NotFoundError:
        return
    raise WrongAnswerError("the collection is still there")


async def check_creation_race(trial: Trial) -> None:
    """Of creators at the same time one wins."""
    name = trial.fresh_id()
    attempts = await asyncio.gather(
        *(trial.create(collection_id=name) for _ in range(_RACERS)), return_exceptions=True
    )
    for each in attempts:
        if isinstance(each, BaseException) and not isinstance(each, AlreadyExistsError):
            raise each
    ensure(sum(isinstance(each, StoredCollection) for each in attempts), 1, "creators that won")
    await trial.write(name, entity(1))


async def check_aliases(trial: Trial) -> None:
    """An alias stands for a collection, and moves in one step."""
    first, second = await trial.new(), await trial.new()
    await trial.write(first, entity(1))
    alias = trial.fresh_id()
    try:
        await trial.aliases.set(TENANT, alias, first, "")
        ensure(await trial.count(alias), 1, "entities through the alias")
        await trial.aliases.set(TENANT, alias, second, "")
        ensure(await trial.count(alias), 0, "entities after the switch")
    finally:
        await trial.aliases.delete(TENANT, alias, "")


async def check_residency(trial: Trial) -> None:
    """A collection that is released is refused, and back once it is loaded."""
    name = await trial.new()
    await trial.write(name, entity(1))
    await trial.changes.release(TENANT, name, "")
    try:
        await trial.count(name)
    except CollectionNotReadyError:
        await trial.changes.load(TENANT, name, "")
        ensure(await trial.listed(name, 10), [name_of(1)], "what was loaded")
        return
    raise WrongAnswerError("the released collection was read")


async def check_expiry(trial: Trial) -> None:
    """Entities are found as long as their collection's ttl says, and no longer."""
    name = await trial.new()
    await trial.write(name, entity(1))
    for ttl in (timedelta(days=1), timedelta(seconds=1)):
        update = CollectionUpdate(paths=["ttl"], ttl=ttl)
        await trial.changes.update(TENANT, name, update)
        if ttl > timedelta(hours=1):
            ensure(await trial.count(name), 1, "entities of today")
    for _ in range(_LOOKS):
        if not await trial.count(name):
            return
        await asyncio.sleep(_PAUSE)
    raise WrongAnswerError("the entity is still there")


async def check_writes(trial: Trial) -> None:
    """An entity comes back bit for bit, replaced as a whole, and unchanged when it is the same."""
    name = await trial.new(attributes=ATTRIBUTES)
    vector = np.array([0.1, -2.5e-8, 3.4e18, 1 / 3, 0, 1, -1, 2], np.float32)
    attributes: dict[str, JsonValue] = {
        "price": 2**62 + 1,
        "weight": 0.1,
        "color": 'a "quoted" \\ text\n',
        "tags": ["x", "y"],
        "free": {"deep": [1, 2.5, True]},
    }
    draft = entity(1, vector, attributes=attributes, text="Text\nüñ", content_hash="ab" * 32)
    await trial.write(name, draft)
    found = await trial.get(name, name_of(1))
    ensure(dict(found.attributes), attributes, "attributes")
    ensure(found.text, "Text\nüñ", "the text")
    stored = found.vectors["vector"]
    ensure(isinstance(stored, np.ndarray) and stored.tobytes(), vector.tobytes(), "the vector")
    again = await trial.write(name, draft)
    ensure(_outcome(again.results[0]), Outcome.UNCHANGED, "the second write")
    await trial.write(name, entity(1, vector, attributes={"price": 3}))
    ensure((await trial.get(name, name_of(1))).attributes, {"price": 3}, "after replacing")
    ensure(await trial.count(name), 1, "entities")


async def check_duplicates(trial: Trial) -> None:
    """Of entities with one id in a batch the last one stays."""
    name = await trial.new(attributes=ATTRIBUTES)
    await trial.write(name, *(priced(1, color=f"c{each}") for each in range(5)))
    ensure((await trial.get(name, name_of(1))).attributes["color"], "c4", "what stayed")
    ensure(await trial.count(name), 1, "entities")


async def check_large_batch(trial: Trial) -> None:
    """A batch larger than one request to Milvus is written whole."""
    name = await trial.new(vectors(dimensions=_LARGE))
    rows = random_vectors(300, 1, _LARGE)
    await trial.write(name, *(entity(i, rows[i], text="x" * 60_000) for i in range(300)))
    ensure(await trial.count(name), 300, "entities")


async def check_listing(trial: Trial) -> None:
    """Pages of a listing are complete and sorted."""
    name = await trial.new(attributes=ATTRIBUTES)
    order = [int(each) for each in np.random.default_rng(1).permutation(1200)]
    for start in range(0, 1200, 300):
        await trial.write(name, *(priced(each) for each in order[start : start + 300]))
    ensure(await trial.listed(name, 170), names_of(range(1200)), "the listing")
    found = await trial.listed(name, 7, "price >= 1180")
    ensure(found, names_of(range(1180, 1200)), "the filtered listing")


async def check_counts(trial: Trial) -> None:
    """Counts are true right after writes, rewrites and deletions."""
    name = await trial.new(attributes=ATTRIBUTES)
    await trial.write(name, *(priced(each) for each in range(20)))
    ensure(await trial.count(name), 20, "after writing")
    await trial.write(name, *(priced(each, color="red") for each in range(10)))
    ensure(await trial.count(name), 20, "after writing again")
    ensure(await trial.count(name, 'color = "red"'), 10, "with a filter")
    await trial.entities.delete_ids(TENANT, name, names_of(range(5)), validate_only=False)
    ensure(await trial.count(name), 15, "after deleting")


async def check_deletions(trial: Trial) -> None:
    """Entities go by id, by filter and by item, and deletions say how many they were."""
    name = await trial.new(attributes=ATTRIBUTES)
    await trial.write(name, *(priced(each) for each in range(12)))
    asked = [*names_of(range(3)), "missing"]
    gone = await trial.entities.delete_ids(TENANT, name, asked, validate_only=False)
    ensure(gone, 3, "deleted by id")
    gone = await trial.entities.delete_matching(TENANT, name, "price > 9", validate_only=False)
    ensure(gone, 2, "deleted by filter")
    gone = await trial.entities.delete_items(
        TENANT, name, [ItemSelector(item="item-3")], validate_only=False
    )
    ensure(gone, 1, "deleted by item")
    ensure(await trial.listed(name, 50), names_of(range(4, 10)), "what is left")


async def check_concurrent_writers(trial: Trial) -> None:
    """Nothing that writers at the same time had acknowledged is missing."""
    name = await trial.new()

    async def write(first: int) -> None:
        for number in range(first, first + 10):
            while True:
                try:
                    await trial.write(name, entity(number))
                except OverloadedError:
                    continue
                break

    await asyncio.gather(*(write(10 * each) for each in range(_RACERS)))
    ensure(await trial.listed(name, 100), names_of(range(10 * _RACERS)), "what was written")


async def check_partition_key(trial: Trial) -> None:
    """Entities are kept by the values of an attribute, and move when it changes."""
    shop = AttributeSpec(name="shop", type=AttributeType.STRING, filterable=True)
    name = (await trial.create(attributes=(shop,), partition_key="shop")).spec.id
    shops = [{"shop": f"s{each % 3}"} for each in range(12)]
    await trial.write(name, *(entity(i, attributes=each) for i, each in enumerate(shops)))
    await trial.write(name, entity(0, attributes={"shop": "s1"}))
    ensure(await trial.listed(name, 50), names_of(range(12)), "all entities")
    found = await trial.listed(name, 50, 'shop = "s1"')
    ensure(found, names_of([0, 1, 4, 7, 10]), "the entities of one shop")


def _outcome(result: object) -> object:
    return getattr(result, "outcome", result)


FEATURES: Final = (
    Feature("collections", "Create, get and delete collections", check_lifecycle),
    Feature("creation-race", "Of two creators at once one wins", check_creation_race),
    Feature("aliases", "Aliases that move in one step", check_aliases),
    Feature("residency", "Collections released from memory, and loaded", check_residency),
    Feature("ttl", "Entities that expire", check_expiry),
    Feature("entities", "Entities come back exactly; unchanged ones are noticed", check_writes),
    Feature("duplicates", "Duplicates in a batch are folded", check_duplicates),
    Feature("large-batch", "Batches larger than one request", check_large_batch),
    Feature("writers", "Writers at the same time", check_concurrent_writers),
    Feature("listing", "Listings are complete and sorted", check_listing),
    Feature("counts", "Counts are true at once", check_counts),
    Feature("partition-key", "Partition keys", check_partition_key),
    Feature("deletions", "Delete by id, filter and item", check_deletions),
)
