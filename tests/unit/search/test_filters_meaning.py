"""Checking against a schema, what a filter means, and how it is said to Milvus."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike_common.errors import InvalidFilterError, UnsupportedByBackendError
from lookalike_search.filters import check, entity_columns, evaluate, parse, quote, render
from lookalike_search.filters.checked import CheckedExpression
from lookalike_search.model import AttributeSpec, AttributeType, JsonValue

ATTRIBUTES = (
    AttributeSpec(name="title", type=AttributeType.STRING, filterable=True, nullable=True),
    AttributeSpec(name="shelf", type=AttributeType.STRING, filterable=True),
    AttributeSpec(name="count", type=AttributeType.INT, filterable=True),
    AttributeSpec(name="price", type=AttributeType.DOUBLE, filterable=True),
    AttributeSpec(name="sold", type=AttributeType.BOOL, filterable=True),
    AttributeSpec(name="taken", type=AttributeType.TIMESTAMP, filterable=True),
    AttributeSpec(name="tags", type=AttributeType.STRING_LIST, filterable=True, nullable=True),
    AttributeSpec(name="size", type=AttributeType.INT, nullable=True),
    AttributeSpec(name="meta", type=AttributeType.JSON, filterable=True, nullable=True),
)
SCHEMA = {each.name: each.type for each in ATTRIBUTES}
COLUMNS = entity_columns(ATTRIBUTES)


def checked(text: str) -> CheckedExpression:
    return check(parse(text), SCHEMA)


def rendered(text: str) -> str:
    return render(checked(text), COLUMNS)


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("", ""),
        ("count = 5", "f_count == 5"),
        ("count != -5", "f_count != -5"),
        ("NOT count < 5", "f_count >= 5"),
        ("NOT count >= 5", "f_count < 5"),
        ("NOT count > 5", "f_count <= 5"),
        ("NOT count <= 5", "f_count > 5"),
        ("NOT (NOT count = 5)", "f_count == 5"),
        ("price < 20", "f_price < 20.0"),
        ("price < 2e1", "f_price < 20.0"),
        ("sold = true", "f_sold == true"),
        ("sold != true", "f_sold == false"),
        ("NOT sold = false", "f_sold == true"),
        ("taken < 2026-01-31T13:00:00+01:00", 'f_taken < "2026-01-31T12:00:00.000000Z"'),
        ('taken = "2026-01-31T12:00:00Z"', 'f_taken == "2026-01-31T12:00:00.000000Z"'),
        ("shelf = a", 'f_shelf == "a"'),
        ("shelf = 5", 'f_shelf == "5"'),
        ('shelf = ("a" OR b)', 'f_shelf in ["a", "b"]'),
        ("shelf != (a OR b)", 'f_shelf not in ["a", "b"]'),
        ("count = (1 OR 2)", "f_count in [1, 2]"),
        ("price = (1 OR 2.5)", "f_price in [1.0, 2.5]"),
        ('shelf = "ab*"', 'f_shelf like "ab%"'),
        ('shelf != "ab*"', '(f_shelf < "ab" or f_shelf >= "ac")'),
        ('shelf = "a_*"', '(f_shelf >= "a_" and f_shelf < "a`")'),
        ('shelf = "\U0010ffff*"', 'f_shelf like "\U0010ffff%"'),
        ('shelf != "\U0010ffff*"', '(f_shelf < "\U0010ffff")'),
        ('shelf = "%\U0010ffff*"', '(f_shelf >= "%\U0010ffff" and f_shelf < "&")'),
        ('shelf = "%\ud7ff*"', '(f_shelf >= "%\ud7ff" and f_shelf < "%\ue000")'),
        ("title = a", '((exists attrs["title"]) and f_title == "a")'),
        ("NOT title = a", '((exists attrs["title"]) and f_title != "a")'),
        ("title:*", '(exists attrs["title"])'),
        ("NOT title:*", '(not exists attrs["title"])'),
        ("tags:red", '((exists attrs["tags"]) and json_contains_any(attrs["tags"], ["red"]))'),
        (
            "NOT tags:red",
            '((exists attrs["tags"]) and not json_contains_any(attrs["tags"], ["red"]))',
        ),
        ("size = 5", '((exists attrs["size"]) and attrs["size"] == 5)'),
        (
            "size != 5",
            '((exists attrs["size"]) and (attrs["size"] < 5 or attrs["size"] > 5))',
        ),
        (
            "other = (a OR b)",
            '((exists attrs["other"]) and (attrs["other"] == "a" or attrs["other"] == "b"))',
        ),
        ("other = true", '((exists attrs["other"]) and attrs["other"] == true)'),
        ("other = 1.5", '((exists attrs["other"]) and attrs["other"] == 1.5)'),
        ("meta.a.b = 1", '((exists attrs["meta"]["a"]["b"]) and attrs["meta"]["a"]["b"] == 1)'),
        (
            r'meta."x\"]" = "\\"',
            r'((exists attrs["meta"]["x\"]"]) and attrs["meta"]["x\"]"] == "\\")',
        ),
        ("item = a", '(item != "" and item == "a")'),
        ("NOT text:*", 'text == ""'),
        (
            "asset = assets/00ff",
            '(((exists sys["asset"]) and sys["asset"] > "") and sys["asset"] == "00ff")',
        ),
        (
            "count = 1 AND (price = 2 OR sold = true)",
            "(f_count == 1 and (f_price == 2.0 or f_sold == true))",
        ),
        ("NOT (count = 1 AND price = 2)", "(f_count != 1 or f_price != 2.0)"),
        ("NOT (count = 1 OR price = 2)", "(f_count != 1 and f_price != 2.0)"),
    ],
)
def test_text_renders_to_expression(text: str, expression: str) -> None:
    assert rendered(text) == expression


@pytest.mark.parametrize(
    ("text", "offset", "part"),
    [
        ("count = x", 8, "whole number"),
        ('count = "5"', 8, "without quotes"),
        ("count = 5.5", 8, "whole number"),
        ("count = 9223372036854775808", 8, "64 bits"),
        ("count = -9223372036854775808", 8, "64 bits"),
        ("other = 9223372036854775808", 8, "64 bits"),
        ("price = 1e999", 8, "larger"),
        ("price = nan", 8, "a number"),
        ("price = Infinity", 8, "a number"),
        ("price = 0x10", 8, "a number"),
        ("price = \u0661", 8, "a number"),
        ("sold = 1", 7, "true or false"),
        ("sold < true", 7, "no order"),
        ("sold:true", 5, "compare it with ="),
        ("taken > yesterday", 8, "an instant"),
        ("taken > 2026-01-31", 8, "an instant"),
        ("taken > 2026-01-31T12:00:00", 8, "an instant"),
        ("count:5", 6, "compare it with ="),
        ("tags = red", 7, "ask for a member"),
        ("tags < red", 7, "no order"),
        ("tags:re*", 5, "stands alone"),
        ("shelf < ab*", 8, "a star stands only"),
        ("count = 5*", 8, "only in texts"),
        ("shelf = *", 8, "write `:*`"),
        ("shelf != *", 9, "write `:*`"),
        ("shelf.a = 1", 0, "no keys below"),
        ("item.a = 1", 0, "no keys below"),
        ("count < (1 OR 2)", 8, "only with"),
        ("count = (1 AND 2)", 8, "cannot equal several"),
        ('other = (1 OR "a")', 8, "all texts or all numbers"),
        ("other < true", 8, "no order"),
        ("other = null", 8, "nothing equals null"),
        ('"odd name" = 1', 0, "an attribute's name"),
        ('"x\\" or true" = 1', 0, "an attribute's name"),
        ("größe = 1", 0, "an attribute's name"),
        ('shelf:""', 6, "empty text"),
        ('asset = "assets/*"', 8, "empty text"),
    ],
)
def test_what_does_not_fit_is_told_with_its_offset(text: str, offset: int, part: str) -> None:
    with pytest.raises(InvalidFilterError) as caught:
        checked(text)
    assert part in caught.value.message
    assert caught.value.metadata["offset"] == str(offset)


@pytest.mark.parametrize(
    ("text", "named"),
    [("shelf:abc", "substring"), ('shelf="*abc"', "suffix"), ('other="*abc*"', "substring")],
)
def test_what_milvus_cannot_find_is_refused_by_name(text: str, named: str) -> None:
    with pytest.raises(UnsupportedByBackendError) as caught:
        rendered(f"count = 1 AND {text}")
    assert named in caught.value.message
    assert caught.value.field == "filter"


MISSING = ("title", "tags", "size", "meta.a", "other", "other.a.b", "asset", "source_uri", "text")
QUESTIONS = {
    "title": ["{} = x", "{} != x", "{} < x", '{} = "x*"', '{} != "x*"', "{} = (x OR y)", "{}:x"],
    "tags": ["{}:x", "{}:(x OR y)", "{}:(x AND y)"],
    "size": ["{} = 5", "{} != 5", "{} <= 5", "{} = (5 OR 6)", "{} != (5 OR 6)"],
    "other": ["{} = true", "{} != true", "{} = 5", "{} != x", '{} = "x*"', "{}:x", "{} = (5 OR 6)"],
}


@pytest.mark.parametrize("name", MISSING)
def test_every_leaf_about_a_missing_value_is_false_and_so_is_its_opposite(name: str) -> None:
    values: dict[str, JsonValue | datetime] = {"asset": "", "text": "", "meta": {"b": 1}}
    kind = name if name in QUESTIONS else "other" if "." in name else "title"
    for question in QUESTIONS[kind]:
        text = question.format(name)
        assert not evaluate(checked(text), values), text
        assert not evaluate(checked(f"NOT {text}"), values), text
    assert not evaluate(checked(f"{name}:*"), values)
    assert evaluate(checked(f"NOT {name}:*"), values)


ENTITY: dict[str, JsonValue | datetime] = {
    "item": "photos/a.jpg",
    "asset": "00ff",
    "create_time": datetime(2026, 1, 31, 12, tzinfo=UTC),
    "title": "A 100% win_win",
    "shelf": "",
    "count": -3,
    "price": 19.99,
    "sold": False,
    "taken": "2026-01-31T12:00:00.000000Z",
    "tags": ["red", "1"],
    "meta": {"maker": "x", "lens type": {"f": 2}, "zoom": [1, 2.5, "a", True]},
    "other": 5,
    "word": "5",
}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("count = -3", True),
        ("count > -4 AND count < -2", True),
        ("price < 20", True),
        ("price = (1 OR 19.99)", True),
        ("sold = false", True),
        ("sold != false", False),
        ("taken = 2026-01-31T13:00:00+01:00", True),
        ("create_time <= 2026-01-31T12:00:00Z", True),
        ("create_time < 2026-01-31T12:00:00Z", False),
        ("asset = assets/00ff", True),
        ("asset = 00*", True),
        ("item = photos/*", True),
        ('title = "A 100%*"', True),
        ('title = "A 1000%*"', False),
        ("title:win_", True),
        ('title = "*win"', True),
        ("tags:red", True),
        ("tags:(red AND 1)", True),
        ("tags:(red AND blue)", False),
        ("tags:(red OR blue)", True),
        ("NOT tags:(red AND blue)", True),
        ("NOT tags:(red OR blue)", False),
        ("meta.maker = x", True),
        ('meta."lens type".f >= 2', True),
        ("meta.zoom:2.5", True),
        ("meta.zoom:a", True),
        ("meta.zoom:true", True),
        ('meta.zoom:"1"', False),
        ("meta.maker.deeper = 1", False),
        ("meta:*", True),
        ("meta.maker:*", True),
        ("meta.none:*", False),
        ("other = 5", True),
        ("other = 5.0", True),
        ('other = "5"', False),
        ('other != "5"', False),
        ("other = true", False),
        ("word = 5", False),
        ('word = "5"', True),
        ("word != 5", False),
        ("NOT word:5", True),
        ("count = 1 OR other = 5", True),
        ("NOT (count = -3 AND other = 5)", False),
        ("shelf:*", True),
        ('shelf = ""', True),
        ('text = ""', False),
    ],
)
def test_what_a_filter_means(text: str, matches: bool) -> None:
    assert evaluate(checked(text), ENTITY) is matches


def test_times_are_compared_as_instants() -> None:
    here = timezone(timedelta(hours=5, minutes=30))
    moment = datetime(2026, 1, 31, 1, 30, tzinfo=here)
    assert evaluate(checked("update_time = 2026-01-30T20:00:00Z"), {"update_time": moment})


HOSTILE = st.text(
    st.one_of(
        st.sampled_from("\\\"'\n\t\r%_*[]() \0\u2028é日\U0001f600"), st.characters(codec="utf-8")
    )
)


def unquoted(literal: str) -> str:
    """Read a literal back as Milvus does: five escapes, anything else is refused."""
    assert literal.startswith('"')
    assert literal.endswith('"')
    escapes = {"\\": "\\", '"': '"', "n": "\n", "t": "\t", "r": "\r"}
    text, rest = "", literal[1:-1]
    while rest:
        assert rest[0] not in '"\n\r\t'
        if rest[0] == "\\":
            text, rest = text + escapes[rest[1]], rest[2:]
        else:
            text, rest = text + rest[0], rest[1:]
    return text


@given(HOSTILE)
def test_every_text_survives_quoting(text: str) -> None:
    assert unquoted(quote(text)) == text


def written(text: str) -> str:
    """Write any text as a quoted value of a filter."""
    for character in '\\"*':
        text = text.replace(character, "\\" + character)
    return f'"{text}"'


@given(HOSTILE)
def test_a_text_reaches_the_expression_as_one_literal(text: str) -> None:
    assert rendered(f"shelf = {written(text)}") == f"f_shelf == {quote(text)}"
    assert evaluate(checked(f"shelf = {written(text)}"), {"shelf": text})


@given(HOSTILE.filter(bool))
def test_a_key_reaches_the_expression_as_one_literal(key: str) -> None:
    path = f'attrs["meta"][{quote(key)}]'
    assert rendered(f"meta.{written(key)}:*") == f"(exists {path})"
    assert evaluate(checked(f"meta.{written(key)}:*"), {"meta": {key: 0}})


@given(HOSTILE, HOSTILE)
def test_two_texts_never_render_alike(first: str, second: str) -> None:
    same = rendered(f"other = {written(first)}") == rendered(f"other = {written(second)}")
    assert same is (first == second)


@given(HOSTILE.filter(bool), HOSTILE)
def test_prefix_matches_what_starts_with_it(prefix: str, text: str) -> None:
    wanted = f'shelf = {written(prefix)[:-1]}*"'
    assert evaluate(checked(wanted), {"shelf": prefix + text})
    assert evaluate(checked(wanted), {"shelf": text}) is text.startswith(prefix)
    assert evaluate(checked(f"NOT {wanted}"), {"shelf": text}) is not text.startswith(prefix)


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**63) + 1, 2**63 - 1))
def test_numbers_are_written_exactly(double: float, whole: int) -> None:
    assert float(rendered(f"price = {json.dumps(double)}").removeprefix("f_price == ")) == double
    assert int(rendered(f"count = {whole}").removeprefix("f_count == ")) == whole
