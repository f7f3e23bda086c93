"""A running search service on the Milvus under test; its encoder's vectors are easy to work out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from lookalike_common.channels import open_channel
from lookalike_common.server import GrpcServer
from lookalike_common.testing import loopback, running
from lookalike_encoder.app import build as build_encoder
from lookalike_encoder.settings import EncoderServerSettings, EncoderSettings
from lookalike_search.app import build
from lookalike_search.settings import MilvusSettings, SearchServerSettings, SearchSettings
from tests.support.search_client import SearchClient
from tests.support.toy_encoder import ToyEncoder


def search_settings(milvus_uri: str, encoder_port: int) -> SearchSettings:
    return SearchSettings(
        server=SearchServerSettings(
            port=0,
            metrics_port=None,
            drain_delay=timedelta(0),
            drain_grace=timedelta(seconds=2),
        ),
        milvus=MilvusSettings(uri=milvus_uri),
        encoder=loopback(encoder_port),
    )


@pytest.fixture
def toy_encoder() -> ToyEncoder:
    return ToyEncoder()


@pytest.fixture
async def encoder_server(toy_encoder: ToyEncoder) -> AsyncIterator[GrpcServer]:
    async with running(toy_encoder.server()) as server:
        yield server


@pytest.fixture
async def search_server(milvus_uri: str, encoder_server: GrpcServer) -> AsyncIterator[GrpcServer]:
    settings = search_settings(milvus_uri, encoder_server.port)
    async with running(build(settings)) as server:
        yield server


@pytest.fixture
async def client(search_server: GrpcServer) -> AsyncIterator[SearchClient]:
    async with open_channel(loopback(search_server.port)) as channel:
        yield SearchClient(channel)


@pytest.fixture
async def code_encoders(tmp_path: Path) -> AsyncIterator[GrpcServer]:
    """The encoder service with its encoders of molecules and of copies, which are code alone."""
    settings = EncoderSettings(
        server=EncoderServerSettings(
            port=0,
            metrics_port=None,
            drain_delay=timedelta(0),
            drain_grace=timedelta(seconds=2),
        ),
        models_dir=tmp_path,
        encoders=("morgan-2048", "phash-256"),
    )
    async with running(build_encoder(settings)) as server:
        yield server
