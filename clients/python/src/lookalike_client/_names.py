"""Names that client and services agree on."""

REQUEST_ID_KEY = "x-request-id"
"""Metadata key of the id that one request has in all logs."""

DEFAULT_IMAGE_ENCODER = "encoders/efficientnet-lite0"
"""The encoder of a collection of photos unless another is named."""


def collection_name(collection: str) -> str:
    """Full name of a collection, given that or its id."""
    return collection if collection.startswith("collections/") else f"collections/{collection}"


def job_name(job: str) -> str:
    """Full name of a job, given that or its id."""
    return job if job.startswith("jobs/") else f"jobs/{job}"


def encoder_name(encoder: str) -> str:
    """Full name of an encoder, given that or its id, with or without its version."""
    return encoder if encoder.startswith("encoders/") else f"encoders/{encoder}"


def entity_name(collection: str, entity: str) -> str:
    """Full name of an entity, given that or its id."""
    if entity.startswith("collections/"):
        return entity
    return f"{collection_name(collection)}/entities/{entity}"


def alias_name(alias: str) -> str:
    """Full name of an alias, given that or its id."""
    return alias if alias.startswith("aliases/") else f"aliases/{alias}"
