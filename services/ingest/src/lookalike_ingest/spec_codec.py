"""What a job was asked to do, as JSON for the job store; a new option needs nothing here."""

import hashlib
import json
from functools import lru_cache

from pydantic import TypeAdapter

from lookalike_ingest.job import JobSpec

_ADAPTER: TypeAdapter[JobSpec] = TypeAdapter(JobSpec)


def spec_to_text(spec: JobSpec) -> str:
    """Write what was asked for."""
    return _ADAPTER.dump_json(spec).decode()


@lru_cache(maxsize=32)
def spec_from_text(text: str) -> JobSpec:
    """Read what `spec_to_text` wrote; cached, as every change of a job reads its row again."""
    return _ADAPTER.validate_json(text)


def source_digest(spec: JobSpec) -> str:
    """Return SHA-256, in hex, over what the items come from, and nothing else."""
    return _digest(_ADAPTER.dump_python(spec, mode="json", include={"source"}))


def spec_digest(spec: JobSpec) -> str:
    """Return SHA-256, in hex, over everything that was asked for.

    Two jobs that ask for the same have the same digest; maps are compared whatever their order.
    """
    return _digest(_ADAPTER.dump_python(spec, mode="json"))


def _digest(fields: object) -> str:
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
