"""Jobs from end to end: what becomes of items, and what a job says about itself."""

from __future__ import annotations

import asyncio
import hashlib

import grpc
import pytest
from google.protobuf.struct_pb2 import Struct

from lookalike.ingest.v1 import ingest_service_pb2 as pb
from lookalike.ingest.v1 import job_pb2
from lookalike.search.v1 import entity_pb2
from lookalike.type.v1 import content_pb2
from lookalike_common.ids import entity_id
from lookalike_common.testing import assert_eventually
from tests.integration.ingest.conftest import Suite, caught
from tests.support.ingest_peers import COLLECTION, ENCODER, POISON
from tests.support.pictures import fill, png

SUCCEEDED = job_pb2.Job.STATE_SUCCEEDED
WITH_FAILURES = job_pb2.Job.STATE_SUCCEEDED_WITH_FAILURES


def given(*items: job_pb2.SourceItem) -> job_pb2.Job:
    return job_pb2.Job(collection=COLLECTION, items=job_pb2.ItemsSource(items=items))


def image(data: bytes, key: str = "") -> job_pb2.SourceItem:
    return job_pb2.SourceItem(content=content_pb2.Content(image=data), item=key)


def attributes(**values: bool | float | str) -> Struct:
    struct = Struct()
    struct.update(values)
    return struct


async def test_a_folder_is_ingested_once_and_then_unchanged(suite: Suite) -> None:
    fill(suite.root, 70)
    fill(suite.root / "below", 5, start=100)
    done = await suite.run_files()
    assert done.state == SUCCEEDED
    assert (done.counts.total, done.counts.created) == (75, 75)
    assert done.entities.written == 75
    assert set(suite.peers.items().values()) == {1}
    assert "below/100.png" in suite.peers.items()
    again = await suite.run_files()
    assert (again.counts.total, again.counts.unchanged) == (75, 75)
    assert again.entities.written == 0
    assert again.generation > done.generation
    assert suite.peers.encoded == 75


async def test_an_entity_carries_all_that_is_known_of_its_item(suite: Suite) -> None:
    data = png(1)
    (suite.root / "ä b.png").write_bytes(data)
    job = await suite.run_files(attributes=attributes(set="holiday"))
    ((_, name), entity) = next(iter(suite.peers.entities.items()))
    assert name == f"{COLLECTION}/entities/{entity_id('ä b.png', 'whole', 0)}"
    assert entity.item == "ä b.png"
    assert entity.source_uri == (suite.root / "ä b.png").as_uri()
    assert entity.asset == f"assets/{hashlib.sha256(data).hexdigest()}"
    assert entity.generation == job.generation
    assert len(entity.content_hash) == 64
    assert dict(entity.attributes) == {"set": "holiday"}
    assert len(entity.vectors["vector"].dense.data) == 16
    assert suite.peers.priorities == {2}


async def test_what_changed_is_updated_and_the_rest_is_not(suite: Suite) -> None:
    fill(suite.root, 3)
    await suite.run_files()
    (suite.root / "1.png").write_bytes(png(99))
    again = await suite.run_files()
    assert (again.counts.updated, again.counts.unchanged) == (1, 2)
    other = await suite.run_files(attributes=attributes(a=1))
    assert other.counts.updated == 3


async def test_given_items_have_the_callers_key_or_their_hash(suite: Suite) -> None:
    one, two = png(1), png(2)
    request = given(image(one, "first"), image(two), image(two))
    request.items.items[0].attributes.update({"own": True})
    request.attributes.update({"own": False, "all": 1})
    created = await suite.create(request)
    assert [item.item for item in created.items.items] == ["first", "", ""]
    assert not any(item.HasField("content") for item in created.items.items)
    done = await suite.finish(created)
    assert (done.counts.total, done.counts.created, done.counts.skipped) == (3, 2, 1)
    assert set(suite.peers.items()) == {"first", hashlib.sha256(two).hexdigest()}
    first = next(each for each in suite.peers.entities.values() if each.item == "first")
    assert dict(first.attributes) == {"own": True, "all": 1}


async def test_two_items_with_one_key_do_not_replace_each_other(suite: Suite) -> None:
    done = await suite.finish(await suite.create(given(image(png(1), "k"), image(png(2), "k"))))
    assert done.state == WITH_FAILURES
    assert (done.counts.created, done.counts.failed) == (1, 1)
    (failure,) = await suite.failures(done)
    assert failure.item == "k"
    assert failure.error.code == grpc.StatusCode.ALREADY_EXISTS.value[0]


