"""The encoder of sounds that wants consent, as its package states no licence.

Run by `make test-models`.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from lookalike_encoder.app import open_local_runtime
from lookalike_encoder.catalogue import discover
from lookalike_encoder.content import Item, RawAudioContent
from lookalike_encoder.encoder import Prepared, Row
from lookalike_encoder.install.store import ModelStore
from lookalike_encoder.loading import EncoderLoader
from lookalike_encoder.settings import DeviceSettings
from lookalike_media import SampleFormat

MODELS = Path(
    os.environ.get("LOOKALIKE_ENCODER__MODELS_DIR")
    or Path(__file__).parents[2] / ".lookalike" / "models"
)
RATE = 16_000


def chirp(seconds: float) -> Item:
    """A sweep, the same for the same length."""
    time = np.arange(round(seconds * RATE)) / RATE
    sweep = np.sin(2 * np.pi * (100 + 90 * seconds + 400 * time / seconds) * time)
    samples = (0.5 * sweep).astype("<f4").tobytes()
    return Item(RawAudioContent(samples, RATE, 1, SampleFormat.F32))


def test_sounds_get_the_same_vectors_alone_and_in_company() -> None:
    catalogue, store = discover(), ModelStore(MODELS)
    manifest = catalogue.find("yamnet")
    if not store.is_present(manifest):
        pytest.skip("run `lookalike-encoder models install yamnet --accept-unlicensed`")
    with ThreadPoolExecutor(2) as threads:
        runtime = open_local_runtime(DeviceSettings(kind="cpu"), threads)
        yamnet = EncoderLoader(catalogue, store, runtime).load(manifest)
        rows: list[Row] = []
        for prepared in yamnet.prepare([chirp(seconds) for seconds in (0.1, 7, 0.8, 30)]):
            assert isinstance(prepared, Prepared)
            rows.extend(prepared.rows)
        together = np.stack(yamnet.encode(rows))
        alone = np.stack([yamnet.encode([row])[0] for row in rows])
    assert np.abs(together - alone).max() < 1e-5
