"""What `lookalike ingest` asks the service for."""

import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from google.protobuf.json_format import MessageToDict

if TYPE_CHECKING:
    from tests.integration.client.conftest import Ended, FakeSuite

Command = Callable[..., "Ended"]


@pytest.fixture
def order(lookalike: Command, suite: "FakeSuite") -> Callable[..., dict[str, object]]:
    """The job that a command line makes, as JSON without what the service adds."""

    def order(*arguments: str) -> dict[str, object]:
        ended = lookalike("ingest", *arguments, "--no-wait")
        assert ended.code == 0, ended.complaints
        job = MessageToDict(suite.jobs[-1])
        return {name: job[name] for name in job.keys() - {"name", "state", "collection"}}

    return order


@pytest.mark.parametrize(
    ("arguments", "source"),
    [
        (["s3://bucket/photos/"], {"files": {"uris": ["s3://bucket/photos/"]}}),
        (
            ["https://example.org/a.zip", "assets/ab", "--include", "**/*.png", "--exclude", "x*"],
            {
                "files": {
                    "uris": ["https://example.org/a.zip", "assets/ab"],
                    "include": ["**/*.png"],
                    "exclude": ["x*"],
                }
            },
        ),
        (["gs://bucket/things.csv"], {"table": {"uri": "gs://bucket/things.csv"}}),
        (
            ["az://c/rows.JSONL.zst", "--column", "text=body", "--column", "attributes.year=y"],
            {
                "table": {
                    "uri": "az://c/rows.JSONL.zst",
                    "columns": {"text": "body", "attributes.year": "y"},
                }
            },
        ),
        (["s3://bucket/tables.csv/"], {"files": {"uris": ["s3://bucket/tables.csv/"]}}),
        (
            ["--from-collection", "old", "--filter", "year > 2000"],
            {"fromCollection": {"collection": "collections/old", "filter": "year > 2000"}},
        ),
    ],
)
def test_sources(
    order: Callable[..., dict[str, object]],
    lookalike: Command,
    arguments: list[str],
    source: dict[str, object],
) -> None:
    assert lookalike("collections", "create", "old").code == 0
    assert order(*arguments) == {"options": {}, **source}


def test_options(order: Callable[..., dict[str, object]]) -> None:
    flags = ["--sync", "--stop-on-error", "--discard-originals", "--keep-location"]
    more = ["--watch", "90s", "--max-rate", "2.5", "--label", "by=me", "--request-id", "r1"]
    attributes = [
        "--attribute",
        "year=2020",
        "--attribute",
        "by=me",
        "--attribute",
        "t=[1]",
        "--attribute",
        "n=NaN",
    ]
    asked = order("s3://b/", *flags, *more, *attributes)
    assert asked["options"] == {
        "sync": True,
        "onError": "ON_ERROR_STOP",
        "discardAssets": True,
        "keepLocation": True,
        "watchInterval": "90s",
        "maxItemsPerSecond": 2.5,
    }
    assert asked["attributes"] == {"year": 2020, "by": "me", "t": [1], "n": "NaN"}
    assert (asked["labels"], asked["requestId"]) == ({"by": "me"}, "r1")


def test_splitters(order: Callable[..., dict[str, object]]) -> None:
    pictures = ["--detector", "nanodet", "--tile-pixels", "64", "--parts-only", "--min-score", ".5"]
    videos = ["--max-interval", "500ms", "--skip-audio"]
    sounds = ["--window", "2s", "--hop", "1s", "--keep-silence"]
    texts = ["--max-tokens", "100", "--overlap-tokens", "10"]
    sequences = ["--bases", "1000", "--step", "500", "--both-strands"]
    molecules = ["--strip-salts", "--canonical-items"]
    asked = order("s3://b/", *pictures, *videos, *sounds, *texts, *sequences, *molecules)
    image = {
        "detector": "encoders/nanodet",
        "tilePixels": 64,
        "partsOnly": True,
        "minScore": 0.5,
    }
    assert asked["splitter"] == {
        "image": image,
        "video": {"maxInterval": "0.500s", "skipAudio": True, "frames": image},
        "audio": {"window": "2s", "hop": "1s", "keepSilence": True},
        "text": {"maxTokens": 100, "overlapTokens": 10},
        "sequence": {"window": 1000, "step": 500, "bothStrands": True},
        "molecule": {"stripSalts": True, "canonicalItems": True},
    }


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "give a source, or --from-collection"),
        (["s3://b/", "--from-collection", "c"], "give a source, or --from-collection"),
        (["s3://b/", "--filter", "a = 1"], "--filter goes with --from-collection"),
        (["no/such/thing"], "no such file or folder: no/such/thing"),
        (["s3://b/a.csv", "s3://b/b.csv"], "one table at a time"),
        (["s3://b/a.csv", "--include", "*"], "one table at a time"),
        (["s3://b/", "--column", "text"], "--column needs name=value, not text"),
        (["s3://b/", "--attribute", "=1"], "--attribute needs name=value, not =1"),
        (["s3://b/", "--watch", "soon"], "--watch soon: write 90s, 15m, 12h or 30d"),
    ],
)
def test_what_makes_no_sense_is_not_asked_for(
    lookalike: Command, suite: "FakeSuite", arguments: list[str], complaint: str
) -> None:
    ended = lookalike("ingest", *arguments)
    assert ended.code == 2, ended.complaints
    assert complaint in ended.complaints
    assert not suite.jobs
    assert not suite.made


