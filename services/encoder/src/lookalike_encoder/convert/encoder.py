"""An encoder as callers see it."""

from __future__ import annotations

from collections.abc import Callable

from google.rpc import status_pb2

from lookalike.encoder.v1 import encoder_pb2
from lookalike.type.v1 import content_pb2, vector_pb2
from lookalike_common.errors import LookalikeError
from lookalike_encoder.content import Operation
from lookalike_encoder.manifest import Limits, Metric, Modality, VectorKind
from lookalike_encoder.registry import Slot, State

ToStatus = Callable[[LookalikeError], status_pb2.Status]

_MODALITIES = {
    Modality.TEXT: content_pb2.MODALITY_TEXT,
    Modality.IMAGE: content_pb2.MODALITY_IMAGE,
    Modality.AUDIO: content_pb2.MODALITY_AUDIO,
    Modality.MOLECULE: content_pb2.MODALITY_MOLECULE,
    Modality.SEQUENCE: content_pb2.MODALITY_SEQUENCE,
}
_METRICS = {
    Metric.COSINE: vector_pb2.METRIC_COSINE,
    Metric.INNER_PRODUCT: vector_pb2.METRIC_INNER_PRODUCT,
    Metric.EUCLIDEAN: vector_pb2.METRIC_EUCLIDEAN,
    Metric.TANIMOTO: vector_pb2.METRIC_TANIMOTO,
    Metric.HAMMING: vector_pb2.METRIC_HAMMING,
}
_VECTOR_KINDS = {
    VectorKind.DENSE: vector_pb2.VECTOR_KIND_DENSE,
    VectorKind.BINARY: vector_pb2.VECTOR_KIND_BINARY,
}
_OPERATIONS = {
    Operation.ENCODE: encoder_pb2.Encoder.OPERATION_ENCODE,
    Operation.DETECT: encoder_pb2.Encoder.OPERATION_DETECT,
    Operation.RERANK: encoder_pb2.Encoder.OPERATION_RERANK,
    Operation.MATCH_STRUCTURE: encoder_pb2.Encoder.OPERATION_MATCH_STRUCTURE,
}
_STATES = {
    State.UNLOADED: encoder_pb2.Encoder.STATE_UNLOADED,
    State.LOADING: encoder_pb2.Encoder.STATE_LOADING,
    State.READY: encoder_pb2.Encoder.STATE_READY,
    State.FAILED: encoder_pb2.Encoder.STATE_FAILED,
}


def to_encoder(slot: Slot, to_status: ToStatus) -> encoder_pb2.Encoder:
    """Describe one encoder."""
    manifest = slot.manifest
    return encoder_pb2.Encoder(
        name=f"encoders/{manifest.versioned_name}",
        version=manifest.version,
        description=manifest.description,
        operations=[_OPERATIONS[each] for each in Operation if each in slot.operations],
        modalities=[_MODALITIES[each] for each in manifest.modalities],
        labels=slot.labels,
        dimensions=manifest.dimensions,
        vector_kind=_VECTOR_KINDS[manifest.vector_kind],
        metric=_METRICS[manifest.metric],
        space=manifest.space,
        fingerprint=manifest.fingerprint,
        license=manifest.license,
        limits=_to_limits(manifest.limits),
        state=_STATES[slot.state],
        device=slot.device,
        error=to_status(slot.error) if slot.error else None,
        variant=slot.variant,
        variant_error=to_status(slot.variant_error) if slot.variant_error else None,
    )


def _to_limits(limits: Limits) -> encoder_pb2.Encoder.Limits:
    message = encoder_pb2.Encoder.Limits(
        max_items=limits.max_items,
        preferred_items=limits.preferred_items,
        max_bytes=limits.max_bytes,
        max_tokens=limits.max_tokens,
        max_pixels=limits.max_pixels,
        max_bases=limits.max_bases,
        max_atoms=limits.max_atoms,
        max_candidates=limits.max_candidates,
    )
    if limits.max_duration:
        message.max_duration.FromTimedelta(limits.max_duration)
    if limits.min_duration:
        message.min_duration.FromTimedelta(limits.min_duration)
    return message
