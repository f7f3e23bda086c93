"""Documents, pictures with parts, sequences and molecules, from their files to their entities."""

from __future__ import annotations

import io

import grpc
import pytest
from PIL import Image

from lookalike.encoder.v1 import encoder_service_pb2
from lookalike.ingest.v1 import job_pb2
from lookalike.search.v1 import collection_pb2, entity_pb2
from lookalike.type.v1 import content_pb2, segment_pb2
from lookalike_common.errors import BackendUnavailableError, InvalidContentError, LookalikeError
from lookalike_common.status import error_from_status
from lookalike_common.testing import assert_eventually
from tests.integration.ingest.conftest import Suite, caught
from tests.support.documents import make_pdf
from tests.support.ingest_peers import DETECTOR, Peers

AttributeType = collection_pb2.AttributeField.Type
TEXT = " ".join(f"Sentence number {number} says something of its own." for number in range(60))


def entities(peers: Peers, item: str) -> list[entity_pb2.Entity]:
    """Return an item's entities in the order of its parts."""
    own = [entity for entity in peers.entities.values() if entity.item == item]
    return sorted(own, key=lambda entity: entity.segment.index)


def photo(**exif: object) -> bytes:
    tags = Image.Exif()
    tags[0x010F], tags[0x0132] = "ACME", "2024:05:06 07:08:09"
    tags.get_ifd(0x8825).update({1: "N", 2: (10.0, 30.0, 0.0), 3: "E", 4: (20.0, 0.0, 0.0)})
    buffer = io.BytesIO()
    Image.new("RGB", (30, 20), "teal").save(buffer, "JPEG", exif=tags, **exif)
    return buffer.getvalue()


@pytest.fixture
def texts(suite: Suite) -> Suite:
    suite.peers.modalities = (content_pb2.MODALITY_TEXT,)
    return suite


async def test_documents_of_every_kind_are_cut_and_found_again(texts: Suite) -> None:
    page = f"<html><title>Page</title><body><p>{TEXT}</body></html>"
    files = {
        "long.txt": TEXT.encode(),
        "notes.md": f"# Notes\n\n{TEXT}".encode(),
        "page.html": page.encode(),
        "report.pdf": make_pdf(["First page.", "Second page."], title="Report"),
        "short.txt": b"Only this.",
        "latin.txt": b"caf\xe9",
        "blank.txt": b" \n",
        "photo.jpg": photo(),
    }
    for name, data in files.items():
        (texts.root / name).write_bytes(data)
    splitter = job_pb2.Splitter(text=job_pb2.TextSplitter(max_tokens=60, overlap_tokens=10))
    done = await texts.run_files(splitter=splitter)
    assert (done.counts.created, done.counts.failed, done.counts.skipped) == (5, 2, 1)
    refused = {
        each.item: error_from_status(each.error).reason for each in await texts.failures(done)
    }
    assert refused == {"latin.txt": "INVALID_CONTENT", "blank.txt": "INVALID_CONTENT"}
    for name in ("long.txt", "notes.md", "page.html"):
        assert len(entities(texts.peers, name)) > 10
    for entity in entities(texts.peers, "long.txt"):
        span = entity.segment.text
        assert files["long.txt"][span.start_byte : span.end_byte].decode() == entity.text
    assert [(e.text, e.segment.page) for e in entities(texts.peers, "report.pdf")] == [
        ("First page.", 1),
        ("Second page.", 2),
    ]
    (whole,) = entities(texts.peers, "short.txt")
    assert whole.text == "Only this."
    assert not whole.HasField("segment")
    assert done.splitter == splitter
    again = await texts.run_files(splitter=splitter)
    assert again.counts.unchanged == 5
    other = await texts.run_files(
        splitter=job_pb2.Splitter(text=job_pb2.TextSplitter(max_tokens=99))
    )
    assert other.counts.updated == 5


async def test_nothing_more_is_encoded_of_a_document_that_failed_early(texts: Suite) -> None:
    lines = [f"<p>Sentence {number} says something." for number in range(5000)]
    lines[3] = "<p>This one is poison."
    (texts.root / "long.html").write_text("".join(lines))
    (texts.root / "short.html").write_text("<p>A page of its own.")
    splitter = job_pb2.Splitter(text=job_pb2.TextSplitter(max_tokens=8))
    done = await texts.run_files(splitter=splitter)
    assert (done.counts.created, done.counts.failed) == (1, 1)
    assert texts.peers.encoded < 1000
    assert {each.item for each in texts.peers.entities.values()} == {"short.html"}


