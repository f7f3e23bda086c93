"""Whether words beside the meaning, and a second look, find more; with real models.

The task: sentences look for the entry of a dictionary that they show (WordNet, `meanings`). Run by
`make test-relevance`, which prints the figures.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import pytest

from lookalike.search.v1 import collection_pb2, search_service_pb2
from lookalike_common.channels import open_channel
from lookalike_common.testing import assert_eventually, loopback, running
from lookalike_encoder import app as encoder_app
from lookalike_encoder.settings import DeviceSettings, EncoderServerSettings, EncoderSettings
from lookalike_search import app as search_app
from lookalike_search.settings import MilvusSettings, SearchServerSettings, SearchSettings
from tests.support.milvus_lite import MilvusLite
from tests.support.real_data import meanings
from tests.support.search_client import SearchClient, by_text, by_words, entity, ids
from tests.support.suite import MODELS

ENTRIES: Final = 3000
SENTENCES: Final = 1000
RERANKED: Final = 150
ENCODER: Final = "encoders/minilm-l6-v2"
_AT_ONCE: Final = 32
_SERVER: Final[dict[str, Any]] = {
    "port": 0,
    "metrics_port": None,
    "drain_delay": timedelta(0),
    "drain_grace": timedelta(seconds=2),
}


@dataclass(frozen=True)
class Dictionary:
    """A collection of entries, and sentences that show the first of them."""

    client: SearchClient
    name: str
    sentences: Sequence[str]

    async def recall(
        self, *kinds: str, sentences: int = SENTENCES, **options: Any
    ) -> dict[int, float]:
        """Return which share of the sentences finds its entry first, and among the ten first."""
        gate = asyncio.Semaphore(_AT_ONCE)

        async def place(number: int) -> int:
            """Return the place of the right entry, from 0; 10 if it is beyond."""
            text = self.sentences[number]
            queries = [by_text(text) if each == "meaning" else by_words(text) for each in kinds]
            async with gate:
                reply = await self.client.search(self.name, *queries, top_k=10, **options)
            found = ids(reply.hits)
            return found.index(str(number)) if str(number) in found else 10

        places = await asyncio.gather(*(place(number) for number in range(sentences)))
        recall = {k: sum(each < k for each in places) / sentences for k in (1, 10)}
        how = " + ".join([*kinds, *(["rerank"] if options else [])])
        sys.stdout.write(f"{how:24} R@1 {recall[1]:.3f}   R@10 {recall[10]:.3f}\n")
        return recall


@pytest.fixture
async def dictionary(milvus_lite: MilvusLite) -> AsyncIterator[Dictionary]:
    assert (MODELS / "minilm-l6-v2@1").is_dir(), "the model is not installed: run `make models`"
    entries, sentences = meanings(ENTRIES, SENTENCES)
    async with AsyncExitStack() as stack:
        encoder = await stack.enter_async_context(
            running(
                encoder_app.build(
                    EncoderSettings(
                        server=EncoderServerSettings(**_SERVER),
                        models_dir=MODELS,
                        encoders=("minilm-l6-v2",),
                        device=DeviceSettings(kind="cpu"),
                    )
                )
            )
        )
        search = await stack.enter_async_context(
            running(
                search_app.build(
                    SearchSettings(
                        server=SearchServerSettings(**_SERVER),
                        milvus=MilvusSettings(uri=milvus_lite.uri),
                        encoder=loopback(encoder.port),
                    )
                )
            )
        )
        await assert_eventually(encoder.health.is_serving, 60)
        channel = await stack.enter_async_context(open_channel(loopback(search.port)))
        client = SearchClient(channel)
        name = await client.create(
            collection_pb2.VectorField(encoder=ENCODER), text_index=collection_pb2.TextIndex()
        )
        for start in range(0, ENTRIES, 500):
            some = range(start, start + 500)
            written = [entity(name, str(n), text_content=entries[n], text=entries[n]) for n in some]
            reply = await client.upsert(name, *written)
            assert all(each.HasField("entity") for each in reply.results)
        yield Dictionary(client, name, sentences)


@pytest.mark.timeout(900)  # some 60 seconds of one core go into the model
async def test_words_and_a_second_look_find_more_than_meaning_alone(dictionary: Dictionary) -> None:
    meaning = await dictionary.recall("meaning")
    words = await dictionary.recall("words")
    both = await dictionary.recall("meaning", "words")
    for k in (1, 10):
        assert both[k] > max(meaning[k], words[k]) + 0.02
    # MaxSim reads each word of both texts; for some of the sentences, as that takes its time.
    once = await dictionary.recall("meaning", sentences=RERANKED)
    rerank = search_service_pb2.Rerank(encoder=ENCODER, candidates=20)
    twice = await dictionary.recall("meaning", sentences=RERANKED, rerank=rerank)
    assert twice[1] > once[1] + 0.02
