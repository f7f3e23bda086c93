"""What `lookalike jobs` asks the service for, and shows."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from lookalike.ingest.v1.job_pb2 import ItemCounts, Job, JobItem

if TYPE_CHECKING:
    from tests.integration.client.conftest import Ended, FakeSuite

Command = Callable[..., "Ended"]


@pytest.fixture
def job(suite: "FakeSuite") -> Job:
    made = Job(name="jobs/j0", collection="collections/photos", state=Job.STATE_RUNNING)
    suite.jobs.append(made)
    return made


def test_jobs_are_listed_by_state_collection_and_label(
    lookalike: Command, suite: "FakeSuite", job: Job
) -> None:
    job.state, job.state_reason = Job.STATE_WAITING, "waiting for encoder"
    job.counts.CopyFrom(ItemCounts(created=3))
    asked = ["--state", "waiting", "--state", "succeeded-with-failures", "--label", "by=me"]
    ended = lookalike("jobs", "list", "-c", "photos", *asked)
    assert list(suite.listed.states) == [Job.STATE_WAITING, Job.STATE_SUCCEEDED_WITH_FAILURES]
    assert suite.listed.collection == "collections/photos"
    assert suite.listed.labels == ["by=me"]
    assert "waiting: waiting for encoder: 3 created" in ended.output


@pytest.mark.parametrize(
    ("command", "state"), [("pause", "paused"), ("resume", "running"), ("cancel", "cancelled")]
)
def test_a_job_is_stopped_and_started(
    lookalike: Command, job: Job, command: str, state: str
) -> None:
    ended = lookalike("jobs", command, "j0")
    assert (ended.code, ended.output) == (0, f"{job.name} is {state}\n")


def test_a_retry_is_followed_as_any_job(lookalike: Command, suite: "FakeSuite", job: Job) -> None:
    ended = lookalike("jobs", "retry", job.name)
    assert suite.jobs[-1].retry_of == job.name
    assert "jobs/j1 succeeded in 1.0 s: 4 created" in ended.output
    assert lookalike("jobs", "retry", job.name, "--no-wait").output == "jobs/j2\n"


def test_items_are_listed_with_what_became_of_them(
    lookalike: Command, suite: "FakeSuite", job: Job
) -> None:
    suite.items.extend(
        [
            JobItem(item="a\x1b.png", media_type="image/png", outcome=JobItem.OUTCOME_CREATED),
            JobItem(item="b.mp4", outcome=JobItem.OUTCOME_UPDATED, entities=12, attempts=2),
            JobItem(item="c.csv#7", line=8),
        ]
    )
    shown = lookalike("jobs", "items", job.name).output
    for word in (r"a\x1b.png", "image/png", "updated", "12", "not reached", "8"):
        assert word in shown
    ended = lookalike("jobs", "items", job.name, "--limit", "2", "-o", "json")
    assert [each["item"] for each in json.loads(ended.output)] == ["a\x1b.png", "b.mp4"]
    assert "more" in ended.complaints
    asked = ["--outcome", "updated", "--outcome", "not-reached", "--limit", "0"]
    ended = lookalike("jobs", "items", job.name, *asked, "-o", "json")
    assert [each["item"] for each in json.loads(ended.output)] == ["b.mp4", "c.csv#7"]
    assert not ended.complaints