@pytest.mark.parametrize(
    ("names", "encoder"),
    [
        (["a.txt", "b.md"], "minilm-l6-v2"),
        (["a.png", "b.mp4"], "efficientnet-lite0"),
        ([*(f"{number}.md" for number in range(11)), "a.png"], "minilm-l6-v2"),
        (["a.FLAC"], "speech-embedding"),
        (["a.fa.gz", "a.unknown"], "dna-kmer6"),
        (["a.sdf"], "morgan-2048"),
        (["a.unknown"], "efficientnet-lite0"),
    ],
)
def test_a_new_collection_has_an_encoder_for_what_the_source_is(
    lookalike: Command,
    suite: "FakeSuite",
    tmp_path: Path,
    names: list[str],
    encoder: str,
) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    assert lookalike("ingest", str(tmp_path), "-c", "new").code == 0
    assert suite.made["collections/new"].vector_fields[0].encoder == f"encoders/{encoder}"


def test_a_new_collection_has_a_field_for_each_of_several_kinds(
    lookalike: Command, suite: "FakeSuite", tmp_path: Path
) -> None:
    for name in ("a.png", "b.png", "c.txt"):
        (tmp_path / name).write_bytes(b"x")
    ended = lookalike("ingest", str(tmp_path), "-c", "new")
    fields = suite.made["collections/new"].vector_fields
    assert [(each.name, each.encoder, each.optional) for each in fields] == [
        ("pictures", "encoders/efficientnet-lite0", True),
        ("texts", "encoders/minilm-l6-v2", True),
    ]
    assert "pictures (encoders/efficientnet-lite0), texts (encoders/minilm" in ended.complaints
    assert lookalike("ingest", str(tmp_path), "-c", "c", "--encoder", "conse").code == 0
    (field,) = suite.made["collections/c"].vector_fields
    assert (field.name, field.encoder, field.optional) == ("", "encoders/conse", False)


def test_a_kind_that_is_named_alone_is_never_too_rare(
    lookalike: Command, suite: "FakeSuite", tmp_path: Path
) -> None:
    (tmp_path / "texts").mkdir()
    for number in range(20):
        (tmp_path / "texts" / f"{number}.txt").write_bytes(b"x")
    (tmp_path / "genes.fa").write_bytes(b"x")
    paths = [str(tmp_path / "genes.fa"), str(tmp_path / "texts")]
    assert lookalike("ingest", *paths, "-c", "new").code == 0
    fields = suite.made["collections/new"].vector_fields
    assert [each.name for each in fields] == ["texts", "sequences"]


def test_a_backend_that_has_one_field_gets_the_most_frequent_kind(
    lookalike: Command, suite: "FakeSuite", tmp_path: Path
) -> None:
    for name in ("a.png", "b.txt", "c.txt"):
        (tmp_path / name).write_bytes(b"x")
    suite.one_field = True
    assert lookalike("ingest", str(tmp_path), "-c", "new").code == 0
    (field,) = suite.made["collections/new"].vector_fields
    assert (field.encoder, field.optional) == ("encoders/minilm-l6-v2", False)


