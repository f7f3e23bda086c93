"""Structure queries over gRPC on Milvus Lite, with the real encoder, against RDKit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import BaseModel
from rdkit import Chem

from lookalike.search.v1 import collection_pb2
from lookalike.search.v1 import search_service_pb2 as pb
from lookalike_common.channels import open_channel
from lookalike_common.errors import (
    InvalidArgumentError,
    InvalidContentError,
    NotFoundError,
)
from lookalike_common.server import GrpcServer
from lookalike_common.testing import loopback, running
from lookalike_search.app import build
from lookalike_search.settings import StructureSettings
from tests.integration.search.conftest import search_settings
from tests.support import real_data
from tests.support.milvus_lite import MilvusLite
from tests.support.search_client import (
    ATTRIBUTES,
    SearchClient,
    by_vector,
    entity,
    failure,
    ids,
    plain_field,
)

ENCODER = "encoders/morgan-2048"
SAME = pb.StructureQuery.MATCH_EXACT
CONTAINS = pb.StructureQuery.MATCH_SUBSTRUCTURE
IS_CONTAINED = pb.StructureQuery.MATCH_SUPERSTRUCTURE
ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"
MAX_SCANNED = 1050

# Any: what RDKit makes of SMILES; the package has no types.
Molecules = list[Any]


@pytest.fixture(scope="module")
def molecules() -> Molecules:
    return [Chem.MolFromSmiles(each) for each in real_data.drugs()]


@pytest.fixture
async def client(milvus_lite: MilvusLite, code_encoders: GrpcServer) -> AsyncIterator[SearchClient]:
    settings = search_settings(milvus_lite.uri, code_encoders.port)
    structures: dict[str, BaseModel] = {"structures": StructureSettings(max_scanned=MAX_SCANNED)}
    async with (
        running(build(settings.model_copy(update=structures))) as server,
        open_channel(loopback(server.port)) as channel,
    ):
        yield SearchClient(channel)


def structure(smiles: str, match: Any = SAME, *, encoder: str = ENCODER, **fields: Any) -> pb.Query:
    return pb.Query(
        structure=pb.StructureQuery(smiles=smiles, match=match), encoder=encoder, **fields
    )


async def drugs(client: SearchClient, count: int) -> str:
    """Create a collection of drugs whose vectors say nothing; `price` is the number."""
    name = await client.create(plain_field(dimensions=2), attributes=ATTRIBUTES)
    smiles = real_data.drugs()[:count]
    for start in range(0, count, 1000):
        reply = await client.upsert(
            name,
            *(
                entity(
                    name, f"d{n:04d}", 1, n, text=each, attributes={"price": n, "color": each[:50]}
                )
                for n, each in enumerate(smiles[start : start + 1000], start)
            ),
        )
        assert all(each.HasField("entity") for each in reply.results)
    return name


def numbers(reply: pb.SearchResponse) -> list[int]:
    return [int(each[1:]) for each in ids(reply.hits)]


async def test_parts_and_wholes_equal_rdkits(client: SearchClient, molecules: Molecules) -> None:
    name = await drugs(client, MAX_SCANNED + 50)
    known = molecules[:MAX_SCANNED]
    few = {"filter": f"price < {MAX_SCANNED}"}
    for smiles in ("c1ccccc1C(=O)O", "N1CCNCC1", "S(=O)(=O)N"):
        part = Chem.MolFromSmiles(smiles)
        expected = [n for n, each in enumerate(known) if each.HasSubstructMatch(part)]
        reply = await client.search(name, structure(smiles, CONTAINS), top_k=2000, **few)
        assert numbers(reply) == expected
        assert len(expected) > 10
        assert not reply.truncated
        assert {each.score for each in reply.hits} == {1.0}
    whole = real_data.drugs()[0]
    expected = [n for n, each in enumerate(known) if molecules[0].HasSubstructMatch(each)]
    reply = await client.search(name, structure(whole, IS_CONTAINED), top_k=1000, **few)
    assert numbers(reply) == expected
    assert 0 in expected
    last = structure(real_data.drugs()[MAX_SCANNED + 49])
    missed = await client.search(name, last)
    assert missed.truncated, "there are more than may be read"
    assert MAX_SCANNED + 49 not in numbers(missed)
    plenty = await client.search(name, structure("c1ccccc1", CONTAINS), top_k=5)
    assert (len(plenty.hits), plenty.truncated) == (5, False), "no more are read than a page needs"
    filtered = await client.search(name, last, filter="price >= 100")
    assert (numbers(filtered)[-1], filtered.truncated) == (MAX_SCANNED + 49, False)


async def test_pages_filters_and_what_hits_carry(
    client: SearchClient, molecules: Molecules
) -> None:
    name = await drugs(client, 300)
    ring = Chem.MolFromSmiles("c1ccccc1")
    expected = [n for n, each in enumerate(molecules[:300]) if each.HasSubstructMatch(ring)]
    query = structure("c1ccccc1", CONTAINS)
    first = await client.search(name, query, top_k=20)
    second = await client.search(name, query, top_k=20, page_token=first.next_page_token)
    assert numbers(first) + numbers(second) == expected[:40]
    assert [each.rank for each in second.hits] == list(range(21, 41))
    assert first.hits[0].entity.text == real_data.drugs()[expected[0]]
    assert not first.hits[0].HasField("distance")
    few = await client.search(name, query, filter="price >= 250", top_k=5, output_fields=["item"])
    assert numbers(few) == [n for n in expected if n >= 250][:5]
    assert few.hits[0].entity.text == ""
    grouped = await client.search(name, query, group_by=pb.GroupBy(field="item"), top_k=3)
    assert [len(each.hits) for each in grouped.groups] == [1, 1, 1]
    mixed = await client.search(
        name, query, by_vector(1, 0, weight=0.5), fusion=pb.FUSION_WEIGHTED, top_k=5
    )
    assert numbers(mixed) == expected[:5], "of those with the ring the ones near the vector"
    none = await client.search(name, structure("[U]", CONTAINS))
    assert (ids(none.hits), none.truncated, none.abstained) == ([], False, False)


async def test_the_same_molecule_however_it_is_written(
    client: SearchClient, molecules: Molecules
) -> None:
    name = await client.create(collection_pb2.VectorField(encoder=ENCODER))
    for n, smiles in enumerate(real_data.drugs()[:60]):
        message = entity(name, f"d{n:04d}", text=smiles)
        message.content.smiles = smiles
        await client.upsert(name, message)
    other = entity(name, "d0060", text="not a molecule (", item="odd")
    other.content.smiles = real_data.drugs()[7]
    await client.upsert(name, other)
    canonical = [Chem.MolToSmiles(each, isomericSmiles=False) for each in molecules[:60]]
    for n in (0, 7, 31):
        written = Chem.MolToSmiles(molecules[n], doRandom=True)
        reply = await client.search(name, structure(written, encoder=""))
        assert numbers(reply) == [m for m in range(60) if canonical[m] == canonical[n]]
    part = await client.search(name, structure("c1ccccc1", CONTAINS, encoder=""), top_k=1)
    assert len(part.hits) == 1


async def test_smiles_in_an_attribute(client: SearchClient) -> None:
    name = await client.create(plain_field(), attributes=ATTRIBUTES)
    for key, smiles in (("a", "OCC"), ("b", "CCN"), ("c", "")):
        attributes = {"color": smiles} if smiles else {}
        await client.upsert(name, entity(name, key, 1, 0, 0, text="CCO", attributes=attributes))
    assert ids((await client.search(name, structure("CCO", attribute="color"))).hits) == ["a"]
    assert ids((await client.search(name, structure("CCO"))).hits) == ["a", "b", "c"]


async def test_many_structures_at_once(client: SearchClient) -> None:
    name = await drugs(client, 30)
    requests = [
        pb.SearchRequest(queries=[structure(each)]) for each in ("C(", *real_data.drugs()[:2])
    ]
    batch = pb.BatchSearchRequest(collection=name, requests=requests)
    results = (await client.searches.BatchSearch(batch)).results
    assert results[0].HasField("error")
    assert [numbers(each.response) for each in results[1:]] == [[0], [1]]


async def test_what_is_refused(client: SearchClient) -> None:
    name = await drugs(client, 3)
    empty = await client.create(collection_pb2.VectorField(encoder=ENCODER))

    async def refusal(collection: str, query: pb.Query) -> tuple[type, str]:
        error = await failure(client.search(collection, query))
        return type(error), error.field

    at = "queries[0].structure.smiles"
    for collection, encoder in ((name, ENCODER), (empty, ""), (empty, ENCODER)):
        for match in (SAME, CONTAINS, IS_CONTAINED):
            bad = structure("C(C", match, encoder=encoder)
            assert await refusal(collection, bad) == (InvalidContentError, at)
    invalid = InvalidArgumentError
    assert await refusal(name, structure("C", encoder="")) == (invalid, "queries[0].encoder")
    price = structure("C", attribute="price")
    assert await refusal(name, price) == (invalid, "queries[0].attribute")
    assert await refusal(name, by_vector(1, 0, attribute="color")) == (
        invalid,
        "queries[0].attribute",
    )
    assert (await refusal(name, structure("C", encoder="encoders/none")))[0] is NotFoundError
    classified = pb.ClassifyRequest(collection=name, label="color", query=structure("C"))
    assert (await failure(client.searches.Classify(classified))).field == "query.structure"
