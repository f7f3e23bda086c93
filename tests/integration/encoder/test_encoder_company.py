"""Whoever shares a batch changes nothing: vectors and scores alone and in company, over gRPC."""

from __future__ import annotations

import random
import wave
from collections.abc import Sequence
from io import BytesIO
from typing import Any, Final

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from lookalike.encoder.v1 import encoder_service_pb2 as pb
from lookalike.encoder.v1 import encoder_service_pb2_grpc
from lookalike.type.v1 import content_pb2

Content = content_pb2.Content
Stub = encoder_service_pb2_grpc.EncoderServiceStub
TOLERANCE: Final = 1e-5
WORDS: Final = ("cat", "dog", "river", "moon", "market", "sleeps", "glass", "über", "東京", "the")
COMPANY: Final = 12


def texts() -> list[Content]:
    """From one word to more than a model reads."""
    chance = random.Random(3)
    lengths = [1, 2, 3, 5, 8, 13, 30, 60, 120, 250, 400, 4]
    return [Content(text=" ".join(chance.choices(WORDS, k=each))) for each in lengths]


def pictures() -> list[Content]:
    """Parts of a photograph, of every shape."""
    chelsea: Any = data.chelsea  # it ships no types
    pixels = chelsea()
    sizes = [(20 + 23 * each, 290 - 19 * each) for each in range(COMPANY)]
    return [Content(image=png(pixels[: min(h, 300), : min(w, 450)])) for h, w in sizes]


def png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def sounds() -> list[Content]:
    """Tones with noise, from a fifth of a second to three."""
    noise = np.random.default_rng(5)
    made = []
    for number in range(COMPANY):
        frames = 3200 + 4000 * number
        tone = np.sin(np.arange(frames) * (0.05 + 0.02 * number))
        made.append(Content(audio=wav(0.4 * tone + noise.normal(scale=0.02, size=frames))))
    return made


def wav(samples: NDArray[np.float64]) -> bytes:
    buffer = BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setparams((1, 2, 16_000, 0, "NONE", ""))
        sound.writeframes((samples * 16_000).clip(-32_768, 32_767).astype("<i2").tobytes())
    return buffer.getvalue()


def molecules() -> list[Content]:
    """Chains, rings, a salt."""
    rings = ["c1ccccc1", "CC(=O)Oc1ccccc1C(=O)O", "Cn1cnc2c1c(=O)n(C)c(=O)n2C", "[Na+].[Cl-]"]
    return [Content(smiles=each) for each in (*rings, *("C" * n + "O" for n in range(1, 9)))]


def sequences() -> list[Content]:
    """From 60 to 6,000 bases, some unknown."""
    chance = random.Random(7)
    lengths = [60, 80, 100, 200, 400, 700, 1000, 2000, 3000, 4000, 5000, 6000]
    return [
        Content(sequence="".join(chance.choices("ACGTN", (9, 9, 9, 9, 1), k=n))) for n in lengths
    ]


def mixed() -> list[Content]:
    return [each for pair in zip(texts()[:6], pictures()[:6], strict=True) for each in pair]


CONTENTS: Final = {
    "minilm-l6-v2": texts,
    "efficientnet-lite0": pictures,
    "speech-embedding": sounds,
    "conse": mixed,
    "dna-kmer6": sequences,
    "morgan-2048": molecules,
    "phash-256": pictures,
}


def encode(stub: Stub, name: str, contents: Sequence[Content]) -> list[NDArray[Any]]:
    items = [pb.EncodeItem(content=each) for each in contents]
    reply = stub.Encode(pb.EncodeRequest(encoder=f"encoders/{name}", items=items), timeout=60)
    assert all(each.HasField("item") for each in reply.results), reply
    return [vector for each in reply.results for vector in map(array, each.item.vectors)]


def array(vector: Any) -> NDArray[Any]:
    if vector.HasField("binary"):
        return np.frombuffer(vector.binary.data, np.uint8)
    return np.frombuffer(vector.dense.data, "<f4")


def test_every_encoder_is_here(stub: Stub) -> None:
    listed = stub.ListEncoders(pb.ListEncodersRequest()).encoders
    vectors = {each.name.split("/")[1].split("@")[0] for each in listed if each.dimensions}
    ready = vectors - {"yamnet"}  # installed only with consent
    assert ready <= set(CONTENTS)


@pytest.mark.parametrize("name", CONTENTS)
def test_company_changes_nothing(stub: Stub, name: str) -> None:
    contents = CONTENTS[name]()
    together = encode(stub, name, contents)
    assert len(together) == len(contents) == COMPANY
    assert len({each.tobytes() for each in together}) > COMPANY // 2, "they differ"
    for content, made in zip(contents, together, strict=True):
        (alone,) = encode(stub, name, [content])
        if alone.dtype == np.uint8:
            assert np.array_equal(made, alone)
        else:
            assert np.abs(made - alone).max() <= TOLERANCE


def test_scores_are_those_of_a_document_alone(stub: Stub) -> None:
    documents = texts()

    def scores(some: Sequence[Content]) -> list[float]:
        query = Content(text="a cat sleeps by the river")
        request = pb.RerankRequest(encoder="encoders/minilm-l6-v2", query=query, documents=some)
        return [each.document.score for each in stub.Rerank(request, timeout=60).results]

    alone = [scores([each])[0] for each in documents]
    assert np.abs(np.array(scores(documents)) - alone).max() <= TOLERANCE
    assert np.ptp(alone) > 0.01
