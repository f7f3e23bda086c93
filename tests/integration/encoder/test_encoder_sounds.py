"""The real model for sounds: right vectors, alone and in company, and whatever callers may send."""

import random
import shutil
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml
from numpy.typing import NDArray

import lookalike_encoder
from lookalike.encoder.v1 import encoder_service_pb2 as pb
from lookalike.encoder.v1 import encoder_service_pb2_grpc
from lookalike.type.v1 import content_pb2
from lookalike_common.errors import (
    EncoderNotReadyError,
    InvalidContentError,
    LimitExceededError,
    LookalikeError,
    UnsupportedMediaError,
)
from lookalike_common.status import error_from_status
from lookalike_encoder.catalogue import discover
from lookalike_encoder.content import AudioContent, Item, RawAudioContent
from lookalike_encoder.encoder import Encoder, Prepared
from lookalike_encoder.golden import load_golden
from lookalike_encoder.loading import EncoderLoader
from lookalike_media import SampleFormat

NAME = "speech-embedding"
GOLDEN = Path(lookalike_encoder.__file__).parent / "models" / NAME
RATE = 16_000
DOCUMENTED = (InvalidContentError, LimitExceededError, UnsupportedMediaError)


@pytest.fixture(scope="module")
def encoder(loaded: dict[str, Encoder]) -> Encoder:
    return loaded[NAME]


def chirp(
    seconds: float = 0.9, *, low: float = 300, high: float = 1500, rate: int = RATE
) -> NDArray[np.float32]:
    """A sweep with a little noise: float32 [frames]."""
    time = np.arange(round(seconds * rate)) / rate
    sweep = np.sin(2 * np.pi * (low * time + (high - low) * time**2 / 2 / seconds))
    noise = np.random.default_rng(3).normal(scale=0.01, size=len(time))
    return (0.5 * sweep + noise).astype(np.float32)


def file(
    samples: NDArray[np.float32], kind: str = "WAV", coding: str = "PCM_16", rate: int = RATE
) -> Item:
    buffer = BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, subtype=coding)
    return Item(AudioContent(buffer.getvalue()))


def raw(samples: NDArray[np.float32]) -> Item:
    return Item(RawAudioContent(samples.astype("<f4").tobytes(), RATE, 1, SampleFormat.F32))


def encode(encoder: Encoder, items: Sequence[Item]) -> NDArray[np.float32]:
    prepared = encoder.prepare(items)
    rows = [row for each in prepared if isinstance(each, Prepared) for row in each.rows]
    assert len(rows) == len(items), prepared
    return np.stack(encoder.encode(rows))


def test_golden_vectors_come_out_closely(encoder: Encoder) -> None:
    for case in load_golden(encoder.manifest):
        (vector,) = encode(encoder, [case.item])
        assert vector @ case.vector > 0.9999, case.name


def test_sounds_get_the_same_vectors_alone_and_in_company(encoder: Encoder) -> None:
    items = [raw(chirp(seconds, low=100 + 90 * seconds)) for seconds in (0.1, 7, 0.8, 30, 2, 1)]
    together = encode(encoder, items)
    alone = np.concatenate([encode(encoder, [item]) for item in items])
    assert together.shape == (6, 192)
    assert np.abs(together - alone).max() < 1e-5
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)


def test_a_sound_is_the_same_in_any_file(encoder: Encoder) -> None:
    samples = chirp(2)
    stereo = np.stack([samples, samples], axis=1)
    fine = chirp(2, rate=44_100)
    original, *copies = encode(
        encoder,
        [
            raw(samples),
            *(file(samples, coding=each) for each in ("PCM_24", "PCM_32", "FLOAT", "ULAW")),
            file(samples, "FLAC"),
            file(samples, "OGG", "VORBIS"),
            file(samples, "MP3", "MPEG_LAYER_III"),
            file(stereo),
            file(samples * np.float32(0.1)),
            file(fine, rate=44_100),
            file(chirp(2, rate=8_000), rate=8_000),
        ],
    )
    assert min(copy @ original for copy in copies) > 0.97
    (other,) = encode(encoder, [raw(chirp(2, low=3000, high=500))])
    assert other @ original < 0.95


