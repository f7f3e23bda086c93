"""Sounds, with a session that shows what it was given."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lookalike_common.errors import (
    InvalidArgumentError,
    InvalidContentError,
    LimitExceededError,
    LookalikeError,
    UnsupportedMediaError,
    WrongModalityError,
)
from lookalike_encoder.content import AudioContent, Content, Item, RawAudioContent, TextContent
from lookalike_encoder.encoder import Prepared
from lookalike_encoder.encoders.audio import AudioEncoder
from lookalike_encoder.encoders.front_ends import LogMelFrontEnd, mel_bands
from lookalike_encoder.manifest import Manifest, ManifestError, Pooling
from lookalike_encoder.session import TensorSpec
from lookalike_media import Box, SampleFormat

RATE = 16_000


class Session:
    """Returns the mean of each window and its mean absolute deviation."""

    device = "cpu"
    inputs: Mapping[str, TensorSpec] = {"audio": TensorSpec("float32", (None, 1, 96, 64))}
    outputs: Mapping[str, TensorSpec] = {}

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def run(
        self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str]
    ) -> tuple[NDArray[Any], ...]:
        assert list(outputs) == ["embedding"]
        windows = inputs["audio"]
        assert windows.shape[1:] == (1, 96, 64)
        assert windows.dtype == np.float32
        self.sizes.append(len(windows))
        mean = windows.mean(axis=(1, 2, 3))
        spread = np.abs(windows - mean[:, None, None, None]).mean(axis=(1, 2, 3))
        return (np.stack([mean, spread], axis=1)[:, :, None, None],)


class Runtime:
    device = "cpu"

    def __init__(self, threads: Executor, session: Session) -> None:
        self.threads = threads
        self.session = session

    def open_session(self, model: Path) -> Session:
        assert model.name == "model.onnx"
        return self.session

    def open_tokenizer(self, file: Path, max_tokens: int) -> Any:
        raise NotImplementedError

    def open_chemistry(self) -> Any:
        raise NotImplementedError


def manifest(make: Any, **changes: Any) -> Manifest:
    fields: dict[str, Any] = {
        "modalities": ["audio"],
        "dimensions": 2,
        "preprocessing": {
            "recipe": 1,
            "front_end": "log-mel",
            "hop": 48,
            "input": "audio",
            "output": "embedding",
        },
        "pooling": "mean",
        "limits": {
            "max_items": 8,
            "preferred_items": 8,
            "max_bytes": 1_000_000,
            "max_duration": timedelta(seconds=5),
            "min_duration": timedelta(seconds=0.1),
        },
        "batching": {"cpu": {"max_rows": 4, "max_work": 4, "epoch_work": 16}},
    }
    made: Manifest = make(**{**fields, **changes})
    return made


@pytest.fixture
def session() -> Session:
    return Session()


@pytest.fixture
def encoder(make_manifest: Any, session: Session) -> Any:
    with ThreadPoolExecutor(2) as threads:
        runtime: Any = Runtime(threads, session)
        yield AudioEncoder(manifest(make_manifest), {"model": Path("model.onnx")}, runtime)


def raw(seconds: float, *, rate: int = RATE, gain: float = 0.5, seed: int = 1) -> RawAudioContent:
    samples = np.random.default_rng(seed).uniform(-1, 1, round(seconds * rate)) * gain
    return RawAudioContent(samples.astype("<f4").tobytes(), rate, 1, SampleFormat.F32)


def prepared(encoder: AudioEncoder, content: Content) -> Prepared:
    (made,) = encoder.prepare([Item(content)])
    assert isinstance(made, Prepared), made
    return made


@pytest.mark.parametrize(
    ("seconds", "windows"), [(0.1, 1), (0.975, 1), (0.98, 2), (1.455, 2), (1.46, 3), (5, 10)]
)
def test_windows_cover_the_whole_sound(encoder: AudioEncoder, seconds: float, windows: int) -> None:
    (row,) = prepared(encoder, raw(seconds)).rows
    assert row.length == len(row.data) == windows


def test_sounds_of_any_length_share_a_run(encoder: AudioEncoder, session: Session) -> None:
    contents = [raw(seconds, seed=seed) for seed, seconds in enumerate([0.3, 4, 1, 2.5])]
    rows = [prepared(encoder, content).rows[0] for content in contents]
    together = encoder.encode(rows)
    assert all(size <= 4 for size in session.sizes)
    assert sum(session.sizes) == sum(row.length for row in rows)
    for row, vector in zip(rows, together, strict=True):
        (alone,) = encoder.encode([row])
        np.testing.assert_array_equal(vector, alone)


def test_pooling_takes_the_mean_or_the_deviation_too(
    make_manifest: Any, session: Session, encoder: AudioEncoder
) -> None:
    runtime: Any = Runtime(encoder._threads, session)
    changed = manifest(make_manifest, pooling="mean-std", dimensions=4)
    other = AudioEncoder(changed, {"model": Path("model.onnx")}, runtime)
    (row,) = prepared(other, raw(3)).rows
    (mean,), (both,) = encoder.encode([row]), other.encode([row])
    features = session.run({"audio": row.data}, ["embedding"])[0].reshape(-1, 2)
    np.testing.assert_allclose(mean, features.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(both, [*features.mean(axis=0), *features.std(axis=0)], rtol=1e-5)


def test_a_quieter_copy_is_the_same_sound(encoder: AudioEncoder) -> None:
    loud, quiet = (prepared(encoder, raw(2, gain=gain)).rows for gain in (0.9, 0.01))
    np.testing.assert_allclose(loud[0].data, quiet[0].data, atol=1e-4)


def text() -> Item:
    return Item(TextContent("a sound"))


@pytest.mark.parametrize(
    ("item", "error", "field"),
    [
        (text(), WrongModalityError, "content"),
        (Item(raw(1), regions=(Box(0, 0, 1, 1),)), InvalidArgumentError, "regions"),
        (Item(raw(0.05)), LimitExceededError, "content"),
        (Item(raw(5.1)), LimitExceededError, "content"),
        (Item(raw(1, gain=0)), InvalidContentError, "content"),
        (Item(raw(1, gain=1e-5)), InvalidContentError, "content"),
        (Item(raw(1, gain=np.nan)), InvalidContentError, "content"),
        (Item(raw(1, rate=100)), UnsupportedMediaError, "content"),
        (Item(AudioContent(b"")), InvalidContentError, "content"),
        (Item(AudioContent(b"RIFF1234WAVE")), InvalidContentError, "content"),
        (Item(AudioContent(b"plain text")), UnsupportedMediaError, "content"),
        (Item(AudioContent(bytes(1_000_001))), LimitExceededError, "content"),
    ],
)
def test_what_cannot_be_encoded_says_why_and_harms_nobody(
    encoder: AudioEncoder, item: Item, error: type[LookalikeError], field: str
) -> None:
    found, neighbour = encoder.prepare([item, Item(raw(1))])
    assert type(found) is error
    assert isinstance(found, error)
    assert found.field == field
    assert isinstance(neighbour, Prepared)


def test_a_tone_above_what_the_model_hears_is_silence(encoder: AudioEncoder) -> None:
    time = np.arange(96_000) / 96_000
    high = (0.5 * np.sin(2 * np.pi * 30_000 * time) * np.hanning(96_000)).astype("<f4").tobytes()
    (found,) = encoder.prepare([Item(RawAudioContent(high, 96_000, 1, SampleFormat.F32))])
    assert isinstance(found, InvalidContentError)


def test_work_is_guessed_before_it_is_known(encoder: AudioEncoder) -> None:
    assert encoder.estimate(Item(raw(4))) == 9
    assert encoder.estimate(Item(AudioContent(bytes(10_000_000)))) == 11
    assert encoder.estimate(Item(RawAudioContent(b"", 0, 0, SampleFormat.S16))) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"pooling": Pooling.NONE},
        {"limits": {"max_items": 8, "preferred_items": 8, "max_bytes": 1_000}},
    ],
)
def test_manifests_that_make_no_sense_are_refused(
    make_manifest: Any, changes: dict[str, Any]
) -> None:
    with pytest.raises(ManifestError):
        AudioEncoder(manifest(make_manifest, **changes), {}, Runtime(None, Session()))  # type: ignore[arg-type]  # never used


def test_mel_bands_are_triangles_of_equal_width() -> None:
    bands = mel_bands(512, 64, 125, 7500)
    assert bands.shape == (257, 64)
    centres = bands.argmax(axis=0) * RATE / 512
    assert (np.diff(centres) >= 0).all()
    assert (bands[: int(125 / 31.25) + 1] == 0).all()
    assert (bands[7500 * 512 // RATE :] == 0).all()


def test_a_tone_lights_its_band() -> None:
    time = np.arange(RATE) / RATE
    spectrogram = LogMelFrontEnd(48).windows(np.sin(2 * np.pi * 1000 * time).astype(np.float32))
    brightest = spectrogram[0, 0, 10:80].mean(axis=0).argmax()
    centre = mel_bands(512, 64, 125, 7500)[:, brightest].argmax() * RATE / 512
    assert centre == pytest.approx(1000, abs=32)