def test_a_table_of_molecules_has_an_encoder_of_molecules(
    lookalike: Command, suite: "FakeSuite"
) -> None:
    lookalike("ingest", "s3://b/a.csv", "--column", "smiles=S", "--no-wait")
    assert suite.made["collections/photos"].vector_fields[0].encoder == "encoders/morgan-2048"


def test_vectors_that_rows_bring_need_a_collection_that_is_there(
    lookalike: Command, suite: "FakeSuite"
) -> None:
    arguments = ["s3://b/v.parquet", "-c", "mine", "--column", "vectors.v=v", "--no-wait"]
    ended = lookalike("ingest", *arguments)
    assert ended.code == 2
    assert "collections create mine --field NAME=DIMENSIONS:METRIC" in ended.complaints
    assert not suite.jobs
    assert lookalike("collections", "create", "mine", "--field", "v=2:cosine").code == 0
    assert lookalike("ingest", *arguments).code == 0


def test_a_copy_of_a_collection_is_made_like_it(lookalike: Command, suite: "FakeSuite") -> None:
    made = ("--field", "v=minilm-l6-v2:text", "--attribute", "year:int", "--text-index")
    assert lookalike("collections", "create", "old", *made).code == 0
    suite.made["collections/old"].vector_fields[0].encoder_fingerprint = "ab"
    ended = lookalike("ingest", "--from-collection", "old", "-c", "same", "--no-wait")
    assert ended.code == 0
    assert (
        lookalike(
            *(
                "ingest",
                "--from-collection",
                "old",
                "-c",
                "other",
                "--encoder",
                "conse",
                "--no-wait",
            )
        ).code
        == 0
    )
    same, other = (suite.made[f"collections/{name}"] for name in ("same", "other"))
    (field,) = same.vector_fields
    assert (field.name, field.source_attribute, field.encoder_fingerprint) == ("v", "text", "")
    assert [each.encoder for each in other.vector_fields] == ["encoders/conse"]
    for each in (same, other):
        assert [attribute.name for attribute in each.attributes] == ["year"]
        assert each.HasField("text_index")


def test_a_dry_run_makes_no_collection(lookalike: Command, suite: "FakeSuite") -> None:
    ended = lookalike("ingest", "s3://b/", "-c", "none", "--dry-run")
    assert ended.code == 1
    assert "no such collection: collections/none" in ended.complaints
    assert not suite.made


def test_several_sources_are_sent_together(
    lookalike: Command, suite: "FakeSuite", tmp_path: Path
) -> None:
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "tom.png").write_bytes(b"tom")
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as packed:
        packed.writestr("dog.png", b"dog")
    paths = [str(tmp_path / "cats"), str(tmp_path / "more.zip"), "s3://b/"]
    assert lookalike("ingest", *paths, "--upload", "--include", "*.png").code == 0
    (job,) = suite.jobs
    folder, archive, elsewhere = job.files.uris
    assert job.files.include == ["*.png"]
    sent = zipfile.ZipFile(BytesIO(suite.uploads[folder.removeprefix("assets/")]))
    assert sent.namelist() == ["tom.png"]
    assert suite.uploads[archive.removeprefix("assets/")] == Path(paths[1]).read_bytes()
    assert elsewhere == "s3://b/"


def test_what_its_name_explains_is_sent_with_its_name(
    lookalike: Command, suite: "FakeSuite", tmp_path: Path
) -> None:
    (tmp_path / "genes.fa").write_text(">a\nACGT\n")
    (tmp_path / "b.tar.gz").write_bytes(b"an archive")
    paths = [str(tmp_path / name) for name in ("genes.fa", "b.tar.gz")]
    assert lookalike("ingest", *paths, "--upload").code == 0
    records, archive = [
        suite.uploads[each.removeprefix("assets/")] for each in suite.jobs[0].files.uris
    ]
    sent = zipfile.ZipFile(BytesIO(records))
    assert {name: sent.read(name) for name in sent.namelist()} == {"genes.fa": b">a\nACGT\n"}
    assert archive == b"an archive"


def test_a_table_is_sent_as_a_table(lookalike: Command, suite: "FakeSuite", tmp_path: Path) -> None:
    table = tmp_path / "things.csv"
    table.write_text("body\nhello\n")
    assert lookalike("ingest", str(table), "--upload", "--column", "text=body").code == 0
    asked = suite.jobs[0].table
    assert suite.uploads[asked.uri.removeprefix("assets/")] == table.read_bytes()
    assert asked.columns == {"text": "body"}
