"""The documents name only what is there: targets of make, files, reasons of errors, encoders."""

import re
import subprocess
from pathlib import Path

import pytest

from lookalike_common import errors
from lookalike_common.descriptors import DescriptorIndex
from lookalike_encoder.catalogue import discover
from lookalike_encoder.manifest import Manifest, VectorKind

ROOT = Path(__file__).parents[3]
DOCUMENTS = sorted(
    ROOT / name
    for name in subprocess.check_output(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        text=True,
    ).splitlines()
)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_TARGET = re.compile(r"(?:^|`)make ([a-z][a-z-]*)", re.MULTILINE)


def test_there_are_documents() -> None:
    assert {"README.md", "CONTRIBUTING.md"} <= {path.name for path in DOCUMENTS}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    text = _FENCED.sub("", document.read_text(encoding="utf-8"))
    targets = [link.partition("#")[0] for link in _LINK.findall(text) if "://" not in link]
    missing = [target for target in targets if not (document.parent / target).exists()]
    assert not missing


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_make_knows_the_targets(document: Path) -> None:
    rules = re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(_TARGET.findall(document.read_text(encoding="utf-8"))) <= set(rules)


def test_errors_are_those_of_the_proto() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| ([A-Z_]+) \| \S", _read("docs/errors.md"), re.MULTILINE)
    assert rows == _reasons_of_the_proto()
    raised = {(each.reason, each.code.name) for each in errors.all_errors()}
    assert set(rows) <= raised


def _read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def _reasons_of_the_proto() -> list[tuple[str, str]]:
    """Each reason with the code that its comment begins with, in the order of the enum."""
    file = DescriptorIndex.shipped().file("lookalike/type/v1/error.proto")
    assert file is not None
    comments = {tuple(at.path): at.leading_comments for at in file.source_code_info.location}
    values = [value.name.removeprefix("ERROR_REASON_") for value in file.enum_type[0].value]
    codes = [comments[5, 0, 2, place].strip().partition(".")[0] for place in range(len(values))]
    return list(zip(values, codes, strict=True))[1:]  # without UNSPECIFIED


def test_the_table_of_encoders_is_that_of_the_manifests() -> None:
    rows = re.findall(
        r"^\| `([^`]+@\d+)` \| [^|]+ \| ([^|]+) \|[^|]*\| ([^|]+) \|$",
        _read("docs/encoders.md").partition("\n## ")[0],
        re.MULTILINE,
    )
    found = sorted((name, vector.lower(), way) for name, vector, way in rows)
    assert found == sorted(_row(each) for each in discover([]).manifests)


def _row(manifest: Manifest) -> tuple[str, str, str]:
    """Name, vector and way of installing, as the table has them."""
    kind = " bits" if manifest.vector_kind is VectorKind.BINARY else ""
    vector = f"{manifest.dimensions}{kind}, {manifest.metric.value}"
    return manifest.versioned_name, vector if manifest.dimensions else "none", _way(manifest)


def _way(manifest: Manifest) -> str:
    if not manifest.install:
        return "built in"
    if manifest.install.consent:
        return f"`models install {manifest.name} --accept-unlicensed`"
    if manifest.install.optional:
        return f"`models install {manifest.name}`, or `--all`"
    return "`models install`"
