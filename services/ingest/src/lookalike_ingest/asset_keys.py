"""Under which names asset stores keep bytes: made of hashes alone, so no caller's text is one."""

import hashlib
import re

from lookalike_common.errors import InternalError, NotFoundError

_SHA256 = re.compile(r"[0-9a-f]{64}")
_UPLOAD_ID = re.compile(r"[0-9a-f]{32}")


def asset_path(tenant: str, sha256: str) -> str:
    """Return an asset's path below the store, `tenants/<tenant's hash>/<2 digits>/<sha256>`."""
    if not _SHA256.fullmatch(sha256):
        raise InternalError("an asset id that is no SHA-256 reached the store")
    owner = hashlib.sha256(tenant.encode()).hexdigest()[:32]
    return f"tenants/{owner}/{sha256[:2]}/{sha256}"


def upload_id_of(tenant: str, sha256: str, size: int) -> str:
    """Return the id of the one upload of such bytes."""
    return hashlib.sha256(f"{size}:{sha256}:{tenant}".encode()).hexdigest()[:32]


def checked_upload_id(upload_id: str) -> str:
    """Return an upload's id, or raise the NotFoundError of one that cannot exist."""
    if not _UPLOAD_ID.fullmatch(upload_id):
        raise no_upload(upload_id)
    return upload_id


def no_asset(sha256: str) -> NotFoundError:
    """Return the error for an asset that is not there."""
    return NotFoundError(
        "no such asset", resource_type="lookalike/Asset", resource_name=f"assets/{sha256}"
    )


def no_upload(upload_id: str) -> NotFoundError:
    """Return the error for an upload that is not there."""
    return NotFoundError(
        "no such upload, or it expired; start it again",
        resource_type="lookalike/Upload",
        resource_name=f"uploads/{upload_id}",
    )
