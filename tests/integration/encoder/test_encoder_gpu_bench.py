"""The benchmark for GPUs, as far as a machine without one can run it."""

import json
from pathlib import Path

import onnxruntime
import pytest

from tests.bench import gpu


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="there may be a GPU"
)
def test_without_a_gpu_it_says_so_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main([]) == 3
    assert "no NVIDIA GPU" in capsys.readouterr().out


def test_its_last_line_is_one_object(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert models == gpu.MODELS
    assert gpu.main(["--device", "cpu", "--batches", "1", "2", "--seconds", "0.01"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["hardware"]
    measured = [each for both in figures["encoders"].values() for each in both.values()]
    assert all(set(both) == {"fp32", "fp16"} for both in figures["encoders"].values())
    for encoder in measured:
        assert encoder["min_cosine"] >= gpu.MIN_COSINE
        assert set(encoder["batches"]) == {"1", "2"}
        assert all(each["items_per_second"] > 0 for each in encoder["batches"].values())
        assert all(0 <= each["copy_share"] <= 1 for each in encoder["batches"].values())


def test_wrong_vectors_are_noticed(
    models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert models.is_dir()
    monkeypatch.setattr(gpu, "MIN_COSINE", 1.1)
    assert gpu.main(["--device", "cpu", "--batches", "1", "--seconds", "0.01"]) == 1
    assert "min_cosine" in capsys.readouterr().out
