"""The unmodified tritonclient with every kind of encoder, with token ids, and when told to wait."""

from __future__ import annotations

import json
import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tokenizers
from skimage import data

from lookalike.encoder.v1 import (
    encoder_admin_service_pb2,
    encoder_admin_service_pb2_grpc,
    encoder_service_pb2_grpc,
)
from lookalike.encoder.v1 import encoder_service_pb2 as pb
from lookalike.type.v1 import content_pb2
from lookalike_encoder.settings import QueueSettings
from tests.support.tiny_detector import as_png, link_models
from tests.support.tiny_model import TinyModels, picture, vector_of

PROGRAM = Path(__file__).with_name("triton_kinds.py")
TOLERANCE = 1e-5
SENTENCES = ("a cat sleeps", "ein Hund läuft durch den Wald", "x")
Content = content_pb2.Content
Stub = encoder_service_pb2_grpc.EncoderServiceStub


@pytest.fixture(scope="module")
def folder(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture, a sound, and texts as the model's own tokenizer reads them."""
    folder = tmp_path_factory.mktemp("kinds")
    chelsea: Any = data.chelsea  # it ships no types
    (folder / "cat.png").write_bytes(as_png(chelsea()))
    (folder / "red.png").write_bytes(picture(9))
    time = np.arange(16_000) / 16_000
    with wave.open(str(folder / "a.wav"), "wb") as sound:
        sound.setparams((1, 2, 16_000, 0, "NONE", ""))
        sound.writeframes((8000 * np.sin(2 * np.pi * 440 * time)).astype("<i2").tobytes())
    np.savez(folder / "tokens.npz", **tokens(models))
    return folder


def tokens(models: Path) -> dict[str, Any]:
    tokenizer = tokenizers.Tokenizer.from_file(str(models / "minilm-l6-v2@1" / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.enable_padding()
    made = tokenizer.encode_batch(list(SENTENCES))
    ids = np.array([each.ids for each in made], np.int64)
    mask = np.array([each.attention_mask for each in made], np.int64)
    unknown, holes = ids.copy(), mask.copy()
    unknown[1, 2], holes[1, 2] = 99_999, 0
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "one_row": ids[1:2],
        "endless": np.full((2, 300), 7, np.int64),
        "unknown": unknown,
        "masked": holes,
    }


@pytest.fixture(scope="module")
def report(port: int, folder: Path) -> Any:
    """What tritonclient got."""
    return call("kinds", port, folder)


def call(what: str, port: int, folder: Path) -> Any:
    command = [sys.executable, str(PROGRAM), what, f"127.0.0.1:{port}", str(folder)]
    result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def encode(stub: Stub, encoder: str, *contents: Content) -> np.ndarray:
    items = [pb.EncodeItem(content=each) for each in contents]
    reply = stub.Encode(pb.EncodeRequest(encoder=f"encoders/{encoder}", items=items))
    vectors = [each.item.vectors[0] for each in reply.results]
    if vectors[0].HasField("binary"):
        return np.stack([np.frombuffer(each.binary.data, np.uint8) for each in vectors])
    return np.stack([np.frombuffer(each.dense.data, "<f4") for each in vectors])


def test_every_kind_gets_the_vectors_of_encode(report: Any, stub: Stub, folder: Path) -> None:
    picture, sound = ((folder / name).read_bytes() for name in ("cat.png", "a.wav"))
    for kind, dtype, expected in (
        ("phash", "uint8", encode(stub, "phash-256", Content(image=picture))),
        (
            "smiles",
            "uint8",
            encode(stub, "morgan-2048", Content(smiles="CCO"), Content(smiles="c1ccccc1")),
        ),
        ("audio", "float32", encode(stub, "speech-embedding", Content(audio=sound))),
        ("sequence", "float32", encode(stub, "dna-kmer6", Content(sequence="ACGTTGCAAGT" * 9))),
    ):
        made = report[kind]
        assert made["dtype"] == dtype
        values = np.array(made["values"], dtype)
        if dtype == "uint8":
            assert np.array_equal(values, expected), kind
        else:
            assert np.abs(values - expected).max() <= TOLERANCE, kind


def test_token_ids_get_the_vectors_of_their_texts(report: Any, stub: Stub) -> None:
    expected = encode(stub, "minilm-l6-v2", *(Content(text=each) for each in SENTENCES))
    assert np.abs(np.array(report["tokens"]["values"]) - expected).max() <= TOLERANCE
    assert np.abs(np.array(report["one_row"]["values"]) - expected[1]).max() <= TOLERANCE


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("endless", "input_ids[0]: 300 tokens are more than the 256"),
        ("unknown", "input_ids[1]: token 99999 is not in the vocabulary"),
        ("masked", "attention_mask[1]: leaves out tokens between others"),
    ],
)
def test_bad_token_ids_are_refused_with_their_row(report: Any, what: str, words: str) -> None:
    status, message = report[what]
    assert status == "StatusCode.INVALID_ARGUMENT"
    assert words in message


def test_twenty_requests_of_a_stream_are_answered_in_their_order(report: Any, stub: Stub) -> None:
    expected = encode(stub, "minilm-l6-v2", *(Content(text=f"text {n}") for n in range(20)))
    assert [name for name, _ in report["streamed"]] == [str(number) for number in range(20)]
    made = np.array([vector for _, vector in report["streamed"]])
    assert np.abs(made - expected).max() <= TOLERANCE
    assert np.abs(np.array(report["typed"]) - expected[0]).max() <= TOLERANCE


def test_it_is_told_to_wait_and_what_is_not_ready(
    serve: Callable[..., Any], models: Path, folder: Path, tmp_path: Path
) -> None:
    tiny = TinyModels(tmp_path)
    tiny.write(seed=1)
    tiny.write(seed=2, version="2")
    linked = link_models(models, tmp_path / "all")
    for each in tiny.models.glob("*@*"):
        (linked / each.name).symlink_to(each)
    settings = {
        "models_dir": linked,
        "manifest_dirs": (tiny.manifests,),
        "encoders": ("minilm-l6-v2", "tiny@1", "tiny@2", "phash-256"),
        "queue": QueueSettings(max_items=1),
    }
    with serve(**settings) as port, grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        admin = encoder_admin_service_pb2_grpc.EncoderAdminServiceStub(channel)
        name = "encoders/phash-256"
        admin.UnloadEncoder(encoder_admin_service_pb2.UnloadEncoderRequest(name=name))
        seen = call("busy", port, folder)
    assert sorted(seen["versions"][0]) == ["1", "2"]
    assert seen["versions"][1:] == [seen["versions"][0]] * 2
    for made, seed in zip(seen["by_version"], (1, 2, 2), strict=True):
        np.testing.assert_allclose(made["values"][0], vector_of(seed, 9), atol=TOLERANCE)
    assert seen["model_ready"] is False
    assert seen["not_ready"][0] == "StatusCode.FAILED_PRECONDITION"
    assert "phash-256" in seen["not_ready"][1]
    assert seen["refused"]["code"] == "StatusCode.RESOURCE_EXHAUSTED"
    assert seen["refused"]["seconds"] > 0
    assert seen["refused"]["stream"] == "None", "the stream waited and was answered"
