"""What is found out about an item goes where a collection asks for it, in the type it asks for."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lookalike_ingest.entities import AttributeType
from lookalike_ingest.found_attributes import FOUND, as_declared, identity_of, of_place
from lookalike_ingest.job import FilesSource, ItemsSource, Job, JobSpec, Json, Source
from lookalike_ingest.media_types import MediaType

PNG = MediaType("image/png", None)


def job(source: Source) -> Job:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return Job("job", "", "", JobSpec("collections/a", source), 1, now)


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("a/b/c.JPG", {"folder": "a/b", "file_name": "c.JPG", "extension": "jpg"}),
        ("c", {"file_name": "c"}),
        (".hidden", {"file_name": ".hidden"}),
        ("a.zip!/c.tar.gz", {"folder": "a.zip", "file_name": "c.tar.gz", "extension": "gz"}),
        ("a.zip!/b/c.png", {"folder": "a.zip!/b", "file_name": "c.png", "extension": "png"}),
    ],
)
def test_a_file_has_the_parts_of_its_path(key: str, path: dict[str, Json]) -> None:
    found = of_place(job(FilesSource(["file:///x/"])), key, PNG)
    assert found == {"path": key, "media_type": "image/png", **path}


def test_a_given_item_has_no_path() -> None:
    assert of_place(job(ItemsSource([])), "a/b.png", PNG) == {"media_type": "image/png"}


@pytest.mark.parametrize(
    ("value", "wanted", "kept"),
    [
        ("text", AttributeType.STRING, "text"),
        (30, AttributeType.STRING, "30"),
        (30, AttributeType.INT, 30),
        (30, AttributeType.DOUBLE, 30.0),
        (30, AttributeType.JSON, 30),
        (0.5, AttributeType.DOUBLE, 0.5),
        ("text", AttributeType.STRING_LIST, ["text"]),
        ("2024-05-06T07:08:09+00:00", AttributeType.TIMESTAMP, "2024-05-06T07:08:09+00:00"),
        (True, AttributeType.BOOL, True),
        (0.5, AttributeType.INT, None),
        ("text", AttributeType.INT, None),
        ("text", AttributeType.DOUBLE, None),
        ("text", AttributeType.TIMESTAMP, None),
        ("2024-05-06T07:08:09", AttributeType.TIMESTAMP, None),
        (30, AttributeType.BOOL, None),
        (30, AttributeType.STRING_LIST, None),
    ],
)
def test_values_fit_or_are_left_out(value: Json, wanted: AttributeType, kept: Json) -> None:
    expected = {} if kept is None else {"it": kept}
    assert as_declared({"it": value, "other": 1}, {"it": wanted}) == expected


def test_asking_for_more_makes_other_entities() -> None:
    asked = {"width": AttributeType.INT, "mine": AttributeType.STRING}
    assert identity_of({"mine": AttributeType.STRING}) == ""
    assert identity_of(asked) != identity_of({"width": AttributeType.DOUBLE})
    assert identity_of(dict.fromkeys(FOUND, AttributeType.STRING)).count(":") == len(FOUND)
