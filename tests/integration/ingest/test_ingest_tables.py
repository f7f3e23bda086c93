"""Tables and files of records, from the file to what is written, with what is broken in them."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import tarfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from google.protobuf.json_format import MessageToDict
from pydantic import ByteSize

from lookalike.ingest.v1 import job_pb2
from lookalike.search.v1 import entity_pb2
from lookalike.type.v1 import content_pb2
from lookalike_common.status import error_from_status
from lookalike_common.testing import assert_eventually
from lookalike_ingest.settings import IngestSettings, TableSettings
from tests.integration.ingest.conftest import State, Suite, caught, running_ingest
from tests.support.ingest_peers import COLLECTION, Peers
from tests.support.pictures import png
from tests.support.zips import make_zip

TEXTS = (content_pb2.MODALITY_TEXT,)


@pytest.fixture
def peers() -> Peers:
    return Peers(modalities=(*TEXTS, content_pb2.MODALITY_IMAGE))


async def run(suite: Suite, uri: str, columns: Mapping[str, str], **fields: Any) -> job_pb2.Job:
    """Ingest a table under the root, or one named by a whole URI."""
    uri = uri if "://" in uri or "/" in uri else (suite.root / uri).as_uri()
    table = job_pb2.TableSource(uri=uri, columns=columns)
    return await suite.finish(
        await suite.create(job_pb2.Job(collection=COLLECTION, table=table, **fields))
    )


async def failed(suite: Suite, job: job_pb2.Job) -> dict[int, str]:
    """Return the reason of each failure by its line, each with a failure row of its own."""
    failures = await suite.failures(job)
    assert len({each.item for each in failures}) == len(failures) == job.counts.failed
    return {each.line: each.error.message for each in failures}


def written(peers: Peers) -> dict[str, entity_pb2.Entity]:
    """Return the one entity of each item."""
    entities = {entity.item: entity for entity in peers.entities.values()}
    assert len(entities) == len(peers.entities)
    return entities


ROWS = 'sku,body,price,note\n1,apple,2.5,\n2,"ba\nnana",,x\n,lost,1,\n3,cherry,9,y\n'


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("t.csv", ROWS.encode()),
        ("t.csv.gz", gzip.compress(ROWS.encode(), mtime=0)),
        ("t.tsv.zst", zstandard.compress(ROWS.replace(",", "\t").encode())),
    ],
)
async def test_rows_become_items(suite: Suite, name: str, data: bytes) -> None:
    """A row without its key fails alone, at its line; the second run finds nothing to do."""
    (suite.root / name).write_bytes(data)
    columns = {"item": "sku", "text": "body", "attributes.cost": "price"}
    job = await run(suite, name, columns)
    assert job.state == State.STATE_SUCCEEDED_WITH_FAILURES
    assert (job.counts.total, job.counts.created, job.counts.failed) == (4, 3, 1)
    assert await failed(suite, job) == {5: "the column 'sku' gives the item no key"}
    entities = written(suite.peers)
    assert {key: each.text for key, each in entities.items()} == {
        "1": "apple",
        "2": "ba\nnana",
        "3": "cherry",
    }
    assert MessageToDict(entities["1"].attributes) == {"cost": "2.5"}
    assert MessageToDict(entities["3"].attributes) == {"cost": "9", "note": "y"}
    assert not any(each.asset for each in entities.values())
    again = await run(suite, name, columns)
    assert (again.counts.unchanged, again.counts.failed) == (3, 1)
    other = await run(suite, name, {"item": "sku", "text": "body"})
    assert other.counts.updated == 2, "the price is another attribute now, of those that have one"


async def test_broken_rows_fail_each_at_its_line(suite: Suite) -> None:
    rows = [b"body,n", b"good,1", b"short", b'"open,3', b"\xff,4", b"fine,5", b"too,many,6", b",7"]
    (suite.root / "t.csv").write_bytes(b"\n".join(rows))
    job = await run(suite, "t.csv", {"text": "body"})
    assert (job.counts.created, job.counts.failed) == (2, 5)
    assert {
        line: words.split(":")[0][:30] for line, words in (await failed(suite, job)).items()
    } == {
        3: "the row has 1 values, the head",
        4: "a quotation mark is not closed",
        5: "the row is not valid UTF-8",
        7: "the row has 3 values, the head",
        8: "the row says nothing",
    }
    assert set(written(suite.peers)) == {"t.csv#1", "t.csv#5"}


async def test_json_lines_keep_their_types(suite: Suite) -> None:
    lines = [
        {"id": 7, "t": "apple", "tags": ["a", {"b": 1}], "ok": True, "none": None},
        {"id": 7, "t": "the same key"},
        {"id": 8, "t": "banana", "n": 1.5},
    ]
    texts = [json.dumps(each) for each in lines]
    texts.insert(1, '{"id": 9, "t": ')
    (suite.root / "t.jsonl").write_text("\n".join(texts), encoding="utf-8-sig")
    job = await run(suite, "t.jsonl", {"item": "id", "text": "t"})
    assert (job.counts.created, job.counts.failed) == (2, 2)
    assert {each.line for each in await suite.failures(job)} == {2, 3}
    assert MessageToDict(written(suite.peers)["7"].attributes) == {
        "tags": ["a", {"b": 1}],
        "ok": True,
    }


def write_parquet(path: Path, **columns: list[Any]) -> None:
    pq.write_table(pa.table(columns), path, row_group_size=3)


async def test_parquet_rows_across_row_groups(suite: Suite) -> None:
    write_parquet(
        suite.root / "t.parquet",
        key=[f"k{n}" for n in range(10)],
        body=[f"text {n}" if n != 4 else None for n in range(10)],
        price=[n / 2 for n in range(10)],
    )
    job = await run(suite, "t.parquet", {"item": "key", "text": "body"})
    assert (job.counts.total, job.counts.created, job.counts.failed) == (10, 9, 1)
    assert await failed(suite, job) == {5: "the row says nothing: its columns are empty"}
    entities = written(suite.peers)
    assert {key: each.text for key, each in entities.items()} == {
        f"k{n}": f"text {n}" for n in range(10) if n != 4
    }
    assert MessageToDict(entities["k7"].attributes) == {"price": 3.5}


async def test_rows_that_refer_to_files(suite: Suite) -> None:
    """Beside the table, by whole URIs, never out of the root; attributes come from the row."""
    (suite.root / "in").mkdir()
    (suite.root / "in" / "a b.png").write_bytes(png(1))
    (suite.root / "c.png").write_bytes(png(2))
    whole = (suite.root / "c.png").as_uri()
    rows = f"file,color\na b.png,red\n{whole},blue\n../../etc/passwd,x\nfile:///etc/passwd,y\nno.png,z\n,w\n"
    (suite.root / "in" / "t.csv").write_text(rows)
    job = await run(suite, (suite.root / "in" / "t.csv").as_uri(), {"uri": "file"})
    assert (job.counts.created, job.counts.failed) == (2, 4)
    reasons = await failed(suite, job)
    assert set(reasons) == {4, 5, 6, 7}
    colors = {key: dict(each.attributes) for key, each in written(suite.peers).items()}
    assert colors == {"t.csv#1": {"color": "red"}, "t.csv#2": {"color": "blue"}}
    assert all(each.asset for each in written(suite.peers).values())
    (suite.root / "in" / "t.csv").write_text(rows.replace("red", "green"))
    assert (
        await run(suite, (suite.root / "in" / "t.csv").as_uri(), {"uri": "file"})
    ).counts.updated == 1


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("t.csv", b"a,b\n1,2\n", "no column 'body'"),
        ("t.csv", b"", "no header"),
        ("t.csv", b"body,body\n", "twice"),
        ("t.csv", b"a b,a-b,body\n", "second attribute"),
        ("t.parquet", b"PAR1 and no more", "Parquet"),
        ("t.parquet.gz", gzip.compress(b"PAR1", mtime=0), "packed inside"),
        ("t.csv.gz", gzip.compress(b"body\n" + b"x\n" * 9, mtime=0)[:-9], "truncated"),
    ],
)
async def test_a_table_that_is_none_is_one_failure(
    suite: Suite, name: str, data: bytes, words: str
) -> None:
    (suite.root / name).write_bytes(data)
    job = await run(suite, name, {"text": "body"})
    assert job.state == State.STATE_SUCCEEDED_WITH_FAILURES
    assert job.counts.failed == 1
    (reason,) = (await failed(suite, job)).values()
    assert words in reason


async def test_a_table_that_changed_is_not_read_on(suite: Suite) -> None:
    """Its rows were found at places that mean something else now."""
    table = suite.root / "t.csv"
    table.write_text("body\n" + "apple\n" * 5)
    gate = suite.peers.gates["GetEncoder"] = asyncio.Event()
    source = job_pb2.TableSource(uri=table.as_uri(), columns={"text": "body"})
    job = await suite.create(job_pb2.Job(collection=COLLECTION, table=source))

    async def listed() -> bool:
        return (await suite.get(job)).counts.total == 5

    await assert_eventually(listed)
    table.write_text("body\n" + "melon\n" * 5)
    gate.set()
    done = await suite.finish(job)
    assert done.counts.failed == 5
    assert {each.error.message for each in await suite.failures(job)} == {
        "the file changed since it was listed"
    }


@pytest.mark.parametrize(
    ("uri", "columns", "field"),
    [
        ("file:///etc/passwd", {"text": "a"}, "job.table.uri"),
        ("", {"text": "a", "smiles": "b"}, "job.table.columns"),
        ("", {"text": "a", "color": "b"}, "job.table.columns.color"),
    ],
)
async def test_requests_without_sense_are_refused(
    suite: Suite, uri: str, columns: dict[str, str], field: str
) -> None:
    (suite.root / "t.csv").write_text("a,b\n")
    source = job_pb2.TableSource(uri=uri or (suite.root / "t.csv").as_uri(), columns=columns)
    reason = "LOCATION_NOT_ALLOWED" if uri else "INVALID_FIELD"
    with caught(grpc.StatusCode.INVALID_ARGUMENT, reason, field):
        await suite.create(job_pb2.Job(collection=COLLECTION, table=source))


async def test_limits_of_tables_hold(settings: IngestSettings, peers: Peers, root: Path) -> None:
    limits = TableSettings(max_record_bytes=ByteSize(20), max_records=2, max_columns=3)
    (root / "t.jsonl").write_text('{"t": "xxxxxxxxxx"}\n{"t": "xxxxxxxxxxx"}\n{"t": "c"}\n')
    (root / "w.csv").write_text("a,b,c,d\n")
    async with running_ingest(settings.model_copy(update={"tables": limits}), peers) as suite:
        job = await run(suite, "t.jsonl", {"text": "t"})
        assert (job.counts.created, job.counts.failed) == (1, 2)
        reasons = {each.error.message for each in await suite.failures(job)}
        assert reasons == {
            "the record has 21 bytes; at most 20 are allowed",
            "the table has more than 2 rows; that many were taken",
        }
        wide = await run(suite, "w.csv", {"text": "a"})
        assert await failed(suite, wide) == {0: "the row has 4 columns; at most 3 are allowed"}


FASTA = b">a first\nACGT\nAC\n>broken\n\n>b\nGGG\n>a again\nTTT\n"


async def test_records_are_items_wherever_they_lie(suite: Suite) -> None:
    """In a folder, compressed, and in archives; each with its bytes and its line."""
    suite.peers.modalities = (content_pb2.MODALITY_SEQUENCE,)
    (suite.root / "f.fa").write_bytes(FASTA)
    (suite.root / "g.fasta.gz").write_bytes(gzip.compress(FASTA))
    (suite.root / "z.zip").write_bytes(make_zip({"in/h.fa": FASTA}))
    with tarfile.open(suite.root / "t.tar", "w") as archive:
        info = tarfile.TarInfo("i.fa")
        info.size = len(FASTA)
        archive.addfile(info, io.BytesIO(FASTA))
    job = await suite.run_files()
    assert (job.counts.total, job.counts.created, job.counts.failed) == (16, 12, 4)
    names = ("f.fa", "g.fasta.gz", "z.zip!/in/h.fa", "t.tar!/i.fa")
    expected = {f"{name}{behind}" for name in names for behind in ("!/a", "!/b", "#4")}
    assert set(written(suite.peers)) == expected
    assert not any(each.asset for each in suite.peers.entities.values())
    failures = await suite.failures(job)
    assert Counter((each.line, each.step) for each in failures) == {(4, "unpack"): 4}
    assert {each.item for each in failures} == {f"{name}!/broken" for name in names}
    assert (await suite.run_files()).counts.unchanged == 12


async def test_records_of_a_kind_that_is_not_taken_are_left_out(suite: Suite) -> None:
    (suite.root / "f.fa").write_bytes(FASTA)
    job = await suite.run_files()
    assert (job.counts.total, job.counts.skipped, job.counts.failed) == (4, 3, 1)


ETHANOL = """ethanol

  made by hand
  3  2  0  0  0  0  0  0  0  0999 V2000
    0.0000    0.0000    0.0000 C   0  0
    1.5000    0.0000    0.0000 C   0  0
    2.0000    1.4000    0.0000 O   0  0
  1  2  1  0
  2  3  1  0