async def test_given_text_is_encoded_and_kept_for_keywords(suite: Suite) -> None:
    suite.peers.modalities = (content_pb2.MODALITY_TEXT,)
    text = job_pb2.SourceItem(content=content_pb2.Content(text="a red fox"), item="t")
    done = await suite.finish(await suite.create(given(text, image(png(1), "i"))))
    assert (done.counts.created, done.counts.failed) == (1, 1)
    (entity,) = suite.peers.entities.values()
    assert entity.text == "a red fox"
    (failure,) = await suite.failures(done)
    assert (failure.item, failure.step) == ("i", "decode")
    assert "takes text, not image" in failure.error.message


async def test_an_empty_folder_succeeds_at_once(suite: Suite) -> None:
    done = await suite.run_files()
    assert done.state == SUCCEEDED
    assert done.counts.HasField("total")
    assert done.counts.total == 0


async def test_create_job_answers_before_anything_is_listed(suite: Suite) -> None:
    """How fast that is, is measured by the benchmarks: machines of tests are too busy to say."""
    fill(suite.root, 1500)
    gate = suite.peers.gates["GetCollection"] = asyncio.Event()
    created = await suite.create_files()
    assert created.state == job_pb2.Job.STATE_PENDING
    assert not created.counts.HasField("total")
    gate.set()
    assert (await suite.finish(created)).counts.created == 1500


async def test_a_repeated_request_is_the_same_job(suite: Suite) -> None:
    fill(suite.root, 3)
    created = await asyncio.gather(*(suite.create_files(request_id="again") for _ in range(8)))
    assert len({job.name for job in created}) == 1
    done = await suite.finish(created[0])
    assert done.counts.total == 3
    assert await suite.create_files(request_id="again") == await suite.get(done)
    with caught(grpc.StatusCode.ALREADY_EXISTS, "RESOURCE_EXISTS", "job.request_id"):
        await suite.create_files(request_id="again", attributes=attributes(other=1))


async def test_include_and_exclude_leave_items_out_by_name(suite: Suite) -> None:
    fill(suite.root, 4)
    fill(suite.root / "cats", 2)
    source = job_pb2.FilesSource(
        uris=[f"{suite.root.as_uri()}/"], include=["cats/*", "3.png"], exclude=["*/1.png"]
    )
    done = await suite.finish(await suite.create(job_pb2.Job(collection=COLLECTION, files=source)))
    assert set(suite.peers.items()) == {"cats/0.png", "3.png"}
    assert (done.counts.created, done.counts.skipped) == (2, 4)


async def test_a_dry_run_foretells_and_writes_nothing(suite: Suite) -> None:
    fill(suite.root, 3)
    await suite.run_files()
    (suite.root / "1.png").write_bytes(png(9))
    (suite.root / "new.png").write_bytes(png(8))
    (suite.root / "bad.png").write_bytes(b"no picture")
    before = dict(suite.peers.entities)
    done = await suite.run_files(options=job_pb2.Options(dry_run=True))
    counts = done.counts
    assert (counts.created, counts.updated, counts.unchanged, counts.failed) == (1, 1, 2, 1)
    assert done.entities.written == 0
    assert suite.peers.entities == before


async def test_originals_are_kept_unless_told_not_to(suite: Suite) -> None:
    fill(suite.root, 1)
    await suite.run_files(options=job_pb2.Options(discard_assets=True))
    (entity,) = suite.peers.entities.values()
    assert not entity.asset
    assert not list((suite.settings.data_dir / "assets" / "tenants").rglob("*.*"))


async def test_older_segments_of_an_item_are_swept_away(suite: Suite) -> None:
    """As if an earlier job had split the photo into more parts, or crashed half-way."""
    fill(suite.root, 1)
    for number in range(1, 4):
        name = f"{COLLECTION}/entities/stale-{number}"
        suite.peers.entities["", name] = entity_pb2.Entity(name=name, item="0.png", generation=7)
    done = await suite.run_files()
    assert done.entities.removed == 3
    assert suite.peers.items() == {"0.png": 1}


async def test_a_newer_generation_is_never_replaced(suite: Suite) -> None:
    fill(suite.root, 2)
    name = f"{COLLECTION}/entities/{entity_id('0.png', 'whole', 0)}"
    newer = entity_pb2.Entity(name=name, item="0.png", generation=2**62)
    suite.peers.entities["", name] = newer
    done = await suite.run_files()
    assert (done.counts.created, done.counts.failed) == (1, 1)
    (failure,) = await suite.failures(done)
    assert (failure.item, failure.step) == ("0.png", "write")
    assert failure.error.code == grpc.StatusCode.ABORTED.value[0]
    assert suite.peers.entities["", name] == newer


