"""Encoder classes of other distributions, found by their entry point."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lookalike.encoder.v1 import encoder_service_pb2 as pb
from lookalike.type.v1 import content_pb2

CODE = '''
import numpy as np
from lookalike_encoder.content import Operation
from lookalike_encoder.encoder import Prepared, Row


class VowelEncoder:
    """Counts vowels."""

    prefetches = False
    operations = frozenset({Operation.ENCODE})
    labels = ()
    device = "cpu"

    def __init__(self, manifest, files, runtime):
        self.manifest = manifest

    def estimate(self, item):
        return 1

    def prepare(self, items):
        counts = [[item.content.text.count(each) for each in "aeiou"] for item in items]
        return [Prepared((Row(1, np.array(each, np.float32)),)) for each in counts]

    def encode(self, rows):
        return [row.data for row in rows]
'''

MANIFEST = """
name: vowels
version: "1"
description: Counts vowels.
encoder: vowels
modalities: [text]
space: vowels@1
dimensions: 5
metric: euclidean
license: MIT
files: {}
preprocessing: {}
pooling: none
normalisation: none
limits: {max_items: 64, preferred_items: 64, max_bytes: 1KiB}
batching: {cpu: {max_rows: 64, max_work: 64, epoch_work: 64}}
"""

GOLDEN = '{"cases": [{"name": "a", "text": "banana", "vector": "AABAQAAAAAAAAAAAAAAAAAAAAAA="}]}'


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A distribution that is installed while a test runs."""
    site = tmp_path / "site"
    package, info = site / "vowel_package", site / "vowel_package-1.0.dist-info"
    (package / "models" / "vowels").mkdir(parents=True)
    info.mkdir()
    (package / "__init__.py").write_text(CODE)
    (package / "models" / "vowels" / "manifest.yaml").write_text(MANIFEST)
    (package / "models" / "vowels" / "golden.json").write_text(GOLDEN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: vowel-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[lookalike.encoders]\nvowels = vowel_package:VowelEncoder\n"
    )
    monkeypatch.syspath_prepend(str(site))
    yield tmp_path
    sys.modules.pop("vowel_package", None)


def test_a_class_of_another_distribution_serves(
    foreign: Path, serve_own: Callable[..., AbstractContextManager[Any]]
) -> None:
    with serve_own(foreign / "models", foreign / "manifests", "vowels") as stub:
        items = [pb.EncodeItem(content=content_pb2.Content(text="queue up"))]
        reply = stub.Encode(pb.EncodeRequest(encoder="encoders/vowels", items=items))
        (vector,) = reply.results[0].item.vectors
        assert np.frombuffer(vector.dense.data, "<f4").tolist() == [0, 2, 0, 0, 3]
