"""Whether what stores the vectors is made for as many entities as a job brings. Pure."""

from dataclasses import dataclass

from lookalike_common.errors import UnsupportedByBackendError
from lookalike_ingest.entities import Collection

_LITE = "milvus-lite"


@dataclass(frozen=True, slots=True)
class Capacity:
    """How large a collection may become on Milvus Lite, which compares every vector in Python."""

    lite_warn_entities: int = 50_000
    lite_max_entities: int = 1_000_000

    def check(self, collection: Collection, items: int) -> str:
        """Return a warning about a job of so many items, or nothing.

        Items may be there already, and are at least one entity each: what is certain to be too
        much raises UnsupportedByBackendError, what may be is warned of.
        """
        if not collection.backend.startswith(_LITE):
            return ""
        least, most = max(collection.count, items), collection.count + items
        if least > self.lite_max_entities:
            raise UnsupportedByBackendError(
                f"the collection would have {least} entities or more, and Milvus Lite is allowed "
                f"{self.lite_max_entities}; use a Milvus server, or raise JOBS__LITE_MAX_ENTITIES"
            )
        if most <= self.lite_warn_entities:
            return ""
        return (
            f"the collection will have up to {most} entities or more; on Milvus Lite searches slow "
            f"down with each, and above {self.lite_warn_entities} a Milvus server is better"
        )
