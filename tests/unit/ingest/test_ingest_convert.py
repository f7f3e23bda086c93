"""Messages into the domain and back; hashes, media types and progress."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike.ingest.v1 import ingest_service_pb2, job_pb2
from lookalike_common.errors import InvalidArgumentError, LookalikeError, all_errors
from lookalike_common.status import error_from_status, to_status
from lookalike_ingest.batches.stopwatch import Stopwatch
from lookalike_ingest.content_hash import canonical_json, content_hash
from lookalike_ingest.convert.items import from_outcomes
from lookalike_ingest.convert.jobs import to_job
from lookalike_ingest.convert.requests import from_filter, from_job
from lookalike_ingest.entities import VectorField
from lookalike_ingest.job import Counts, FilesSource, Job, JobOptions, JobSpec, JobState, Outcome
from lookalike_ingest.media_types import Modality, claimed_modality, detect_media
from lookalike_ingest.problem import Problem
from lookalike_ingest.progress import Load, Progress, ProgressMeter, progress_of

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
JOB = Job(
    id="abc",
    tenant="",
    request_id="r",
    spec=JobSpec(
        "collections/c",
        FilesSource(["file:///a/"], ["*.png"], ["b/*"]),
        JobOptions(dry_run=True),
        {"n": 1.5, "list": ["x", None]},
        {"l": "m"},
    ),
    generation=17,
    created_at=NOW,
    counts=Counts(10, 1, 2, 3, 1, 1),
)
FIELDS = [VectorField("vector", "encoders/x@1", "f" * 64)]


def test_a_job_is_shown_as_it_was_asked_for() -> None:
    message = to_job(JOB, Progress(2.5, timedelta(seconds=4), "encode"), to_status, brief=False)
    asked = from_job(message)
    spec = JOB.spec
    assert (asked.collection, asked.source, asked.options) == (
        spec.collection,
        spec.source,
        spec.options,
    )
    assert (asked.attributes, asked.labels, asked.request_id) == (
        spec.attributes,
        spec.labels,
        "r",
    )
    assert message.state == job_pb2.Job.STATE_PENDING
    assert message.counts.total == 10
    assert message.progress.eta.ToTimedelta() == timedelta(seconds=4)
    assert message.create_time.ToDatetime(tzinfo=UTC) == NOW
    assert not message.HasField("error")


def test_the_total_is_unset_until_it_is_known() -> None:
    message = to_job(replace(JOB, counts=Counts()), Progress(), to_status, brief=True)
    assert not message.counts.HasField("total")


def test_states_have_the_same_names_everywhere() -> None:
    states = [value for value in job_pb2.Job.State.values() if value]
    request = ingest_service_pb2.ListJobsRequest(states=states)
    assert list(from_filter(request).states) == list(JobState)
    with pytest.raises(InvalidArgumentError):
        from_filter(ingest_service_pb2.ListJobsRequest(states=[job_pb2.Job.STATE_UNSPECIFIED]))
    outcomes = job_pb2.JobItem.Outcome.values()
    assert set(from_outcomes(outcomes)) == {None, *Outcome}


def test_labels_of_a_listing() -> None:
    request = ingest_service_pb2.ListJobsRequest(labels=["a=b=c", "a=", "a"])
    assert list(from_filter(request).labels) == [("a", "b=c"), ("a", ""), ("a", None)]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_that_json_has_not(value: float) -> None:
    message = job_pb2.Job(collection="collections/c")
    message.files.uris.append("file:///a/")
    message.attributes["x"] = value
    with pytest.raises(InvalidArgumentError) as caught:
        from_job(message)
    assert caught.value.field == "job.attributes"


@pytest.mark.parametrize("kind", list(all_errors()))
def test_problems_survive_being_kept(kind: type[LookalikeError]) -> None:
    error = kind("words", field="a.b", resource_type="t", resource_name="n", metadata={"k": "v"})
    kept = Problem.from_text(Problem.of(error).to_text()).to_error()
    assert type(kept) is kind or kind.reason == "UNSPECIFIED"
    assert (kept.message, kept.field, kept.resource_name) == ("words", "a.b", "n")
    assert error_from_status(to_status(kept, "job")).reason == kind.reason


def test_unexpected_errors_do_not_show_what_they_say() -> None:
    problem = Problem.of(ValueError("the password is 123"))
    assert "password" not in problem.to_text()
    assert problem.reason == "INTERNAL"


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_equal_attributes_give_equal_hashes(attributes: dict[str, None]) -> None:
    turned = dict(reversed(attributes.items()))
    assert canonical_json(attributes) == canonical_json(turned)
    assert content_hash("s", "w", FIELDS, attributes) == content_hash("s", "w", FIELDS, turned)


def test_whatever_changes_the_vectors_or_the_entity_changes_the_hash() -> None:
    other = [replace(FIELDS[0], fingerprint="e" * 64)]
    hashes = [
        content_hash("a" * 64, "whole@1", FIELDS, {}),
        content_hash("b" * 64, "whole@1", FIELDS, {}),
        content_hash("a" * 64, "whole@2", FIELDS, {}),
        content_hash("a" * 64, "whole@1", other, {}),
        content_hash("a" * 64, "whole@1", [*FIELDS, replace(FIELDS[0], name="b")], {}),
        content_hash("a" * 64, "whole@1", FIELDS, {"k": "v"}),
    ]
    assert len(set(hashes)) == len(hashes)
    two: Sequence[VectorField] = [*FIELDS, replace(FIELDS[0], name="b")]
    assert content_hash("a", "w", two, {}) == content_hash("a", "w", two[::-1], {})


@pytest.mark.parametrize(
    ("prefix", "name", "modality"),
    [
        (b"\xff\xd8\xff\xe0", "image/jpeg", Modality.IMAGE),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp", Modality.IMAGE),
        (b"RIFF\0\0\0\0WAVEfmt ", "audio/wav", Modality.AUDIO),
        (b"\0\0\0\x1cftypavif", "image/avif", Modality.IMAGE),
        (b"\0\0\0\x18ftypmp42", "video/mp4", Modality.VIDEO),
        (b"PK\x03\x04", "application/zip", None),
        (b"%PDF-1.7", "application/pdf", Modality.TEXT),
        (b"", "application/octet-stream", None),
        (b"plain words", "application/octet-stream", None),
    ],
)
def test_what_bytes_are(prefix: bytes, name: str, modality: Modality | None) -> None:
    assert (detect_media(prefix).name, detect_media(prefix).modality) == (name, modality)


def test_what_names_claim() -> None:
    assert claimed_modality("a/b.JPG") is Modality.IMAGE
    assert claimed_modality("b.mkv") is Modality.VIDEO
    assert claimed_modality("jpg") is None
    assert claimed_modality(".png") is None


def test_progress_is_what_happened_lately() -> None:
    now = 0.0
    meter = ProgressMeter(lambda: now)
    assert meter.measure("abc") is None
    watch = Stopwatch()
    watch.seconds.update({"encode": 3.0, "fetch": 1.0})
    now = 5.0
    meter.add("abc", 10, 0.0, watch)
    assert meter.measure("abc") == Load(2.0, {"encode": 0.6, "fetch": 0.2})
    meter.add("other", 5, 0.0, watch)
    assert meter.measure_all() == Load(3.0, {"encode": 1.2, "fetch": 0.4})
    now = 36.0
    assert meter.measure("abc") is None
    meter.forget("abc")


def test_progress_is_what_all_processes_do() -> None:
    running = replace(JOB, state=JobState.RUNNING, counts=Counts(110, created=10))
    loads = [Load(1.5, {"encode": 1.0, "write": 0.5}), Load(0.5, {"write": 0.75})]
    steps = {"encode": 1.0, "write": 1.25}
    assert progress_of(running, loads) == Progress(2.0, timedelta(seconds=50), "write", steps)
    assert progress_of(running, []) == Progress()
    assert progress_of(replace(running, counts=Counts()), loads).eta is None
    assert progress_of(replace(running, state=JobState.SUCCEEDED), loads) == Progress()


def test_an_estimate_is_projected_from_what_was_measured() -> None:
    begun = replace(
        JOB,
        state=JobState.RUNNING,
        started_at=NOW,
        ended_at=None,
        counts=Counts(100, created=10),
        stored_bytes=5000,
        media_types={"image/png": 10},
    )
    shown = to_job(begun, Progress(2.0), to_status, brief=True)
    assert shown.estimate.stored_bytes == 50_000
    assert shown.estimate.time.ToTimedelta() == timedelta(seconds=50)
    assert dict(shown.media_types) == {"image/png": 10}
    nothing = replace(begun, counts=Counts())
    assert not to_job(nothing, Progress(2.0), to_status, brief=True).HasField("estimate")
    over = replace(begun, ended_at=NOW + timedelta(seconds=7))
    assert to_job(over, Progress(), to_status, brief=True).estimate.time.ToSeconds() == 7
