"""How a running job is told in a line."""

import pytest

from lookalike.ingest.v1.job_pb2 import Estimate, ItemCounts, Job, Options, Progress
from lookalike_client.cli.following import notes, standing, summary


@pytest.mark.parametrize(
    ("job", "line"),
    [
        (Job(counts=ItemCounts(created=2, failed=1)), "2 created, 1 failed"),
        (Job(state_reason="waiting for encoder"), "waiting for encoder"),
        (Job(state_reason="watching", counts=ItemCounts(failed=1)), "1 failed; watching"),
        (Job(state_reason="odd \x1b[31m"), r"odd \x1b[31m"),
        (Job(state=Job.STATE_PAUSED, counts=ItemCounts(created=2)), "2 created; paused"),
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


def test_a_dry_run_tells_what_it_found_out() -> None:
    job = Job(
        name="jobs/j",
        state=Job.STATE_SUCCEEDED,
        options=Options(dry_run=True),
        counts=ItemCounts(created=3),
        media_types={"image/png": 1, "text/plain": 2000},
        estimate=Estimate(stored_bytes=2_500_000),
        warnings=["large"],
    )
    job.estimate.time.FromSeconds(7265)
    assert summary(job) == "jobs/j, a dry run, succeeded in 0.0 s: 3 created"
    assert list(notes(job)) == [
        "note: large",
        "found: 2,000 text/plain, 1 image/png",
        "would take: 2 h 1 min, 2.5 MB where it is stored",
    ]
    job.options.dry_run = False
    assert list(notes(job)) == ["note: large"]
