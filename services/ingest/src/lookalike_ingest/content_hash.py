"""What an entity was made of and how: equal hashes mean that nothing needs to be written."""

import hashlib
import json
from collections.abc import Sequence

from lookalike_ingest.entities import VectorField
from lookalike_ingest.job import Attributes


def content_hash(
    sha256: str, splitter: str, fields: Sequence[VectorField], attributes: Attributes
) -> str:
    """Return SHA-256, in hex, over the bytes' hash, splitter, fingerprints and attributes.

    `splitter` names the splitter with its version and options.
    """
    total = hashlib.sha256()
    fingerprints = [f"{field.name}={field.fingerprint}" for field in fields]
    for part in (sha256, splitter, *sorted(fingerprints), canonical_json(attributes)):
        data = part.encode()
        total.update(len(data).to_bytes(8, "big") + data)
    return total.hexdigest()


def canonical_json(attributes: Attributes) -> str:
    """Write attributes so that equal ones give equal text."""
    return json.dumps(dict(attributes), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