async def test_a_document_that_shrinks_leaves_nothing_behind(texts: Suite) -> None:
    splitter = job_pb2.Splitter(text=job_pb2.TextSplitter(max_tokens=40))
    (texts.root / "a.txt").write_text(TEXT)
    await texts.run_files(splitter=splitter)
    assert len(entities(texts.peers, "a.txt")) > 15
    (texts.root / "a.txt").write_text("short now")
    done = await texts.run_files(splitter=splitter)
    assert [entity.text for entity in entities(texts.peers, "a.txt")] == ["short now"]
    assert done.entities.removed > 15


async def test_attributes_are_found_where_they_are_declared(suite: Suite) -> None:
    (suite.root / "2024").mkdir()
    (suite.root / "2024" / "a.JPG").write_bytes(photo())
    suite.peers.attributes = {
        "camera_make": AttributeType.TYPE_STRING,
        "taken_at": AttributeType.TYPE_TIMESTAMP,
        "latitude": AttributeType.TYPE_DOUBLE,
        "width": AttributeType.TYPE_INT,
        "folder": AttributeType.TYPE_STRING,
        "extension": AttributeType.TYPE_STRING,
    }
    await suite.run_files()
    (entity,) = entities(suite.peers, "2024/a.JPG")
    expected = {
        "camera_make": "ACME",
        "taken_at": "2024-05-06T07:08:09+00:00",
        "width": 30.0,
        "folder": "2024",
        "extension": "jpg",
    }
    assert dict(entity.attributes.items()) == expected
    done = await suite.run_files(options=job_pb2.Options(keep_location=True))
    assert done.counts.updated == 1
    assert done.options.keep_location
    (entity,) = entities(suite.peers, "2024/a.JPG")
    assert dict(entity.attributes.items()) == expected | {"latitude": 10.5}


async def test_what_the_caller_says_wins(suite: Suite) -> None:
    (suite.root / "a.jpg").write_bytes(photo())
    suite.peers.attributes = {"camera_make": AttributeType.TYPE_STRING}
    job = job_pb2.Job()
    job.attributes["camera_make"] = "mine"
    await suite.run_files(attributes=job.attributes)
    (entity,) = entities(suite.peers, "a.jpg")
    assert dict(entity.attributes.items()) == {"camera_make": "mine"}


async def test_tiles_and_objects_of_pictures(suite: Suite) -> None:
    (suite.root / "a.jpg").write_bytes(photo())
    found = encoder_service_pb2.Detection(
        label="cat", score=0.5, box=segment_pb2.BoundingBox(x=3, y=2, width=10, height=8)
    )
    suite.peers.objects = [found]
    suite.peers.attributes = {"label": AttributeType.TYPE_STRING}
    image = job_pb2.ImageSplitter(detector=DETECTOR, tile_pixels=20, min_score=0.25)
    done = await suite.run_files(splitter=job_pb2.Splitter(image=image))
    assert done.counts.created == 1
    boxes = [(e.segment.box.x, e.segment.box.width) for e in entities(suite.peers, "a.jpg")]
    assert boxes == [(0, 0), (3, 10), (0, 20), (10, 20)]
    labels = [e.attributes.fields["label"].string_value for e in entities(suite.peers, "a.jpg")]
    assert labels == ["", "cat", "", ""]
    assert suite.peers.asked_score == 0.25


async def test_a_detector_that_is_away_is_waited_for(suite: Suite) -> None:
    (suite.root / "a.jpg").write_bytes(photo())
    away: list[LookalikeError] = [BackendUnavailableError("away") for _ in range(4)]
    suite.peers.failures["Detect"] = away
    image = job_pb2.ImageSplitter(detector=DETECTOR)
    done = await suite.run_files(splitter=job_pb2.Splitter(image=image))
    assert done.counts.created == 1
    assert suite.peers.calls["Detect"] == 5


async def test_a_job_that_waits_for_a_detector_can_be_cancelled(suite: Suite) -> None:
    """Its thread is freed, or the service could not stop at the end of this test."""
    (suite.root / "a.jpg").write_bytes(photo())
    suite.peers.failures["Detect"] = [BackendUnavailableError("away") for _ in range(10_000)]
    image = job_pb2.ImageSplitter(detector=DETECTOR)
    job = await suite.create_files(splitter=job_pb2.Splitter(image=image))

    async def waits() -> bool:
        return (await suite.get(job)).state == job_pb2.Job.STATE_WAITING

    await assert_eventually(waits)
    assert (await suite.cancel(job)).state == job_pb2.Job.STATE_CANCELLED


