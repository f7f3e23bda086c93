"""The suite's ports."""

import socket

from lookalike_client.suite.ports import Ports


def test_a_base_gives_consecutive_ports() -> None:
    ports = Ports.from_base(7000)
    assert (ports.encoder, ports.search, ports.ingest) == (7001, 7002, 7003)
    assert (ports.gateway, ports.milvus, ports.gateway_metrics) == (7004, 7005, 7009)


def test_given_ports_win() -> None:
    ports = Ports().override(search=9, ingest=None)
    assert (ports.search, ports.ingest) == (9, 50053)


def test_free_ports_are_free_and_differ() -> None:
    ports = Ports.free()
    assert ports.taken() == {}
    assert len({*vars(ports).values()}) == 9


def test_a_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert Ports.free().override(search=port).taken() == {"search": port}
