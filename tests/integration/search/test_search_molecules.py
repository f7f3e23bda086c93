"""1,935 drugs, encoded by the real encoder, on Milvus Lite: ranked exactly as RDKit does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from rdkit import Chem, DataStructs
from rdkit.Chem import rdFingerprintGenerator

from lookalike.search.v1 import collection_pb2, entity_pb2, search_service_pb2
from lookalike.type.v1 import content_pb2
from lookalike_common.channels import open_channel
from lookalike_common.server import GrpcServer
from lookalike_common.testing import loopback, running
from lookalike_search.app import build
from tests.integration.search.conftest import search_settings
from tests.support import real_data
from tests.support.search_client import Attribute, SearchClient, entity

QUERIES = 200
TOP = 50
PAGED = 20
"""So many of the queries are read in pages too."""
AT_ONCE = 16

Ask = Callable[..., Awaitable[search_service_pb2.SearchResponse]]


@dataclass(frozen=True)
class Drugs:
    """What RDKit alone makes of the drugs."""

    smiles: list[str]
    prints: list[Any]
    """RDKit's bit vectors, Morgan of radius 2 and 2,048 bits; the package has no types."""

    def ranking(self, query: int, first: int = 0) -> list[tuple[str, float]]:
        """Return ids and scores by falling score and then by id, of drugs from `first` on."""
        scores = DataStructs.BulkTanimotoSimilarity(self.prints[query], self.prints)
        ranked = sorted((-score, number) for number, score in enumerate(scores) if number >= first)
        return [(f"d{number:04d}", float(np.float32(-score))) for score, number in ranked]


@pytest.fixture(scope="module")
def drugs() -> Drugs:
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
    smiles = real_data.drugs()
    return Drugs(smiles, [generator.GetFingerprint(Chem.MolFromSmiles(each)) for each in smiles])


async def test_ranking_equals_rdkits(
    milvus_uri: str, code_encoders: GrpcServer, drugs: Drugs
) -> None:
    settings = search_settings(milvus_uri, code_encoders.port)
    async with (
        running(build(settings)) as server,
        open_channel(loopback(server.port)) as channel,
    ):
        client = SearchClient(channel)
        collection = await client.create(
            collection_pb2.VectorField(encoder="encoders/morgan-2048"),
            attributes=[Attribute(name="number", type=Attribute.TYPE_INT, filterable=True)],
        )
        token = await fill(client, collection, drugs.smiles)
        assert await client.count(collection) == len(drugs.smiles) == 1935
        chosen = np.random.default_rng(11).permutation(len(drugs.smiles))[:QUERIES]
        gate = asyncio.Semaphore(AT_ONCE)

        async def ask(smiles: str, **options: Any) -> search_service_pb2.SearchResponse:
            query = search_service_pb2.Query(
                content=content_pb2.Content(smiles=smiles), min_score=options.pop("min_score", None)
            )
            return await client.search(
                collection, query, output_fields=["item"], consistency_token=token, **options
            )

        async def compare(query: int, *, thoroughly: bool) -> None:
            async with gate:
                await compare_best(ask, drugs, query)
                if thoroughly:
                    await compare_pages(ask, drugs, query)

        await asyncio.gather(
            *(compare(int(each), thoroughly=i < PAGED) for i, each in enumerate(chosen))
        )


async def fill(client: SearchClient, collection: str, smiles: Sequence[str]) -> str:
    """Write all drugs as SMILES, which search has encoded; return what sees them."""
    token = ""
    for start in range(0, len(smiles), 500):
        some: list[entity_pb2.Entity] = []
        for number, each in enumerate(smiles[start : start + 500], start):
            message = entity(collection, f"d{number:04d}", attributes={"number": number})
            message.content.smiles = each
            some.append(message)
        reply = await client.upsert(collection, *some)
        assert all(each.HasField("entity") for each in reply.results)
        token = reply.consistency_token
    return token


async def compare_best(ask: Ask, drugs: Drugs, query: int) -> None:
    """Compare the best of all, and of those that a filter lets through."""
    smiles = drugs.smiles[query]
    reply = await ask(smiles, top_k=TOP)
    assert ranked(reply.hits) == drugs.ranking(query)[:TOP]
    reply = await ask(smiles, top_k=TOP, filter="number >= 1000")
    assert ranked(reply.hits) == drugs.ranking(query, first=1000)[:TOP]


async def compare_pages(ask: Ask, drugs: Drugs, query: int) -> None:
    """Compare some pages, up to a score that hits have, which is inside of the limit."""
    least = drugs.ranking(query)[TOP - 1][1]
    expected = [each for each in drugs.ranking(query) if each[1] >= least]
    found: list[tuple[str, float]] = []
    token = ""
    while token or not found:
        reply = await ask(drugs.smiles[query], top_k=24, min_score=least, page_token=token)
        found += ranked(reply.hits)
        token = reply.next_page_token
    assert found == expected


def ranked(hits: Iterable[search_service_pb2.Hit]) -> list[tuple[str, float]]:
    return [(each.entity.name.rpartition("/")[2], each.score) for each in hits]
