"""`Client.write`: a stream that breaks, a server that is full, and an order that stays."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta

import grpc
import pytest

from lookalike.search.v1 import entity_pb2, entity_service_pb2
from lookalike_client import Client, ExhaustedError, LookalikeError, UnavailableError
from lookalike_client._writing import _Backlog
from lookalike_client.suite.ports import Ports
from tests.integration.client.search_peer import SearchPeer, search_peer


@pytest.fixture
def peer() -> Iterator[SearchPeer]:
    with search_peer() as running:
        yield running


@pytest.fixture
def client(peer: SearchPeer) -> Iterator[Client]:
    with Client(search=f"127.0.0.1:{peer.port}", health_checked=False) as connected:
        yield connected


def items(count: int) -> Iterator[entity_pb2.Entity]:
    for number in range(count):
        yield entity_pb2.Entity(item=f"i{number}")


def names(results: list[entity_service_pb2.UpsertResult]) -> list[str]:
    return [each.entity.name.rpartition("/")[2] for each in results]


def expected(count: int) -> list[str]:
    return [f"i{number}" for number in range(count)]


def test_every_entity_has_its_result_in_order(client: Client, peer: SearchPeer) -> None:
    assert names(list(client.write("c", items(47), batch_size=5))) == expected(47)
    assert peer.streams == 1
    assert len(peer.asked) == 10
    assert list(client.write("c", [])) == []


def test_a_broken_stream_goes_on_with_what_has_no_answer(client: Client, peer: SearchPeer) -> None:
    peer.break_after = 3
    assert names(list(client.write("c", items(40), batch_size=4))) == expected(40)
    assert peer.streams == 2
    assert list(peer.written) == expected(40)
    assert all(len(times) == 1 for times in peer.written.values())


@pytest.mark.parametrize("code", ["RESOURCE_EXHAUSTED", "UNAVAILABLE", "ABORTED"])
def test_a_full_server_gets_its_pause_and_the_batch_again(
    client: Client, peer: SearchPeer, code: str
) -> None:
    peer.busy, peer.refusal = 3, grpc.StatusCode[code]
    assert names(list(client.write("c", items(30), batch_size=3))) == expected(30)
    assert 2 <= peer.streams <= 4
    last = [peer.written[name][-1] for name in expected(30)]
    assert last == sorted(last), "a later batch must not be overtaken by an earlier one"


def test_a_bad_entity_is_a_result(client: Client, peer: SearchPeer) -> None:
    written = [*items(2), entity_pb2.Entity(item="bad")]
    results = list(client.write("c", written, batch_size=2))
    assert LookalikeError.from_status(results[2].error).message == "is bad"
    assert peer.streams == 1


def test_what_the_callers_iterator_raises_comes_after_the_results_before_it(
    client: Client, peer: SearchPeer
) -> None:
    def broken() -> Iterator[entity_pb2.Entity]:
        yield from items(4)
        raise ValueError("no more")

    writing = client.write("c", broken(), batch_size=2)
    assert names([next(writing) for _ in range(4)]) == expected(4)
    with pytest.raises(ValueError, match="no more"):
        next(writing)
    assert peer.streams == 1


def test_patience_has_an_end(client: Client, peer: SearchPeer) -> None:
    peer.busy = 1_000_000
    with pytest.raises(ExhaustedError, match="full"):
        list(client.write("c", items(3), patience=timedelta(milliseconds=20)))
    with (
        Client(search=f"127.0.0.1:{Ports.free().search}", health_checked=False) as away,
        pytest.raises(UnavailableError),
    ):
        list(away.write("c", items(3), patience=timedelta(0)))


def test_only_so_much_is_sent_ahead() -> None:
    """The fifth batch waits for the first answer."""
    backlog = _Backlog(iter([[each] for each in items(9)]))
    requests = backlog.requests("c")
    assert [next(requests).entities[0].item for _ in range(4)] == expected(4)
    sent = threading.Event()

    def send() -> None:
        next(requests)
        sent.set()

    sender = threading.Thread(target=send)
    sender.start()
    assert not sent.wait(0.1)
    backlog.answered()
    assert sent.wait(10)
    sender.join()
    backlog.close_stream()
    assert next(requests, None) is None
    again = backlog.requests("c")
    assert [next(again).entities[0].item for _ in range(4)] == ["i1", "i2", "i3", "i4"]


def test_whoever_stops_reading_stops_writing(client: Client, peer: SearchPeer) -> None:
    taken = 0

    def endless() -> Iterator[entity_pb2.Entity]:
        nonlocal taken
        while True:
            taken += 1
            yield entity_pb2.Entity(item=f"i{taken}")

    writing = client.write("c", endless(), batch_size=1)
    assert names([next(writing), next(writing)]) == ["i1", "i2"]
    writing.close()  # type: ignore[attr-defined] # - it is a generator, told as an iterator
    assert taken <= 2 + 5
    assert peer.streams == 1