async def test_a_picture_that_the_detector_refuses_fails_alone(suite: Suite) -> None:
    (suite.root / "a.jpg").write_bytes(photo())
    suite.peers.failures["Detect"] = [InvalidContentError("not this one")]
    image = job_pb2.ImageSplitter(detector=DETECTOR)
    done = await suite.run_files(splitter=job_pb2.Splitter(image=image))
    (failure,) = await suite.failures(done)
    assert (failure.item, failure.step) == ("a.jpg", "decode")
    assert failure.error.message == "not this one"


async def test_sequences_and_molecules_that_are_given(suite: Suite) -> None:
    suite.peers.modalities = (content_pb2.MODALITY_SEQUENCE, content_pb2.MODALITY_MOLECULE)
    items = [
        job_pb2.SourceItem(item="dna", content=content_pb2.Content(sequence=">r1\nACGTACGTAC")),
        job_pb2.SourceItem(item="bad", content=content_pb2.Content(sequence="ACGJ")),
        job_pb2.SourceItem(item="salt", content=content_pb2.Content(smiles="CC(=O)[O-].[Na+]")),
        job_pb2.SourceItem(item="none", content=content_pb2.Content(smiles="C1CC")),
    ]
    splitter = job_pb2.Splitter(
        sequence=job_pb2.SequenceSplitter(window=4, step=3, both_strands=True),
        molecule=job_pb2.MoleculeSplitter(strip_salts=True),
    )
    source = job_pb2.ItemsSource(items=items)
    job = job_pb2.Job(collection="collections/photos", items=source, splitter=splitter)
    done = await suite.finish(await suite.create(job))
    windows = [(e.segment.sequence.start, e.text) for e in entities(suite.peers, "dna")]
    assert windows == [
        *((0, "ACGT"), (0, "ACGT"), (3, "TACG"), (3, "CGTA"), (6, "GTAC"), (6, "GTAC")),
    ]
    strand = segment_pb2.SequenceSpan.Strand
    assert entities(suite.peers, "dna")[1].segment.sequence.strand == strand.STRAND_REVERSE
    assert [entity.text for entity in entities(suite.peers, "salt")] == ["CC(=O)[O-]"]
    refused = {each.item: each.step for each in await suite.failures(done)}
    assert refused == {"bad": "decode", "none": "decode"}


async def test_molecules_without_a_name_are_known_by_what_they_are(suite: Suite) -> None:
    suite.peers.modalities = (content_pb2.MODALITY_MOLECULE,)
    (suite.root / "a.smi").write_text("OCC ethanol\nCC(=O)O\nC1CC\nCC(O)=O\n[Na+].CC[O-]\n")
    molecule = job_pb2.MoleculeSplitter(canonical_items=True, strip_salts=True)
    done = await suite.run_files(splitter=job_pb2.Splitter(molecule=molecule))
    acid, ethoxide = "QTBSBXVTEAMEQO-UHFFFAOYSA-N", "HHFAWKCIHAUFRX-UHFFFAOYSA-N"
    assert set(suite.peers.items()) == {"a.smi!/ethanol", acid, ethoxide}
    assert {each.item for each in await suite.failures(done)} == {"a.smi#3", acid}
    item = job_pb2.SourceItem(content=content_pb2.Content(smiles="OC(C)=O"))
    job = job_pb2.Job(
        collection="collections/photos",
        items=job_pb2.ItemsSource(items=[item]),
        splitter=job_pb2.Splitter(molecule=molecule),
    )
    await suite.finish(await suite.create(job))
    assert set(suite.peers.items()) == {"a.smi!/ethanol", acid, ethoxide}


@pytest.mark.parametrize(
    ("splitter", "code", "reason", "field"),
    [
        (
            job_pb2.Splitter(image=job_pb2.ImageSplitter(detector="encoders/none")),
            grpc.StatusCode.NOT_FOUND,
            "RESOURCE_NOT_FOUND",
            "job.splitter.image.detector",
        ),
        (
            job_pb2.Splitter(text=job_pb2.TextSplitter(max_tokens=10, overlap_tokens=10)),
            grpc.StatusCode.INVALID_ARGUMENT,
            "INVALID_FIELD",
            "job.splitter.text.overlap_tokens",
        ),
    ],
)
async def test_splitters_that_cannot_be_are_refused(
    suite: Suite, splitter: job_pb2.Splitter, code: grpc.StatusCode, reason: str, field: str
) -> None:
    with caught(code, reason, field):
        await suite.create_files(splitter=splitter)
