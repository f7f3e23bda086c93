"""Assets and uploads as messages of the API; pure."""

from lookalike.asset.v1 import asset_pb2
from lookalike.type.v1 import content_pb2
from lookalike_ingest.asset_store import Asset, Upload
from lookalike_ingest.convert.values import to_timestamp
from lookalike_ingest.media_types import Modality

_ASSETS = "assets/"
_MODALITIES = {
    Modality.TEXT: content_pb2.MODALITY_TEXT,
    Modality.IMAGE: content_pb2.MODALITY_IMAGE,
    Modality.AUDIO: content_pb2.MODALITY_AUDIO,
    Modality.VIDEO: content_pb2.MODALITY_VIDEO,
    Modality.MOLECULE: content_pb2.MODALITY_MOLECULE,
    Modality.SEQUENCE: content_pb2.MODALITY_SEQUENCE,
}


def to_asset(asset: Asset) -> asset_pb2.Asset:
    """Return what is known about an asset."""
    modality = asset.media_type.modality
    return asset_pb2.Asset(
        name=asset.name,
        media_type=asset.media_type.name,
        modality=_MODALITIES[modality] if modality else content_pb2.MODALITY_UNSPECIFIED,
        size_bytes=asset.size,
        sha256=asset.sha256,
        create_time=to_timestamp(asset.created_at),
    )


def to_upload(upload: Upload) -> asset_pb2.Upload:
    """Return how an upload stands."""
    return asset_pb2.Upload(
        name=upload.name,
        size_bytes=upload.size,
        committed_bytes=upload.committed,
        expire_time=to_timestamp(upload.expires_at),
        asset=f"{_ASSETS}{upload.sha256}" if upload.complete else "",
    )