async def test_one_bad_item_is_a_row_and_stops_nothing(suite: Suite) -> None:
    fill(suite.root, 20)
    (suite.root / "poison.png").write_bytes(png(1, filler=POISON))
    done = await suite.run_files()
    assert done.state == WITH_FAILURES
    assert (done.counts.created, done.counts.failed, done.counts.total) == (20, 1, 21)
    (failure,) = await suite.failures(done)
    assert (failure.item, failure.step, failure.attempts) == ("poison.png", "encode", 1)
    assert failure.source_uri.endswith("/poison.png")
    assert failure.asset.startswith("assets/")


async def test_the_first_bad_item_fails_the_job_if_asked_to(suite: Suite) -> None:
    (suite.root / "bad.png").write_bytes(b"no picture")
    fill(suite.root, 5)
    done = await suite.run_files(options=job_pb2.Options(on_error=job_pb2.Options.ON_ERROR_STOP))
    assert done.state == job_pb2.Job.STATE_FAILED
    assert done.error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    counts = done.counts
    total = counts.created + counts.updated + counts.unchanged + counts.skipped + counts.failed
    assert counts.failed == 1
    assert total == counts.total == 6


async def test_failures_are_listed_page_by_page(suite: Suite) -> None:
    for number in range(7):
        (suite.root / f"{number}.jpg").write_bytes(b"no picture")
    done = await suite.run_files()
    seen: list[str] = []
    request = pb.ListJobFailuresRequest(name=done.name, page_size=3)
    for _ in range(3):
        page = await suite.jobs.ListJobFailures(request)
        seen += [failure.item for failure in page.failures]
        request.page_token = page.next_page_token
    assert not request.page_token
    assert sorted(seen) == [f"{number}.jpg" for number in range(7)]
    with caught(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PAGE_TOKEN", "page_token"):
        await suite.jobs.ListJobFailures(pb.ListJobFailuresRequest(name=done.name, page_token="x"))


async def test_jobs_are_listed_newest_first(suite: Suite) -> None:
    done = [await suite.run_files() for _ in range(5)]
    listed: list[str] = []
    request = pb.ListJobsRequest(page_size=2)
    for _ in range(3):
        page = await suite.jobs.ListJobs(request)
        listed += [job.name for job in page.jobs]
        request.page_token = page.next_page_token
    assert not request.page_token
    assert listed == [job.name for job in reversed(done)]
    for filtered, expected in (
        (pb.ListJobsRequest(states=[SUCCEEDED]), 5),
        (pb.ListJobsRequest(states=[job_pb2.Job.STATE_FAILED]), 0),
        (pb.ListJobsRequest(collection=COLLECTION), 5),
        (pb.ListJobsRequest(collection="collections/other"), 0),
    ):
        assert len((await suite.jobs.ListJobs(filtered)).jobs) == expected


async def test_a_cancelled_job_ends_at_once_and_writes_no_more(suite: Suite) -> None:
    fill(suite.root, 100)
    gate = suite.peers.gates["Encode"] = asyncio.Event()
    job = await suite.create_files()
    await assert_eventually(lambda: suite.peers.calls["Encode"] > 0)
    cancelled = await suite.jobs.CancelJob(pb.CancelJobRequest(name=job.name))
    assert cancelled.state == job_pb2.Job.STATE_CANCELLED
    gate.set()
    counts = cancelled.counts
    assert (counts.total, counts.skipped) == (100, 100)
    again = await suite.jobs.CancelJob(pb.CancelJobRequest(name=job.name))
    assert again == await suite.get(job)
    assert (await suite.run_files()).counts.created == 100
    assert await suite.get(job) == again


async def test_watching_goes_on_from_an_offset_and_never_falls(suite: Suite) -> None:
    fill(suite.root, 200)
    job = await suite.create_files()
    offsets: list[int] = []
    done: list[int] = []
    last = job
    while last.state != SUCCEEDED:
        request = pb.WatchJobRequest(name=job.name, offset=offsets[-1] if offsets else 0)
        async for reply in suite.jobs.WatchJob(request):
            offsets.append(reply.offset)
            last = reply.job
            done.append(last.counts.created)
            break  # the connection is lost after every reply
    assert offsets == sorted(set(offsets))
    assert done == sorted(done)
    assert last.counts.created == 200
    ended = suite.jobs.WatchJob(pb.WatchJobRequest(name=job.name, offset=offsets[-1]))
    assert [reply async for reply in ended] == []
    with caught(grpc.StatusCode.OUT_OF_RANGE, "INVALID_FIELD", "offset"):
        beyond = pb.WatchJobRequest(name=job.name, offset=offsets[-1] + 1)
        async for _ in suite.jobs.WatchJob(beyond):
            pytest.fail("nothing lies there")


async def test_a_running_job_tells_how_fast_it_is(suite: Suite) -> None:
    fill(suite.root, 300)
    job = await suite.create_files()
    replies = suite.jobs.WatchJob(pb.WatchJobRequest(name=job.name))
    jobs = [reply.job async for reply in replies]
    seen = [each.progress for each in jobs]
    assert any(each.step_load["encode"] > 0 for each in seen if "encode" in each.step_load)
    estimates = [each.estimate for each in jobs if each.HasField("estimate")]
    assert any(each.time.ToNanoseconds() for each in estimates)
    originals = sum(each.stat().st_size for each in suite.root.iterdir())
    assert estimates[-1].stored_bytes == originals + 300 * 16
    assert dict(jobs[-1].media_types) == {"image/png": 300}
    assert any(each.items_per_second > 0 for each in seen)
    assert {each.bottleneck for each in seen} <= {"", "fetch", "decode", "encode", "write"}
    assert seen[-1] == job_pb2.Progress()


@pytest.mark.parametrize("call", ["GetJob", "CancelJob", "WatchJob", "ListJobFailures"])
async def test_an_unknown_job_is_not_found(suite: Suite, call: str) -> None:
    requests = {
        "GetJob": pb.GetJobRequest,
        "CancelJob": pb.CancelJobRequest,
        "WatchJob": pb.WatchJobRequest,
        "ListJobFailures": pb.ListJobFailuresRequest,
    }
    with caught(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"):
        called = getattr(suite.jobs, call)(requests[call](name="jobs/none"))
        if call == "WatchJob":
            async for _ in called:
                pytest.fail("there is no such job")
        else:
            await called


@pytest.mark.parametrize(
    ("job", "field"),
    [
        (
            given(
                job_pb2.SourceItem(
                    content=content_pb2.Content(
                        raw_image=content_pb2.RawImage(data=b"x", width=1, height=1)
                    )
                )
            ),
            "job.items.items[0].content.raw_image",
        ),
    ],
)
async def test_what_is_not_built_yet_says_so(suite: Suite, job: job_pb2.Job, field: str) -> None:
    job.collection = COLLECTION
    if job.WhichOneof("source") is None:
        job.files.uris.append(f"{suite.root.as_uri()}/")
    with caught(grpc.StatusCode.UNIMPLEMENTED, "NOT_IMPLEMENTED", field):
        await suite.create(job)


async def test_reserved_attribute_names_are_refused(suite: Suite) -> None:
    with caught(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", "job.attributes.asset"):
        await suite.create_files(attributes=attributes(asset="x"))


async def test_an_unknown_collection_is_refused_at_once(suite: Suite) -> None:
    with caught(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND", "job.collection"):
        await suite.create(
            job_pb2.Job(
                collection="collections/none",
                files=job_pb2.FilesSource(uris=[f"{suite.root.as_uri()}/"]),
            )
        )


async def test_a_collection_that_vanishes_fails_the_job(suite: Suite) -> None:
    fill(suite.root, 100)
    gate = suite.peers.gates["Encode"] = asyncio.Event()
    job = await suite.create_files()
    await assert_eventually(lambda: suite.peers.calls["Encode"] > 0)
    suite.peers.collections.clear()
    gate.set()
    done = await suite.finish(job)
    assert done.state == job_pb2.Job.STATE_FAILED
    assert done.error.code == grpc.StatusCode.NOT_FOUND.value[0]


async def test_another_fingerprint_fails_the_job_by_name(suite: Suite) -> None:
    fill(suite.root, 3)
    suite.peers.fingerprint = "0" * 64
    done = await suite.run_files()
    assert done.state == job_pb2.Job.STATE_FAILED
    assert done.error.code == grpc.StatusCode.FAILED_PRECONDITION.value[0]
    assert suite.peers.bound_to in done.error.message
    assert "0" * 64 in done.error.message
    assert not suite.peers.entities
    assert ENCODER


async def test_a_collection_bound_anew_in_the_middle_of_a_job_is_followed(suite: Suite) -> None:
    fill(suite.root, 3)
    gate = suite.peers.gates["Encode"] = asyncio.Event()
    job = await suite.create_files()
    await assert_eventually(lambda: suite.peers.calls["Encode"] > 0)
    suite.peers.fingerprint = suite.peers.bound_to = "0" * 64
    gate.set()
    assert (await suite.finish(job)).state == SUCCEEDED


async def test_vectors_of_the_encoder_before_are_never_written(suite: Suite) -> None:
    fill(suite.root, 3)
    gate = suite.peers.gates["UpsertEntities"] = asyncio.Event()
    job = await suite.create_files()
    await assert_eventually(lambda: suite.peers.calls["UpsertEntities"] > 0)
    suite.peers.fingerprint = suite.peers.bound_to = "0" * 64
    gate.set()
    assert (await suite.finish(job)).state == SUCCEEDED
    assert suite.peers.encoded == 6
