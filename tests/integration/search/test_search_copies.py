"""Real photos by their hashes of bits, from the real encoder: Hamming distance finds copies."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from lookalike.search.v1 import collection_pb2, search_service_pb2
from lookalike.type.v1 import content_pb2
from lookalike_client.demo import photos
from lookalike_common.channels import open_channel
from lookalike_common.server import GrpcServer
from lookalike_common.testing import loopback, running
from lookalike_search.app import build
from tests.integration.search.conftest import search_settings
from tests.support.search_client import SearchClient, entity, ids

NEAR = 48
"""Bits up to which pictures count as copies, by the encoder's measurements."""


async def test_a_smaller_copy_finds_its_original(
    milvus_uri: str, code_encoders: GrpcServer, tmp_path: Path
) -> None:
    paths = photos.samples(tmp_path / "photos").paths()
    async with (
        running(build(search_settings(milvus_uri, code_encoders.port))) as server,
        open_channel(loopback(server.port)) as channel,
    ):
        client = SearchClient(channel)
        collection = await client.create(collection_pb2.VectorField(encoder="encoders/phash-256"))
        entities = [entity(collection, path.stem) for path in paths]
        for message, path in zip(entities, paths, strict=True):
            message.content.image = path.read_bytes()
        written = await client.upsert(collection, *entities)
        for path in paths:
            found = await client.search(
                collection,
                search_service_pb2.Query(
                    content=content_pb2.Content(image=copy_of(path)), min_score=1 - NEAR / 256
                ),
                include_vectors=True,
                consistency_token=written.consistency_token,
            )
            assert ids(found.hits) == [path.stem]
            (hit,) = found.hits
            assert hit.distance <= NEAR
            assert hit.score == pytest.approx(1 - hit.distance / 256)
            assert len(hit.entity.vectors["vector"].binary.data) == 32


def copy_of(path: Path) -> bytes:
    """Return a picture at half of its size, as a JPEG of medium quality."""
    picture = cv2.imread(str(path))
    assert picture is not None
    half = cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    done, data = cv2.imencode(".jpg", half, [cv2.IMWRITE_JPEG_QUALITY, 50])
    assert done
    return data.tobytes()
