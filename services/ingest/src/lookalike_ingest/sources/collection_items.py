"""Lists the items of another collection: by their originals, else by what was written of them.

An item whose original was kept is read from there and split anew. Where none was kept, each of its
entities is an item of its own, with the text that it has and the vectors that can be copied.
"""

from collections.abc import AsyncIterator, Sequence
from functools import partial

from lookalike_common.errors import NotFoundError
from lookalike_ingest.batches.patience import Patience
from lookalike_ingest.entities import Collection, EntityStore, GivenField, ListedEntity, VectorField
from lookalike_ingest.job import CollectionSource, NewItem
from lookalike_ingest.media_types import claimed_modality
from lookalike_ingest.places import AssetPlace, EntityPlace
from lookalike_ingest.sources.found import NOWHERE, refused

_ASSETS = "assets/"
_TEXT = "item.txt"
"""What bytes without a name are, from which a text was made, if they look like nothing else."""


class CollectionLister:
    """Lists collections."""

    def __init__(self, entities: EntityStore) -> None:
        self._entities = entities

    async def list_pages(
        self, source: CollectionSource, target: Collection, patience: Patience
    ) -> AsyncIterator[Sequence[NewItem]]:
        """Yield the items of a collection, some at a time.

        Raises what waiting does not cure, such as NotFoundError or InvalidFilterError.
        """
        get = partial(self._entities.get_collection, source.collection)
        copied = _copied_fields(await patience.call("search", get), target)
        token = ""
        while True:
            turn = partial(
                self._entities.list_page, source.collection, source.filter, token, copied
            )
            page, token = await patience.call("search", turn)
            items = [_item(each) for each in page if source.filter or _stands_for_item(each)]
            if items:
                yield items
            if not token:
                return


def _copied_fields(origin: Collection, target: Collection) -> Sequence[str]:
    """Return the fields that callers fill in the target, and whose vectors mean the same here."""
    fields: Sequence[VectorField | GivenField] = [*origin.fields, *origin.given]
    known = {(each.name, each.space, each.dimensions) for each in fields if not each.binary}
    return [each.name for each in target.given if (each.name, each.space, each.dimensions) in known]


def _stands_for_item(entity: ListedEntity) -> bool:
    """Tell whether an entity is the first of its item, or one that nothing else can stand for."""
    return entity.index == 0 or not entity.asset


def _item(entity: ListedEntity) -> NewItem:
    key, uri = entity.item or entity.id, entity.source_uri
    asset = entity.asset.removeprefix(_ASSETS)
    unnamed = bool(entity.text) and claimed_modality(uri) is None
    if asset and not (unnamed and entity.whole):
        place = AssetPlace(asset, name=_TEXT if unnamed else "")
        return NewItem(key, uri, place, 0, entity.attributes)
    if entity.index:
        key = f"{key}#{entity.index}"
    if not entity.text and not entity.vectors:
        error = NotFoundError("neither its original nor its text was kept")
        return refused(key, uri, NOWHERE, "fetch", error)
    vectors = {name: each.hex() for name, each in entity.vectors.items()}
    written = EntityPlace(entity.text, vectors, asset)
    return NewItem(key, uri, written, len(entity.text), entity.attributes)
