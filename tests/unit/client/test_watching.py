"""Following a job over broken streams, without a server."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from lookalike.ingest.v1 import ingest_service_pb2, job_pb2
from lookalike_client._watching import FINAL_STATES, watch
from lookalike_client.errors import UnavailableError

Reply = ingest_service_pb2.WatchJobResponse
RUNNING, DONE = job_pb2.Job.STATE_RUNNING, job_pb2.Job.STATE_SUCCEEDED


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def reply(offset: int, state: job_pb2.Job.State.ValueType) -> Reply:
    return Reply(offset=offset, job=job_pb2.Job(state=state))


def test_it_gives_up_when_nothing_comes_for_too_long() -> None:
    clock = Clock()

    def away(offset: int) -> Iterator[Reply]:
        if offset == 0:
            yield reply(1, RUNNING)
        raise UnavailableError("away")

    jobs = watch(away, patience=timedelta(seconds=10), clock=clock, sleep=clock.sleep)
    assert next(jobs).state == RUNNING
    with pytest.raises(UnavailableError):
        next(jobs)
    assert 10 < clock.now < 11


def test_a_stream_that_ends_early_is_opened_again() -> None:
    clock = Clock()

    def short(offset: int) -> Iterator[Reply]:
        yield reply(offset + 1, DONE if offset == 2 else RUNNING)

    jobs = watch(short, patience=timedelta(seconds=10), clock=clock, sleep=clock.sleep)
    assert [job.state for job in jobs] == [RUNNING, RUNNING, DONE]


def test_exactly_the_last_four_states_are_final() -> None:
    assert {int(state) for state in FINAL_STATES} == {5, 6, 7, 8}
