"""An error in a form that a job store can keep and a later reply can show.

A job may fail today and be asked about next week, by another process: what must survive is the
code, the reason, the words and the place, not the exception.
"""

import dataclasses
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from lookalike_common.errors import Code, InternalError, LookalikeError, error_class

_LOG = logging.getLogger(__name__)
_MAX_MESSAGE = 2000


@dataclass(frozen=True, slots=True)
class Problem:
    """Why an item or a job failed."""

    code: int
    reason: str
    message: str
    field: str = ""
    resource_type: str = ""
    resource_name: str = ""
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, error: BaseException) -> "Problem":
        """Describe an error. One of another kind is a defect: it is logged, and INTERNAL."""
        if not isinstance(error, LookalikeError):
            _LOG.error("unexpected failure in a job", exc_info=error)
            error = InternalError("an unexpected failure; see the log of the ingest service")
        return cls(
            code=int(error.code),
            reason=error.reason,
            message=error.message[:_MAX_MESSAGE],
            field=error.field,
            resource_type=error.resource_type,
            resource_name=error.resource_name,
            metadata=dict(error.metadata),
        )

    def to_error(self) -> LookalikeError:
        """Return an error with the same code, reason, words and place."""
        return error_class(Code(self.code), self.reason)(
            self.message,
            field=self.field,
            resource_type=self.resource_type,
            resource_name=self.resource_name,
            metadata=self.metadata,
        )

    def to_text(self) -> str:
        """Write it as JSON."""
        return json.dumps(dataclasses.asdict(self), separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> "Problem":
        """Read what `to_text` wrote."""
        return cls(**json.loads(text))
