"""The unmodified tritonclient, in a process of its own, gets the vectors that Encode gives."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from skimage import data

from lookalike.encoder.v1 import encoder_service_pb2 as pb
from lookalike.encoder.v1 import encoder_service_pb2_grpc
from lookalike.type.v1 import content_pb2
from tools.fetch_grpcurl import grpcurl

ROOT = Path(__file__).parents[3]
PROGRAM = Path(__file__).with_name("triton_calls.py")
TEXT, IMAGE = "encoders/minilm-l6-v2", "encoders/efficientnet-lite0"
TOLERANCE = 1e-5
Content = content_pb2.Content
Stub = encoder_service_pb2_grpc.EncoderServiceStub


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PNG file, and the same pixels in an .npy file beside it."""
    path = tmp_path_factory.mktemp("triton") / "cat.png"
    chelsea: Any = data.chelsea  # it ships no types
    pixels = chelsea()
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    path.write_bytes(buffer.getvalue())
    np.save(path.with_suffix(".npy"), pixels[None])
    return path


@pytest.fixture(scope="module")
def report(port: int, picture: Path) -> Any:
    """What tritonclient got."""
    command = [sys.executable, str(PROGRAM), f"127.0.0.1:{port}", str(picture)]
    result = run(*command)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def encode(stub: Stub, encoder: str, *contents: Content) -> np.ndarray:
    items = [pb.EncodeItem(content=each) for each in contents]
    reply = stub.Encode(pb.EncodeRequest(encoder=encoder, items=items))
    return np.stack(
        [np.frombuffer(each.item.vectors[0].dense.data, "<f4") for each in reply.results]
    )


def test_it_finds_everything_ready(report: Any) -> None:
    assert (report["live"], report["ready"], report["model_ready"]) == (True, True, True)
    assert report["server"]["name"] == "lookalike-encoder"


def test_it_reads_what_goes_in_and_out(report: Any) -> None:
    model = report["model"]
    assert (model["name"], model["versions"]) == ("minilm-l6-v2", ["1"])
    assert model["inputs"][0] == {"name": "text", "datatype": "BYTES", "shape": ["-1"]}
    tokens = {"datatype": "INT64", "shape": ["-1", "-1"]}
    names = ("input_ids", "attention_mask")
    assert model["inputs"][1:] == [{"name": name, **tokens} for name in names]
    assert model["outputs"] == [{"name": "embedding", "datatype": "FP32", "shape": ["-1", "384"]}]
    assert [each["name"] for each in report["image_model"]["inputs"]] == ["image", "raw_image"]


def test_its_vectors_are_those_of_encode(report: Any, stub: Stub, picture: Path) -> None:
    texts = encode(stub, TEXT, Content(text="a cat sleeps"), Content(text="ein Hund läuft"))
    image = encode(stub, IMAGE, Content(image=picture.read_bytes()))
    for name, expected in (
        ("text", texts),
        ("query", texts[:1]),
        ("file", image),
        ("raw", image),
    ):
        assert np.abs(np.array(report[name], np.float32) - expected).max() <= TOLERANCE, name
    assert np.abs(np.array(report["aio"]["text"]) - texts[:1]).max() <= TOLERANCE
    assert (report["id"], report["version"]) == ("7", "1")


@pytest.mark.parametrize(
    ("what", "code", "words"),
    [
        ("model", "NOT_FOUND", "encoders/none"),
        ("version", "NOT_FOUND", "minilm-l6-v2@99"),
        ("metadata", "NOT_FOUND", "encoders/none"),
        ("input", "INVALID_ARGUMENT", "inputs[0].name"),
        ("modality", "INVALID_ARGUMENT", "image or raw_image"),
        ("output", "INVALID_ARGUMENT", "outputs[0].name"),
        ("parameter", "INVALID_ARGUMENT", "parameters.task_type"),
        ("item", "INVALID_ARGUMENT", "image[0]"),
    ],
)
def test_its_mistakes_are_told(report: Any, what: str, code: str, words: str) -> None:
    status, message = report["refused"][what]
    assert status == f"StatusCode.{code}"
    assert words in message


def test_its_streams_go_on_after_an_error(report: Any) -> None:
    for streamed in (report["streamed"], report["aio"]["streamed"]):
        assert [each[0] for each in streamed] == ["0", "", "2"]
        assert "encoders/none" in streamed[1][1]


def test_the_example_of_the_documentation_runs(port: int) -> None:
    text = (ROOT / "docs" / "encoders.md").read_text()
    (example,) = re.findall(
        r"```python\n(import numpy as np\nimport tritonclient.*?)```", text, re.DOTALL
    )
    program = example.replace("127.0.0.1:50051", f"127.0.0.1:{port}")
    result = run(sys.executable, "-c", program)
    assert result.stdout == "(2, 384)\n", result.stderr


def test_grpcurl_describes_and_calls(port: int) -> None:
    program, address = str(grpcurl()), f"127.0.0.1:{port}"
    service = "inference.GRPCInferenceService"
    described = run(program, "-plaintext", address, "describe", service).stdout
    assert described.startswith(f"{service} is a service:\n// Every encoder as a model")
    body = {
        "model_name": "minilm-l6-v2",
        "inputs": [
            {
                "name": "text",
                "datatype": "BYTES",
                "shape": [1],
                "contents": {"bytes_contents": ["YSBjYXQ="]},
            }
        ],
    }
    called = run(
        program, "-plaintext", "-d", json.dumps(body), address, f"{service}/ModelInfer"
    ).stdout
    assert json.loads(called)["outputs"][0]["shape"] == ["1", "384"]
    ready = run(
        *(program, "-plaintext", "-d", json.dumps({"service": service}), address),
        "grpc.health.v1.Health/Check",
    ).stdout
    assert json.loads(ready) == {"status": "SERVING"}


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
