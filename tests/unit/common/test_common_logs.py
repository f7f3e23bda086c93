"""Log lines."""

import json
import logging

import pytest

from lookalike_common.context import RequestContext, use_context
from lookalike_common.logs import JsonFormatter, TextFormatter, without_secrets


def record(message: str, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("l.x", logging.INFO, __file__, 1, message, (), None)
    made.__dict__.update(extra)
    return made


def test_json_lines_carry_the_request_id() -> None:
    with use_context(RequestContext(request_id="r1", tenant="acme")):
        text = JsonFormatter("encoder").format(record("höre\n2", code="OK", seconds=0.1))
    line = json.loads(text)
    assert "\n" not in text
    assert line["message"] == "höre\n2"
    assert (line["request_id"], line["tenant"], line["service"]) == ("r1", "acme", "encoder")
    assert (line["code"], line["seconds"], line["level"]) == ("OK", 0.1, "INFO")
    assert line["time"].endswith("Z")


def test_text_lines_are_short() -> None:
    with use_context(RequestContext(request_id="r1")):
        text = TextFormatter("encoder").format(record("ready", method="/a/b", error="bad"))
    assert text.endswith("INFO    encoder ready error=bad request_id=r1")


@pytest.mark.parametrize("formatter", [JsonFormatter("x"), TextFormatter("x")])
def test_secrets_of_foreign_texts_are_removed(formatter: logging.Formatter) -> None:
    made = record("dial postgresql://user:hunter2@db failed: Bearer hunter2")
    error = RuntimeError("redis://:hunter2@cache")
    made.exc_info = (RuntimeError, error, None)
    text = formatter.format(made)
    assert "hunter2" not in text
    assert "postgresql://***@db" in text
    assert "RuntimeError" in text


def test_other_text_stays() -> None:
    assert without_secrets("http://host/a?b=c@d bearer") == "http://host/a?b=c@d bearer"