M  END
> <Boiling Point>
78.4

"""


async def test_molecules_of_files(suite: Suite) -> None:
    """An SD record's properties become attributes; a broken one in the middle fails alone."""
    suite.peers.modalities = (content_pb2.MODALITY_MOLECULE,)
    broken = ETHANOL.replace("ethanol", "broken").replace("  3  2  0", "  9  9  0")
    (suite.root / "d.sdf").write_text(f"{ETHANOL}$$$$\n{broken}$$$$\n{ETHANOL}$$$$\n")
    (suite.root / "d.smi").write_text("smiles name\nCCO ethanol\nC\n")
    job = await suite.run_files()
    assert (job.counts.total, job.counts.created, job.counts.failed) == (5, 4, 1)
    assert set(await failed(suite, job)) == {15}
    entities = written(suite.peers)
    assert {key: each.text for key, each in entities.items()} == {
        "d.sdf!/ethanol": "CCO",
        "d.sdf#3": "CCO",
        "d.smi!/ethanol": "CCO",
        "d.smi#2": "C",
    }
    assert dict(entities["d.sdf#3"].attributes) == {"Boiling_Point": "78.4"}


async def test_a_job_too_large_for_its_backend(
    settings: IngestSettings, peers: Peers, root: Path
) -> None:
    """Warned of while it may be, refused once it is certain, and put in order when it was large."""
    limits = {"lite_warn_entities": 2, "lite_max_entities": 4, "optimize_after": 4}
    jobs = settings.jobs.model_copy(update=limits)
    (root / "t.csv").write_text("body\n" + "".join(f"text {n}\n" for n in range(4)))
    peers.backend = "milvus-lite"
    async with running_ingest(settings.model_copy(update={"jobs": jobs}), peers) as suite:
        job = await run(suite, "t.csv", {"text": "body"})
        assert job.state == State.STATE_SUCCEEDED
        assert ["up to 4 entities" in each for each in job.warnings] == [True]
        assert peers.calls["OptimizeCollection"] == 1
        (root / "t.csv").write_text("body\n" + "".join(f"text {n}\n" for n in range(5)))
        refused = await run(suite, "t.csv", {"text": "body"})
        assert refused.state == State.STATE_FAILED
        assert error_from_status(refused.error).reason == "UNSUPPORTED_BY_BACKEND"
        assert len(peers.entities) == 4
        peers.backend = "milvus-2.6"
        done = await run(suite, "t.csv", {"text": "body"})
        assert (done.state, list(done.warnings)) == (State.STATE_SUCCEEDED, [])
        assert peers.calls["OptimizeCollection"] == 1
