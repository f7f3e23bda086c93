"""The commands around searching: what they ask for, and how they show the answer."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.json_format import MessageToDict, ParseDict

from lookalike.search.v1 import (
    collection_pb2,
    collection_service_pb2,
    entity_pb2,
    entity_service_pb2,
    search_service_pb2,
)
from tests.integration.client.search_peer import SearchPeer, search_peer

if TYPE_CHECKING:
    from tests.integration.client.conftest import Ended

Command = Callable[..., "Ended"]
PLAIN = entity_pb2.Entity(name="collections/c/entities/e", item="cat", text="A cat.\x1b[2J" * 9)
PLAIN.attributes.update({"stars": 4, "topic": "[b]pets"})
HIT = search_service_pb2.Hit(entity=PLAIN, rank=1, score=0.5)


@pytest.fixture
def peer(lookalike: Command, monkeypatch: pytest.MonkeyPatch) -> Iterator[SearchPeer]:
    del lookalike  # it comes first, for it sets the address that is set here
    with search_peer() as running:
        monkeypatch.setenv("LOOKALIKE_SEARCH_ADDRESS", f"127.0.0.1:{running.port}")
        yield running


def asked(peer: SearchPeer) -> dict[str, Any]:
    """The last request, as JSON."""
    return dict(MessageToDict(peer.asked[-1], preserving_proto_field_name=True))


def test_ways_to_ask_are_fused(lookalike: Command, peer: SearchPeer, tmp_path: Path) -> None:
    (tmp_path / "sound.flac").write_bytes(b"fLaC...")
    ended = lookalike(
        *("search", str(tmp_path / "sound.flac"), "--text", "a cat", "--keyword", "cat"),
        *("--smiles", "CC", "--vector", "[1, 0.5]", "--entity", "e1", "--field", "v", "-c", "c"),
        *("--filter", "a = 1", "-k", "3", "--offset", "2", "--min-score", "0.5"),
        *("--group-by", "item", "--rerank", "minilm", "--explain"),
    )
    assert (ended.code, ended.output) == (0, "")
    assert ended.complaints.startswith("nothing found")
    assert asked(peer) == {
        "collection": "collections/c",
        "queries": [
            {"content": {"audio": "ZkxhQy4uLg=="}, "vector_field": "v", "min_score": 0.5},
            {"content": {"text": "a cat"}, "vector_field": "v", "min_score": 0.5},
            {"content": {"smiles": "CC"}, "vector_field": "v", "min_score": 0.5},
            {"vector": {"dense": {"values": [1.0, 0.5]}}, "vector_field": "v", "min_score": 0.5},
            {"entity": "collections/c/entities/e1", "vector_field": "v", "min_score": 0.5},
            {"keyword": "cat", "min_score": 0.5},
        ],
        "filter": "a = 1",
        "top_k": 3,
        "offset": 2,
        "group_by": {"field": "item"},
        "rerank": {"encoder": "encoders/minilm"},
        "explain": True,
    }


def test_molecules_are_matched(lookalike: Command, peer: SearchPeer) -> None:
    lookalike("search", "--structure", "CCO", "--match", "substructure", "-c", "drugs")
    assert asked(peer)["queries"] == [
        {"structure": {"smiles": "CCO", "match": "MATCH_SUBSTRUCTURE"}}
    ]


def test_a_vector_comes_from_a_file(lookalike: Command, peer: SearchPeer, tmp_path: Path) -> None:
    (tmp_path / "v.json").write_text("[1, 2]")
    lookalike("search", "--vector", str(tmp_path / "v.json"))
    assert asked(peer)["queries"] == [{"vector": {"dense": {"values": [1.0, 2.0]}}}]
    for bad in ("no.json", "[1, x]", "[1, [2]]"):
        assert lookalike("search", "--vector", bad).code == 2


def test_hits_are_shown_without_empty_columns(lookalike: Command, peer: SearchPeer) -> None:
    peer.answers["Search"] = search_service_pb2.SearchResponse(hits=[HIT])
    ended = lookalike("search", "--text", "a")
    head, row = (line.split() for line in ended.output.splitlines()[1:4:2])
    assert [each for each in head if each.isalpha()] == [
        *("rank", "score", "item", "attributes", "text")
    ]
    assert "stars=4," in row
    assert "topic=[b]pets" in row
    assert "\x1b" not in ended.output
    assert "…" in ended.output


def test_groups_have_their_key(lookalike: Command, peer: SearchPeer) -> None:
    group = search_service_pb2.Group(hits=[HIT, HIT])
    group.key.number_value = 7
    peer.answers["Search"] = search_service_pb2.SearchResponse(groups=[group])
    ended = lookalike("search", "--text", "a", "--group-by", "stars")
    rows = [line for line in ended.output.splitlines() if "cat" in line]
    assert ["7" in row.split() for row in rows] == [True, False]


def test_recommend(lookalike: Command, peer: SearchPeer) -> None:
    peer.answers["Recommend"] = search_service_pb2.SearchResponse(hits=[HIT])
    ended = lookalike(
        *("recommend", "-c", "c", "--like", "a", "--like", "collections/d/entities/b"),
        *("--unlike", "x", "--exclude-item", "seen", "--strategy", "best-score", "-k", "2"),
    )
    assert "cat" in ended.output
    assert asked(peer) == {
        "collection": "collections/c",
        "positive": [
            {"entity": "collections/c/entities/a"},
            {"entity": "collections/d/entities/b"},
        ],
        "negative": [{"entity": "collections/c/entities/x"}],
        "strategy": "STRATEGY_BEST_SCORE",
        "exclude_items": ["seen"],
        "top_k": 2,
    }
    assert lookalike("recommend").code == 2


def test_classify(lookalike: Command, peer: SearchPeer) -> None:
    arguments = (
        "classify",
        "--text",
        "a",
        "--label",
        "topic",
        "-c",
        "c",
        "--min-confidence",
        "0.5",
    )
    votes = {"label": "pets", "confidence": 0.75, "count": 3}
    peer.answers["Classify"] = ParseDict(
        {"candidates": [votes]}, search_service_pb2.ClassifyResponse()
    )
    ended = lookalike(*arguments)
    assert "no match" in ended.complaints
    assert "pets" in ended.output
    assert "←" not in ended.output
    peer.answers["Classify"] = ParseDict(
        {"label": "pets", "candidates": [votes]}, search_service_pb2.ClassifyResponse()
    )
    ended = lookalike(*arguments)
    assert ended.complaints == ""
    assert "pets ←" in ended.output
    assert asked(peer)["min_confidence"] == 0.5
    assert asked(peer)["neighbors"] == 10
    assert lookalike("classify", "--label", "topic").code == 2
    assert lookalike("classify", "--text", "a", "--entity", "b", "--label", "topic").code == 2


def test_aliases(lookalike: Command, peer: SearchPeer) -> None:
    alias = collection_pb2.Alias(
        name="aliases/a", collection="collections/new", previous_collection="collections/old"
    )
    peer.answers["SetAlias"] = alias
    peer.answers["ListAliases"] = collection_service_pb2.ListAliasesResponse(aliases=[alias])
    for ended in (lookalike("aliases", "set", "a", "new"), lookalike("aliases", "list")):
        assert [each for each in ended.output.split() if each.isalpha()][-3:] == ["a", "new", "old"]
    assert peer.asked[0] == collection_service_pb2.SetAliasRequest(
        alias=collection_pb2.Alias(name="aliases/a", collection="collections/new")
    )
    assert lookalike("aliases", "delete", "a").output == "deleted aliases/a\n"
    assert asked(peer) == {"name": "aliases/a"}


def test_a_collection_is_described_on_the_command_line(
    lookalike: Command, peer: SearchPeer
) -> None:
    lookalike(
        *("collections", "create", "c", "--text-index", "--description", "Notes"),
        *("--field", "title=minilm:title", "--field", "photo=efficientnet-lite0@1"),
        *("--field", "own=3:l2", "--field", "bits=64:tanimoto"),
        *("--attribute", "title:string:full-text:required", "--attribute", "n:int:filterable"),
        *("--partition-key", "n", "--ttl", "12h"),
    )
    assert asked(peer) == {
        "collection_id": "c",
        "collection": {
            "description": "Notes",
            "text_index": {},
            "partition_key": "n",
            "ttl": "43200s",
            "vector_fields": [
                {"name": "title", "encoder": "encoders/minilm", "source_attribute": "title"},
                {"name": "photo", "encoder": "encoders/efficientnet-lite0@1"},
                {"name": "own", "dimensions": 3, "metric": "METRIC_EUCLIDEAN"},
                {
                    "name": "bits",
                    "dimensions": 64,
                    "metric": "METRIC_TANIMOTO",
                    "vector_kind": "VECTOR_KIND_BINARY",
                },
            ],
            "attributes": [
                {"name": "title", "type": "TYPE_STRING", "full_text": True},
                {"name": "n", "type": "TYPE_INT", "filterable": True, "nullable": True},
            ],
        },
    }
    for bad in ("title", "title:text", "title:string:fast"):
        ended = lookalike("collections", "create", "c", "--attribute", bad)
        assert ended.code == 2
        assert bad in ended.complaints
    assert lookalike("collections", "create", "c", "--ttl", "soon").code == 2
    for bad in ("minilm", "own=3", "own=3:far", "own="):
        assert lookalike("collections", "create", "c", "--field", bad).code == 2


def test_a_collection_is_changed_as_it_was_read(lookalike: Command, peer: SearchPeer) -> None:
    stored = collection_pb2.Collection(name="collections/c", etag="e1", description="old")
    stored.attributes.add(name="a", type=collection_pb2.AttributeField.TYPE_INT)
    peer.answers["GetCollection"] = stored
    lookalike("collections", "update", "c", "--description", "new", "--add-attribute", "b:bool")
    request = asked(peer)
    assert request["update_mask"] == "description,attributes"
    assert request["collection"]["etag"] == "e1"
    assert request["collection"]["description"] == "new"
    assert [each["name"] for each in request["collection"]["attributes"]] == ["a", "b"]
    lookalike("collections", "update", "c", "--ttl", "90s")
    assert asked(peer)["collection"]["ttl"] == "90s"
    lookalike("collections", "update", "c", "--ttl", "0")
    assert "ttl" not in asked(peer)["collection"]
    assert asked(peer)["update_mask"] == "ttl"
    assert lookalike("collections", "update", "c").code == 2


def test_a_collection_is_shown_in_full(lookalike: Command, peer: SearchPeer) -> None:
    whole = ParseDict(
        {
            "name": "collections/c",
            "description": "Notes\x1b",
            "state": "STATE_MIGRATING",
            "migration": {"target": "collections/c-next", "phase": "PHASE_COPYING"},
            "aliases": ["aliases/current"],
            "ttl": "90s",
            "memory_bytes": 3 << 20,
            "vector_fields": [
                {
                    "name": "v",
                    "encoder": "encoders/x@1",
                    "source_attribute": "title",
                    "dimensions": 3,
                    "index": {"type": "TYPE_HNSW", "progress": 0.5},
                }
            ],
            "attributes": [{"name": "n", "type": "TYPE_INT", "filterable": True}],
        },
        collection_pb2.Collection(),
    )
    peer.answers["GetCollection"] = peer.answers["OptimizeCollection"] = whole
    for ended in (lookalike("collections", "get", "c"), lookalike("collections", "optimize", "c")):
        assert "\x1b" not in ended.output
        for expected in (
            *("Notes\\x1b", "migrating", "copying, to c-next", "current", "0:01:30", "3.0 MiB"),
            *("v: encoders/x@1, 3-d of title, hnsw, 50% indexed", "n: int, filterable, required"),
        ):
            assert expected in ended.output


def test_collections_are_loaded_and_released(lookalike: Command, peer: SearchPeer) -> None:
    released = collection_pb2.Collection.STATE_RELEASED
    for rpc in ("LoadCollection", "ReleaseCollection"):
        peer.answers[rpc] = collection_pb2.Collection(name="collections/c", state=released)
    assert "released" in lookalike("collections", "release", "c").output
    assert lookalike("collections", "load", "c").code == 0
    kinds = [each.DESCRIPTOR.name for each in peer.asked]
    assert kinds == ["ReleaseCollectionRequest", "LoadCollectionRequest"]
    assert asked(peer) == {"name": "collections/c"}


def test_entities_are_counted_shown_and_changed(lookalike: Command, peer: SearchPeer) -> None:
    peer.answers["CountEntities"] = entity_service_pb2.CountEntitiesResponse(count=1234)
    peer.answers["GetEntity"] = peer.answers["UpdateEntity"] = PLAIN
    assert lookalike("entities", "count", "--filter", "a = 1").output == "1234\n"
    shown = lookalike("entities", "get", "e", "-c", "c").output
    assert "attributes.stars" in shown
    assert "\x1b" not in shown
    lookalike(
        *("entities", "update", "e", "-c", "c", "--set", "n=1", "--set", "s=a=b", "--unset", "u"),
        *("--text", ""),
    )
    assert asked(peer) == {
        "entity": {
            "name": "collections/c/entities/e",
            "attributes": {"n": 1.0, "s": "a=b", "u": None},
        },
        "update_mask": "attributes.u,attributes.n,attributes.s,text",
    }
    for bad in ((), ("--set", "n")):
        assert lookalike("entities", "update", "e", *bad).code == 2


def test_entities_are_deleted_after_a_question(
    lookalike: Command, peer: SearchPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    peer.answers["DeleteEntities"] = entity_service_pb2.DeleteEntitiesResponse(count=2)
    ended = lookalike("entities", "delete", "a", "b", "-c", "c", "--yes")
    assert ended.output == "deleted 2\n"
    assert asked(peer)["names"] == ["collections/c/entities/a", "collections/c/entities/b"]
    lookalike("entities", "delete", "--item", "i", "-c", "c", "--yes")
    assert asked(peer) == {"collection": "collections/c", "items": [{"item": "i"}]}
    ended = lookalike("entities", "delete", "--filter", "a = 1", "-c", "c")
    assert ended.code == 1
    assert asked(peer)["validate_only"] is True
    for bad in ((), ("a", "--item", "i"), ("--item", "i", "--filter", "a = 1")):
        assert lookalike("entities", "delete", *bad).code == 2


def test_lines_are_written(lookalike: Command, peer: SearchPeer, tmp_path: Path) -> None:
    lines = [{"item": item, "attributes": {"n": 1}} for item in ("a", "bad", "b")]
    path = tmp_path / "entities.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    ended = lookalike("entities", "write", str(path), "-c", "c")
    assert (ended.code, ended.output) == (3, "2 created, 1 failed\n")
    assert ended.complaints == "line 2: is bad\n"
    assert asked(peer)["entities"] == lines
    path.write_text('{"item": "a"}\n{"nothing": 1}\n')
    ended = lookalike("entities", "write", str(path))
    assert ended.code == 2
    assert ended.complaints.startswith("lookalike: line 2 is no entity: ")
    assert lookalike("entities", "write", str(tmp_path / "none")).code == 2
