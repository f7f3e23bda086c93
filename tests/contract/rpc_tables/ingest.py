"""IngestService, and the files that its jobs read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lookalike.ingest.v1 import ingest_service_pb2 as pb
from lookalike.ingest.v1 import job_pb2
from lookalike.type.v1 import content_pb2
from lookalike_common.errors import Code
from tests.contract.rpc_tables.asset import KEPT, NOWHERE, asset
from tests.contract.rpc_tables.collections import NONE, PHOTOS
from tests.contract.rpc_tables.encoder import bomb, photo
from tests.contract.rpc_tables.rows import (
    Answers,
    Ends,
    Outcome,
    Refuses,
    Row,
    World,
    invalid,
    later,
    missing,
)
from tests.support.zips import claiming, make_zip, with_link

CREATE: Final = "IngestService.CreateJob"
REQUEST_ID: Final = "prepared"
"""Of the job that ran before the first row, over the photos."""
UNSAFE: Final = ("unpack", "UNSAFE_ARCHIVE")

FILES: Final[Mapping[str, bytes]] = {
    "photos/1.jpg": photo(1),
    "photos/2.jpg": photo(2),
    "photos/broken.jpg": photo(3)[:-500],
    "photos/text.jpg": b"this is no picture",
    "bad/good.jpg": photo(4),
    "bad/text.jpg": b"this is no picture",
    "bad/truncated.jpg": photo(5)[:-500],
    "bad/empty.jpg": b"",
    "bad/bomb.png": bomb(),
    "climbing.zip": make_zip({"climbing.jpg": photo(6), "../../evil.jpg": photo(7)}),
    "nested.zip": make_zip({"nested.jpg": photo(8), "inner.zip": make_zip({"x.jpg": photo(9)})}),
    "linking.zip": with_link({"linking.jpg": photo(10)}, "link.jpg", "/etc/passwd"),
    "lying.zip": claiming(photo(11), name="liar.jpg", size=100),
    "exploding.zip": make_zip({"exploding.jpg": photo(12), "bomb.png": b"\0" * (4 << 20)}),
    "cut.zip": make_zip({"cut.jpg": photo(13)})[:-10],
}
"""By path below the root; a link `out.jpg` leads out of the folder `links`."""


def files(world: World, *paths: str, **fields: Any) -> pb.CreateJobRequest:
    source = job_pb2.FilesSource(uris=[world.uri(each) for each in paths])
    return given(files=source, **fields)


def given(**fields: Any) -> pb.CreateJobRequest:
    return pb.CreateJobRequest(job=job_pb2.Job(**{"collection": PHOTOS, **fields}))


def items(prefix: str, *contents: content_pb2.Content) -> job_pb2.ItemsSource:
    return job_pb2.ItemsSource(
        items=[
            job_pb2.SourceItem(item=f"{prefix}-{number}", content=content)
            for number, content in enumerate(contents)
        ]
    )


def prepared(world: World) -> pb.CreateJobRequest:
    """Return the request that the job before the first row was made by."""
    return files(world, "photos/", request_id=REQUEST_ID)


def _files(name: str, path: str, outcome: Outcome, **fields: Any) -> Row:
    return Row(CREATE, name, lambda world: files(world, path, **fields), outcome)


def _uri(name: str, uri: str, outcome: Outcome) -> Row:
    return Row(CREATE, name, given(files=job_pb2.FilesSource(uris=[uri])), outcome)


JOBS: Final = [
    Row(
        CREATE,
        "pictures that are none stop nothing",
        lambda world: files(world, "bad/"),
        Ends(
            {
                "text.jpg": ("decode", "UNSUPPORTED_MEDIA"),
                "truncated.jpg": ("encode", "INVALID_CONTENT"),
                "empty.jpg": ("decode", "INVALID_CONTENT"),
                "bomb.png": ("decode", "LIMIT_EXCEEDED"),
            },
            created=1,
        ),
    ),
    _files("a zip with ../ names", "climbing.zip", Ends({"../../evil.jpg": UNSAFE}, created=1)),
    _files("a nested zip", "nested.zip", Ends({"inner.zip": UNSAFE}, created=1)),
    _files("a zip with a symlink", "linking.zip", Ends({"link.jpg": UNSAFE}, created=1)),
    _files("a zip that lies about a size", "lying.zip", Ends({"liar.jpg": UNSAFE}, created=0)),
    _files("a zip bomb", "exploding.zip", Ends({"bomb.png": UNSAFE}, created=1)),
    _files("half a zip", "cut.zip", Ends({"cut.zip": ("unpack", "INVALID_CONTENT")}, created=0)),
    _files(
        "a symlink that leads out",
        "links/",
        Ends({"out.jpg": ("fetch", "LOCATION_NOT_ALLOWED")}, created=0),
    ),
    Row(
        CREATE,
        "given bytes",
        given(
            items=items(
                "bytes",
                content_pb2.Content(image=photo(20)),
                content_pb2.Content(image=b"no picture"),
            )
        ),
        Ends({"bytes-1": ("decode", "UNSUPPORTED_MEDIA")}, created=1),
    ),
    Row(
        CREATE,
        "an uploaded asset",
        given(items=items("asset", content_pb2.Content(asset=asset(KEPT)))),
        Ends({}, created=1),
    ),
    Row(
        CREATE,
        "a repeated request",
        prepared,
        Answers(lambda reply: reply.state == job_pb2.Job.STATE_SUCCEEDED_WITH_FAILURES),
    ),
]

REFUSED: Final = [
    Row(
        CREATE,
        "a repeated request id with another body",
        lambda world: files(world, "bad/", request_id=REQUEST_ID),
        Refuses(Code.ALREADY_EXISTS, "RESOURCE_EXISTS", "job.request_id"),
    ),
    _files("unknown collection", "photos/", missing(NONE, "job.collection"), collection=NONE),
    _files(
        "a reserved attribute",
        "photos/",
        invalid("job.attributes.asset"),
        attributes={"asset": "x"},
    ),
    _files("a folder that is not there", "none/", missing("", "job.files.uris[0]")),
    _files(
        "a way out of the root",
        "../outside/",
        invalid("job.files.uris[0]", "LOCATION_NOT_ALLOWED"),
    ),
    _files(
        "a link out of the root",
        "linked/",
        invalid("job.files.uris[0]", "LOCATION_NOT_ALLOWED"),
    ),
    _uri(
        "a folder outside the roots",
        "file:///etc/",
        invalid("job.files.uris[0]", "LOCATION_NOT_ALLOWED"),
    ),
    _uri(
        "an address",
        "http://127.0.0.1/x.zip",
        invalid("job.files.uris[0]", "LOCATION_NOT_ALLOWED"),
    ),
    _uri("unknown asset", NOWHERE, missing(NOWHERE, "job.files.uris[0]")),
    Row(CREATE, "no source", given(), invalid("job.source")),
    Row(CREATE, "no job", pb.CreateJobRequest(), invalid("job")),
    Row(
        CREATE,
        "0 bytes",
        given(items=items("empty", content_pb2.Content(image=b""))),
        invalid("job.items.items[0].content.image"),
    ),
    Row(
        CREATE,
        "a table whose columns say nothing",
        given(table=job_pb2.TableSource(uri="file:///x.csv")),
        invalid("job.table.columns"),
    ),
    Row(
        CREATE,
        "a table outside the roots",
        given(table=job_pb2.TableSource(uri="file:///etc/passwd", columns={"text": "a"})),
        invalid("job.table.uri", "LOCATION_NOT_ALLOWED"),
    ),
    Row(
        CREATE,
        "an unknown collection as the source",
        given(from_collection=job_pb2.CollectionSource(collection="collections/none")),
        missing("collections/none", "job.from_collection.collection"),
    ),
    Row(
        CREATE,
        "what vanished of given items",
        given(
            items=items("given", content_pb2.Content(image=b"x")),
            options=job_pb2.Options(sync=True),
        ),
        invalid("job.options.sync"),
    ),
    _files(
        "chunks that share all they have",
        "photos/",
        invalid("job.splitter.text.overlap_tokens"),
        splitter=job_pb2.Splitter(text=job_pb2.TextSplitter(max_tokens=5, overlap_tokens=5)),
    ),
    _files(
        "an unknown detector",
        "photos/",
        Refuses(Code.NOT_FOUND, "RESOURCE_NOT_FOUND", "job.splitter.image.detector"),
        splitter=job_pb2.Splitter(image=job_pb2.ImageSplitter(detector="encoders/nobody")),
    ),
    Row(
        CREATE,
        "pixels",
        given(
            items=items(
                "raw",
                content_pb2.Content(raw_image=content_pb2.RawImage(data=b"xyz", width=1, height=1)),
            )
        ),
        later("job.items.items[0].content.raw_image"),
    ),
]

WRONG_STATE: Final = Refuses(Code.FAILED_PRECONDITION, "WRONG_JOB_STATE")

ONE: Final = [
    Row(
        "IngestService.GetJob",
        "known",
        lambda world: pb.GetJobRequest(name=world.job),
        Answers(lambda reply: (reply.counts.total, reply.counts.failed) == (4, 2)),
    ),
    Row(
        "IngestService.GetJob", "unknown", pb.GetJobRequest(name="jobs/none"), missing("jobs/none")
    ),
    Row("IngestService.GetJob", "no name", pb.GetJobRequest(name="x"), invalid("name")),
    Row(
        "IngestService.CancelJob",
        "a final job stays as it is",
        lambda world: pb.CancelJobRequest(name=world.job),
        Answers(lambda reply: reply.state == job_pb2.Job.STATE_SUCCEEDED_WITH_FAILURES),
    ),
    Row(
        "IngestService.CancelJob",
        "unknown",
        pb.CancelJobRequest(name="jobs/none"),
        missing("jobs/none"),
    ),
    *(
        Row(f"IngestService.{call}", name, request, outcome)
        for call, asks in (
            ("PauseJob", pb.PauseJobRequest),
            ("ResumeJob", pb.ResumeJobRequest),
            ("RetryJob", pb.RetryJobRequest),
        )
        for name, request, outcome in (
            ("unknown", asks(name="jobs/none"), missing("jobs/none")),
            ("no name", asks(name="x"), invalid("name")),
        )
    ),
    Row(
        "IngestService.PauseJob",
        "a paused job",
        lambda world: pb.PauseJobRequest(name=world.paused_job),
        Answers(lambda reply: reply.state == job_pb2.Job.STATE_PAUSED),
    ),
    Row(
        "IngestService.PauseJob",
        "a final job",
        lambda world: pb.PauseJobRequest(name=world.job),
        WRONG_STATE,
    ),
    Row(
        "IngestService.ResumeJob",
        "a paused job",
        lambda world: pb.ResumeJobRequest(name=world.resumable_job),
        Answers(lambda reply: reply.state != job_pb2.Job.STATE_PAUSED),
    ),
    Row(
        "IngestService.ResumeJob",
        "a final job",
        lambda world: pb.ResumeJobRequest(name=world.job),
        WRONG_STATE,
    ),
    Row(
        "IngestService.RetryJob",
        "a job with failures",
        lambda world: pb.RetryJobRequest(name=world.job),
        Answers(lambda reply: reply.retry_of),
    ),
    Row(
        "IngestService.RetryJob",
        "a job that is not final",
        lambda world: pb.RetryJobRequest(name=world.paused_job),
        WRONG_STATE,
    ),
    Row(
        "IngestService.WatchJob",
        "from the start",
        lambda world: pb.WatchJobRequest(name=world.job),
        Answers(lambda replies: replies[-1].job.counts.failed == 2),
    ),
    Row(
        "IngestService.WatchJob",
        "from the end",
        lambda world: pb.WatchJobRequest(name=world.job, offset=world.job_end),
        Answers(lambda replies: not replies),
    ),
    Row(
        "IngestService.WatchJob",
        "beyond the end",
        lambda world: pb.WatchJobRequest(name=world.job, offset=world.job_end + 1),
        Refuses(Code.OUT_OF_RANGE, "INVALID_FIELD", "offset"),
    ),
    Row(
        "IngestService.WatchJob",
        "unknown",
        pb.WatchJobRequest(name="jobs/none"),
        missing("jobs/none"),
    ),
]


def first_page(job: str) -> pb.ListJobFailuresRequest:
    return pb.ListJobFailuresRequest(name=job, page_size=1)


def _failures(job: str, token: str) -> pb.ListJobFailuresRequest:
    return pb.ListJobFailuresRequest(name=job, page_size=1, page_token=token)


FIRST_JOBS: Final = pb.ListJobsRequest(page_size=1)
BAD_TOKEN: Final = invalid("page_token", "INVALID_PAGE_TOKEN")

MANY: Final = [
    Row(
        "IngestService.ListJobs",
        "a page",
        FIRST_JOBS,
        Answers(lambda reply: len(reply.jobs) == 1 and reply.next_page_token),
    ),
    Row(
        "IngestService.ListJobs",
        "page token of another filter",
        lambda world: pb.ListJobsRequest(
            page_size=1, page_token=world.tokens["ListJobs"], collection=NONE
        ),
        BAD_TOKEN,
    ),
    Row(
        "IngestService.ListJobs",
        "a state that is none",
        pb.ListJobsRequest(states=[99]),  # type: ignore[list-item]  # the point of the row
        invalid("states[0]"),
    ),
    Row(
        "IngestService.ListJobs",
        "a label that no job has",
        pb.ListJobsRequest(labels=["none"]),
        Answers(lambda reply: not reply.jobs),
    ),
    Row(
        "IngestService.ListJobItems",
        "those that failed",
        lambda world: pb.ListJobItemsRequest(
            name=world.job, outcomes=[job_pb2.JobItem.OUTCOME_FAILED]
        ),
        Answers(lambda reply: len(reply.items) == 2 and not reply.next_page_token),
    ),
    Row(
        "IngestService.ListJobItems",
        "page token of another listing",
        lambda world: pb.ListJobItemsRequest(
            name=world.job, page_token=world.tokens["ListJobFailures"]
        ),
        BAD_TOKEN,
    ),
    Row(
        "IngestService.ListJobItems",
        "unknown job",
        pb.ListJobItemsRequest(name="jobs/none"),
        missing("jobs/none"),
    ),
    Row(
        "IngestService.ListJobFailures",
        "the first page",
        lambda world: first_page(world.job),
        Answers(lambda reply: len(reply.failures) == 1 and reply.next_page_token),
    ),
    Row(
        "IngestService.ListJobFailures",
        "the second page",
        lambda world: _failures(world.job, world.tokens["ListJobFailures"]),
        Answers(lambda reply: len(reply.failures) == 1 and not reply.next_page_token),
    ),
    Row(
        "IngestService.ListJobFailures",
        "page token of another job",
        lambda world: _failures(world.other_job, world.tokens["ListJobFailures"]),
        BAD_TOKEN,
    ),
    Row(
        "IngestService.ListJobFailures",
        "unknown job",
        pb.ListJobFailuresRequest(name="jobs/none"),
        missing("jobs/none"),
    ),
]

ROWS: Final = [*JOBS, *REFUSED, *ONE, *MANY]
