"""Transcripts of the real grpcurl: each rpc is described with its comments and answers readably."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.tiny_detector import (
    DETECTOR,
    as_png,
    install_tiny_detector,
    link_models,
    picture,
)
from tools.fetch_grpcurl import grpcurl

SERVICE = "lookalike.encoder.v1.EncoderService"
ADMIN = "lookalike.encoder.v1.EncoderAdminService"
TEXT, MOLECULE = "encoders/minilm-l6-v2@1", "encoders/morgan-2048@1"
Call = Callable[..., Any]


@pytest.fixture(scope="module")
def address(
    serve: Callable[..., Any], models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A server of texts, molecules and the tiny detector."""
    folder = tmp_path_factory.mktemp("grpcurl")
    linked = link_models(models, folder / "models")
    install_tiny_detector(folder / "manifests", linked)
    names = ("minilm-l6-v2", "morgan-2048", "tiny-detector")
    settings = {"models_dir": linked, "manifest_dirs": (folder / "manifests",), "encoders": names}
    with serve(**settings) as port:
        yield f"127.0.0.1:{port}"


@pytest.fixture(scope="module")
def call(address: str) -> Call:
    """Calls an rpc with JSON and returns what it answers."""

    def call(method: str, **body: Any) -> Any:
        done = run("-d", json.dumps(body), address, method)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return call


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(grpcurl()), "-plaintext", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("method", "comment"),
    [
        (f"{SERVICE}.Encode", "// "),
        (f"{SERVICE}.Detect", "// "),
        (f"{SERVICE}.Rerank", "// "),
        (f"{SERVICE}.MatchStructure", "// Tells which molecules contain a structure"),
        (f"{ADMIN}.LoadEncoder", "// Loads an installed encoder."),
        (f"{ADMIN}.UnloadEncoder", "// Takes an encoder out of memory"),
        (f"{ADMIN}.ReloadEncoder", "// Loads an encoder anew"),
    ],
)
def test_rpcs_are_described(address: str, method: str, comment: str) -> None:
    described = run(address, "describe", method).stdout
    assert described.startswith(f"{method} is a method:\n{comment}")
    assert "// - NOT_FOUND: no such encoder or version" in described
    assert f"rpc {method.rpartition('.')[2]} ( " in described
    assert ("Scope: admin." in described) == method.startswith(ADMIN)


def test_encode(call: Call) -> None:
    items = [{"content": {"text": "a cat sleeps"}}, {"content": {"text": " "}}]
    reply = call(
        f"{SERVICE}/Encode", encoder=TEXT, items=items, vector_format="VECTOR_FORMAT_VALUES"
    )
    assert reply["encoder"] == TEXT
    good, bad = reply["results"]
    assert len(good["item"]["vectors"][0]["dense"]["values"]) == 384
    assert bad["error"]["code"] == 3
    assert "items[1].content" in json.dumps(bad["error"]["details"])


def test_detect(call: Call) -> None:
    image = base64.b64encode(as_png(picture((1, 2, "blue")))).decode()
    reply = call(f"{SERVICE}/Detect", encoder=DETECTOR, contents=[{"image": image}])
    found = reply["results"][0]["detections"]
    assert found == {
        "width": 64,
        "height": 64,
        "detections": [
            {"label": "blue", "score": 1, "box": {"x": 16, "y": 32, "width": 16, "height": 16}}
        ],
    }


def test_rerank(call: Call) -> None:
    documents = [{"text": "the market fell"}, {"text": "a kitten naps"}]
    body = {"encoder": TEXT, "query": {"text": "a cat sleeps"}, "documents": documents}
    market, kitten = call(f"{SERVICE}/Rerank", **body)["results"]
    assert 1 > kitten["document"]["score"] > market["document"]["score"] > 0


def test_match_structure(call: Call) -> None:
    body = {"encoder": MOLECULE, "match": "STRUCTURE_MATCH_SUBSTRUCTURE", "smarts": "[OX2H]"}
    reply = call(f"{SERVICE}/MatchStructure", **body, candidates=["CCO", "CCN"])
    assert reply["results"] == [
        {"matched": {"matches": True, "atoms": [2]}},
        {"matched": {}},
    ]


def test_encoders_come_and_go(address: str, call: Call) -> None:
    gone = call(f"{ADMIN}/UnloadEncoder", name=MOLECULE)
    assert (gone["name"], gone["state"]) == (MOLECULE, "STATE_UNLOADED")
    body = {"encoder": MOLECULE, "items": [{"content": {"smiles": "C"}}]}
    refused = run("-d", json.dumps(body), address, f"{SERVICE}/Encode")
    assert refused.returncode != 0
    assert "Code: FailedPrecondition" in refused.stderr
    assert "ENCODER_NOT_READY" in refused.stderr
    for change in ("LoadEncoder", "ReloadEncoder"):
        back = call(f"{ADMIN}/{change}", name=MOLECULE)
        assert (back["name"], back["state"]) == (MOLECULE, "STATE_READY")
        assert back["dimensions"] == 2048
    assert "item" in call(f"{SERVICE}/Encode", **body)["results"][0]
