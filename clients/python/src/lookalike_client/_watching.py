"""Follows a job over as many streams as it takes."""

import time
from collections.abc import Callable, Iterator
from datetime import timedelta

from lookalike.ingest.v1 import ingest_service_pb2, job_pb2
from lookalike_client.errors import UnavailableError

FINAL_STATES = frozenset(
    {
        job_pb2.Job.STATE_SUCCEEDED,
        job_pb2.Job.STATE_SUCCEEDED_WITH_FAILURES,
        job_pb2.Job.STATE_FAILED,
        job_pb2.Job.STATE_CANCELLED,
    }
)
"""The states that a job never leaves."""

_PAUSE = 0.25  # seconds before a broken stream is opened again

Replies = Callable[[int], Iterator[ingest_service_pb2.WatchJobResponse]]


def watch(
    replies: Replies,
    *,
    patience: timedelta,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[job_pb2.Job]:
    """Yield the job from `replies(offset)`, reopened at the last offset, until it is final.

    Raises UnavailableError once nothing has come for longer than `patience`.
    """
    offset, heard = 0, clock()
    while True:
        try:
            for reply in replies(offset):
                offset, heard = reply.offset, clock()
                yield reply.job
                if reply.job.state in FINAL_STATES:
                    return
        except UnavailableError:
            if clock() - heard > patience.total_seconds():
                raise
        sleep(_PAUSE)