@pytest.mark.parametrize(
    "changes",
    [
        {"pooling": "mean", "dimensions": 96},
        {"pooling": "mean"},
        {"preprocessing": {"hop": 24}},
        {"normalisation": "l2", "preprocessing": {"front_end": "log-mel"}},
    ],
)
def test_wrong_pooling_and_windows_are_refused(
    models: Path, loader_of: Callable[..., EncoderLoader], tmp_path: Path, changes: dict[str, Any]
) -> None:
    shutil.copytree(GOLDEN, tmp_path / "manifests" / "changed")
    path = tmp_path / "manifests" / "changed" / "manifest.yaml"
    content = {**yaml.safe_load(path.read_text()), "name": "changed", "space": "changed@1"}
    content["preprocessing"].update(changes.get("preprocessing", {}))
    path.write_text(
        yaml.safe_dump({**content, **changes, "preprocessing": content["preprocessing"]})
    )
    shutil.copytree(models / f"{NAME}@1", tmp_path / "models" / "changed@1")
    loader = loader_of(tmp_path / "models", tmp_path / "manifests")
    with pytest.raises(EncoderNotReadyError):
        loader.load(discover([tmp_path / "manifests"]).find("changed"))


def seeds() -> list[bytes]:
    samples = np.stack([chirp(0.6, rate=22_050), chirp(0.6, low=900, rate=22_050)], axis=1)
    kinds = [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("FLAC", "PCM_16"), ("OGG", "VORBIS")]
    items = [file(samples, *kind, 22_050) for kind in [*kinds, ("MP3", "MPEG_LAYER_III")]]
    contents = [item.content for item in items]
    return [content.data for content in contents if isinstance(content, AudioContent)]


def corrupted(data: bytes, chance: random.Random) -> bytes:
    """Change some bytes, mostly near the beginning; cut, repeat or insert a part."""
    changed = bytearray(data)
    for _ in range(chance.choice([1, 3, 20, 200])):
        place = chance.randrange(4, min(len(changed), chance.choice([64, 400, len(changed)])))
        flipped = changed[place] ^ 1 << chance.randrange(8)
        changed[place] = chance.choice([0, 255, chance.randrange(256), flipped])
    if chance.random() < 0.3:
        del changed[chance.randrange(len(changed)) :]
    if chance.random() < 0.2:
        place = chance.randrange(len(changed) + 1)
        changed[place:place] = changed[: chance.randrange(300)]
    return bytes(changed)


@pytest.mark.timeout(120)
def test_a_thousand_damaged_files_harm_nobody(encoder: Encoder) -> None:
    healthy = raw(chirp(0.5))
    (expected,) = encode(encoder, [healthy])
    vectors = errors = 0
    sources = seeds()
    for start in range(0, 1000, 10):
        items = [
            Item(AudioContent(corrupted(sources[number % len(sources)], random.Random(number))))
            for number in range(start, start + 10)
        ]
        prepared = encoder.prepare([*items, healthy])
        good = [each for each in prepared if isinstance(each, Prepared)]
        assert all(isinstance(each, (Prepared, *DOCUMENTED)) for each in prepared)
        made = np.stack(encoder.encode([row for each in good for row in each.rows]))
        assert np.isfinite(made).all()
        np.testing.assert_allclose(np.linalg.norm(made, axis=1), 1, atol=1e-4)
        assert np.abs(made[-1] - expected).max() < 1e-5
        vectors += len(good) - 1
        errors += len(prepared) - len(good)
    assert vectors + errors == 1000
    assert min(vectors, errors) > 100  # neither all refused nor all let through


def error_of(result: pb.EncodeResult) -> LookalikeError:
    return error_from_status(result.error)


def test_sounds_over_the_wire(stub: encoder_service_pb2_grpc.EncoderServiceStub) -> None:
    content = file(chirp()).content
    assert isinstance(content, AudioContent)
    samples = (chirp() * 32768).astype("<i2").tobytes()
    format_s16 = content_pb2.RawAudio.SAMPLE_FORMAT_S16
    contents = [
        content_pb2.Content(audio=content.data),
        content_pb2.Content(
            raw_audio=content_pb2.RawAudio(
                data=samples, sample_rate=RATE, channels=1, sample_format=format_s16
            )
        ),
        content_pb2.Content(audio=content.data[:9000]),
        content_pb2.Content(text="a chirp"),
    ]
    items = [pb.EncodeItem(content=each) for each in contents]
    reply = stub.Encode(pb.EncodeRequest(encoder=f"encoders/{NAME}", items=items))
    first, second = (
        np.frombuffer(each.item.vectors[0].dense.data, "<f4") for each in reply.results[:2]
    )
    assert first @ second > 0.9999
    assert error_of(reply.results[2]).reason == "INVALID_CONTENT"
    assert error_of(reply.results[3]).reason == "WRONG_MODALITY"
    encoder = stub.GetEncoder(pb.GetEncoderRequest(name=f"encoders/{NAME}"))
    assert encoder.limits.max_duration.ToTimedelta().total_seconds() == 60
