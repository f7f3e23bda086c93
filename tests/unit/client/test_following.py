"""How a running job is told in a line."""

import pytest

from lookalike.ingest.v1.job_pb2 import ItemCounts, Job, Progress
from lookalike_client.cli.following import standing


@pytest.mark.parametrize(
    ("job", "line"),
    [
        (Job(counts=ItemCounts(created=2, failed=1)), "2 created, 1 failed"),
        (Job(state_reason="waiting for encoder"), "waiting for encoder"),
        (Job(state_reason="odd \x1b[31m"), r"odd \x1b[31m"),
        (Job(state=Job.STATE_PAUSED, counts=ItemCounts(created=2)), "paused: 2 created"),
        (
            Job(
                counts=ItemCounts(updated=1200),
                progress=Progress(
                    bottleneck="encode",
                    step_load={"fetch": 0.01, "decode": 0.4, "encode": 1.94},
                ),
            ),
            "1,200 updated; [encode] encode 1.9 decode 0.4",
        ),
    ],
)
def test_standing(job: Job, line: str) -> None:
    assert standing(job) == line
