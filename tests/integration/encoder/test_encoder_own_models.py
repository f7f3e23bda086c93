"""Models of other makes plug in by manifest alone; what does not fit is refused when it loads."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from PIL import Image

from lookalike_common.errors import EncoderNotReadyError
from lookalike_encoder.app import open_local_runtime
from lookalike_encoder.content import ImageContent, Item, Operation, Task, TextContent
from lookalike_encoder.encoder import Encoder, Prepared
from lookalike_encoder.encoders.image import ImageEncoder
from lookalike_encoder.encoders.text import TextEncoder
from lookalike_encoder.init.recipes import load_recipe, recipe_names
from lookalike_encoder.manifest import Manifest, ManifestError
from lookalike_encoder.session import Runtime
from lookalike_encoder.settings import DeviceSettings
from tests.support import onnx_graphs as graphs
from tests.support.onnx_graphs import Floats

TEXTS = ["a cat sleeps", "Dog", "red dog runs on a blue cat", "a", "blue blue sleeps"]
D = 6


@pytest.fixture(scope="module")
def runtime() -> Iterator[Runtime]:
    with ThreadPoolExecutor(2) as threads:
        yield open_local_runtime(DeviceSettings(kind="cpu", threads=1), threads)


def manifest_of(kind: str, preprocessing: Mapping[str, Any], **changes: Any) -> Manifest:
    recipe = load_recipe("e5-small-v2" if kind == "text" else "dinov2-small")
    head = {"name": "own", "version": "1", "space": "own@1", "files": {}, "dimensions": D}
    return Manifest.model_validate(
        {**recipe, **head, "preprocessing": {**preprocessing}, "normalisation": "none", **changes}
    )


def open_text(
    folder: Path,
    runtime: Runtime,
    model: onnx.ModelProto,
    *,
    tokenizer: str = "bert",
    pad_left: bool = False,
    preprocessing: Mapping[str, Any] | None = None,
    **changes: Any,
) -> TextEncoder:
    plain = {"recipe": 1, "max_tokens": 16, "query_prefix": "", "document_prefix": ""}
    manifest = manifest_of("text", {**plain, **(preprocessing or {})}, **changes)
    onnx.save(model, str(folder / "model.onnx"))
    graphs.save_tokenizer(folder / "tokenizer.json", tokenizer, pad_left=pad_left)
    files = {"model": folder / "model.onnx", "tokenizer": folder / "tokenizer.json"}
    return TextEncoder(manifest, files, runtime)


def open_image(
    folder: Path,
    runtime: Runtime,
    model: onnx.ModelProto,
    preprocessing: Mapping[str, Any] | None = None,
    **changes: Any,
) -> ImageEncoder:
    plain = {"recipe": 1, "width": 8, "height": 8, "fit": "stretch", "fill": [0, 0, 0]}
    manifest = manifest_of(
        "image", {**plain, "decoded_side": 16, **(preprocessing or {})}, **changes
    )
    onnx.save(model, str(folder / "model.onnx"))
    return ImageEncoder(manifest, {"model": folder / "model.onnx"}, runtime)


def encode(encoder: Encoder, items: Sequence[Item]) -> Floats:
    prepared = encoder.prepare(items)
    assert all(isinstance(each, Prepared) for each in prepared), prepared
    rows = [row for each in prepared if isinstance(each, Prepared) for row in each.rows]
    return np.stack(encoder.encode(rows))


def texts(*values: str, task: Task = Task.DOCUMENT) -> list[Item]:
    return [Item(TextContent(value), task=task) for value in values]


def ids_of(folder: Path, text: str) -> list[int]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    return list(tokenizer.encode(text).ids)


def pooled(folder: Path, text: str, pooling: str) -> Floats:
    hidden = graphs.table(1, graphs.VOCABULARY, D)[ids_of(folder, text)]
    chosen = {"mean": hidden.mean(axis=0), "cls": hidden[0], "last": hidden[-1]}
    return np.asarray(chosen[pooling])


@pytest.mark.parametrize("pad_left", [False, True])
@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
@pytest.mark.parametrize(
    "model",
    [
        {},
        {"inputs": ("input_ids", "attention_mask"), "integer": TensorProto.INT32},
        {"inputs": ("input_ids",)},
        {"inputs": ("strange_name",)},
        {"batch": 2, "tokens": 16},
        {"batch": 8},
    ],
)
def test_token_vectors_are_pooled(
    tmp_path: Path, runtime: Runtime, model: dict[str, Any], pooling: str, *, pad_left: bool
) -> None:
    encoder = open_text(
        tmp_path, runtime, graphs.token_model(D, **model), pooling=pooling, pad_left=pad_left
    )
    made = encode(encoder, texts(*TEXTS))
    expected = np.stack([pooled(tmp_path, text, pooling) for text in TEXTS])
    np.testing.assert_allclose(made, expected, atol=1e-6)
    alone = np.concatenate([encode(encoder, texts(text)) for text in TEXTS])
    np.testing.assert_allclose(made, alone, atol=1e-6)


def test_rerank_gets_the_tokens_of_left_padded_texts(tmp_path: Path, runtime: Runtime) -> None:
    encoder = open_text(tmp_path, runtime, graphs.token_model(D), pooling="last", pad_left=True)
    assert encoder.operations == {Operation.ENCODE, Operation.RERANK}
    items = [Item(TextContent(text), operation=Operation.RERANK) for text in TEXTS]
    rows = [each.rows[0] for each in encoder.prepare(items) if isinstance(each, Prepared)]
    for text, made in zip(TEXTS, encoder.encode(rows), strict=True):
        right = graphs.table(1, graphs.VOCABULARY, D)[ids_of(tmp_path, text)]
        right /= np.linalg.norm(right, axis=1, keepdims=True)
        np.testing.assert_allclose(made, right, atol=1e-6)


def test_half_precision_comes_out_as_float32(tmp_path: Path, runtime: Runtime) -> None:
    encoder = open_text(tmp_path, runtime, graphs.token_model(D, half=True), pooling="mean")
    made = encode(encoder, texts(*TEXTS))
    assert made.dtype == np.float32
    np.testing.assert_allclose(made[1], pooled(tmp_path, TEXTS[1], "mean"), atol=2e-3)


def test_a_query_prefix_is_for_queries(tmp_path: Path, runtime: Runtime) -> None:
    prefixes = {"query_prefix": "query: ", "document_prefix": "passage: "}
    encoder = open_text(tmp_path, runtime, graphs.token_model(D), preprocessing=prefixes)
    for task in Task:
        word = prefixes[f"{task.value}_prefix"]
        (made,) = encode(encoder, texts("a cat", task=task))
        np.testing.assert_allclose(made, pooled(tmp_path, f"{word}a cat", "mean"), atol=1e-6)


def test_padding_to_a_fixed_length_counts_where_there_is_no_mask(
    tmp_path: Path, runtime: Runtime
) -> None:
    encoder = open_text(
        tmp_path,
        runtime,
        graphs.token_model(D, inputs=("input_ids",)),
        tokenizer="siglip",
        preprocessing={"fixed_length": 16, "lower_case": True, "output": "pooler_output"},
        pooling="none",
    )
    assert encoder.operations == {Operation.ENCODE}
    (made,) = encode(encoder, texts("A Cat"))
    ids = ids_of(tmp_path, "a cat")
    right = graphs.table(1, graphs.VOCABULARY, D)[[*ids, *[0] * (16 - len(ids))]].mean(axis=0)
    np.testing.assert_allclose(made, right, atol=1e-6)


@pytest.mark.parametrize(
    ("model", "changes", "said"),
    [
        (graphs.token_model(7), {}, "has 7 dimensions; the manifest says 6"),
        (graphs.token_model(D, tokens=8), {}, "max_tokens is 16; the model takes 8"),
        (graphs.text_tower(D), {"pooling": "cls"}, "needs an output of 3 axes"),
        (
            graphs.token_model(D, inputs=("input_ids", "pixel_values")),
            {},
            "also takes pixel_values",
        ),
        (graphs.token_model(D, inputs=("one", "two")), {}, "must name its input"),
    ],
)
def test_a_text_model_that_does_not_fit_is_refused(
    tmp_path: Path, runtime: Runtime, model: onnx.ModelProto, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ManifestError, match=said):
        open_text(tmp_path, runtime, model, **changes)


def test_an_output_that_is_not_there_is_named(tmp_path: Path, runtime: Runtime) -> None:
    with pytest.raises(ManifestError, match="no output 'nothing'; it has last_hidden_state"):
        open_text(tmp_path, runtime, graphs.token_model(D), preprocessing={"output": "nothing"})


def photo(width: int = 40, height: int = 24) -> Image.Image:
    noise = np.random.default_rng(width).integers(0, 256, (6, 8, 3), np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def image_item(image: Image.Image) -> Item:
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return Item(ImageContent(buffer.getvalue()))


STATISTICS: dict[str, Any] = {"scale": 1 / 255, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}


def arranged(image: Image.Image) -> Floats:
    """Normalise as numpy says, channels first."""
    pixels = np.asarray(image, np.float64) / 255
    values = (pixels - STATISTICS["mean"]) / np.array(STATISTICS["std"])
    return np.asarray(values.transpose(2, 0, 1), np.float32)


@pytest.mark.parametrize("method", ["bilinear", "bicubic"])
@pytest.mark.parametrize("batch", [None, 2])
def test_float_pictures_are_cropped_and_scaled_as_by_pillow(
    tmp_path: Path, runtime: Runtime, method: str, batch: int | None
) -> None:
    crop = {"fit": "crop", "shorter_side": 12, "interpolation": method, **STATISTICS}
    model = graphs.pixel_model(8, D, batch=batch)
    encoder = open_image(tmp_path, runtime, model, crop, pooling="none")
    images = [photo(40, 24), photo(24, 40), photo(24, 24)]
    sizes = [(20, 12), (12, 20), (12, 12)]
    made = encode(encoder, [image_item(each) for each in images])
    for image, (width, height), vector in zip(images, sizes, made, strict=True):
        scaled = image.resize((width, height), Image.Resampling[method.upper()])
        left, top = (width - 8) // 2, (height - 8) // 2
        pixels = arranged(scaled.crop((left, top, left + 8, top + 8)))
        right = pixels.reshape(-1) @ graphs.table(1, 3 * 64, D)
        np.testing.assert_allclose(vector, right, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_patches_are_pooled(tmp_path: Path, runtime: Runtime, pooling: str) -> None:
    model = graphs.pixel_model(8, D, output="last_hidden_state", free=True)
    how = {"layout": "nchw", **STATISTICS}
    encoder = open_image(tmp_path, runtime, model, how, pooling=pooling)
    (made,) = encode(encoder, [image_item(photo(8, 8))])
    whole = arranged(photo(8, 8)).reshape(-1) @ graphs.table(1, 3 * 64, D)
    right = whole if pooling == "cls" else whole / 2  # the halves add up to the whole
    np.testing.assert_allclose(made, right, rtol=1e-3, atol=1e-3)


def test_channels_may_come_blue_first(tmp_path: Path, runtime: Runtime) -> None:
    model = graphs.pixel_model(8, D)
    encoder = open_image(tmp_path, runtime, model, {"channels": "bgr"}, pooling="none")
    (made,) = encode(encoder, [image_item(photo(8, 8))])
    pixels = np.asarray(photo(8, 8), np.float32)[..., ::-1].transpose(2, 0, 1)
    right = pixels.reshape(-1) @ graphs.table(1, 3 * 64, D)
    np.testing.assert_allclose(made, right, rtol=1e-4)


@pytest.mark.parametrize(
    ("model", "how", "said"),
    [
        (graphs.pixel_model(8, 9), {}, "has 9 dimensions; the manifest says 6"),
        (graphs.pixel_model(16, D), {}, "height 16, not 8"),
        (graphs.pixel_model(8, D, free=True), {}, "must say `layout`"),
        (graphs.pixel_model(8, D), {"layout": "nhwc"}, "takes nchw; the manifest says nhwc"),
        (graphs.token_model(D), {}, "must name its input"),
    ],
)
def test_an_image_model_that_does_not_fit_is_refused(
    tmp_path: Path, runtime: Runtime, model: onnx.ModelProto, how: dict[str, Any], said: str
) -> None:
    with pytest.raises(ManifestError, match=said):
        open_image(tmp_path, runtime, model, how, pooling="none")


@pytest.mark.parametrize("width", [1, 50_000])
def test_strips_are_cropped_without_growing(tmp_path: Path, runtime: Runtime, width: int) -> None:
    model = graphs.pixel_model(8, D)
    encoder = open_image(tmp_path, runtime, model, {"fit": "crop"}, pooling="none")
    strip = Image.new("RGB", (width, 1 if width > 1 else 50_000), "teal")
    assert np.isfinite(encode(encoder, [image_item(strip)])).all()


def test_weights_outside_the_file_are_loaded(tmp_path: Path, runtime: Runtime) -> None:
    inside = encode(
        open_text(tmp_path, runtime, graphs.token_model(D), pooling="cls"), texts(*TEXTS)
    )
    encoder_files = tmp_path / "outside"
    encoder_files.mkdir()
    graphs.save_outside(graphs.token_model(D), encoder_files / "model.onnx")
    files = {
        "model": encoder_files / "model.onnx",
        "tokenizer": tmp_path / "tokenizer.json",
    }
    plain = {"recipe": 1, "max_tokens": 16, "query_prefix": "", "document_prefix": ""}
    outside = TextEncoder(manifest_of("text", plain, pooling="cls"), files, runtime)
    np.testing.assert_array_equal(encode(outside, texts(*TEXTS)), inside)


def test_weights_outside_the_folder_are_refused(tmp_path: Path, runtime: Runtime) -> None:
    (tmp_path / "inner").mkdir()
    path = tmp_path / "inner" / "model.onnx"
    graphs.save_outside(graphs.token_model(D), path)
    (tmp_path / "inner" / "model.onnx_data").rename(tmp_path / "elsewhere")
    model = onnx.load(str(path), load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "../elsewhere"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(EncoderNotReadyError, match="cannot load"):
        runtime.open_session(path)


GRAPHS: dict[str, Any] = {
    "bge-small-en-v1.5": lambda d: (graphs.token_model(d), "bert"),
    "e5-small-v2": lambda d: (graphs.token_model(d), "bert"),
    "clip-vit-b-32-text": lambda d: (graphs.text_tower(d), "clip"),
    "siglip-base-text": lambda d: (graphs.token_model(d, inputs=("input_ids",)), "siglip"),
    "clip-vit-b-32-image": lambda d: (graphs.pixel_model(224, d, free=True, block=16), ""),
    "siglip-base-image": lambda d: (
        graphs.pixel_model(224, d, free=True, block=16, output="pooler_output"),
        "",
    ),
    "dinov2-small": lambda d: (
        graphs.pixel_model(224, d, free=True, block=16, output="last_hidden_state"),
        "",
    ),
}


def recipe_vector(name: str, folder: Path, dimensions: int) -> Floats:
    """Work out with numpy and Pillow alone what a recipe's tiny model makes of a content."""
    words = graphs.table(1, graphs.VOCABULARY, dimensions)
    prefixes = {
        "bge": "Represent this sentence for searching relevant passages: ",
        "e5-": "query: ",
    }
    ids = ids_of(folder, prefixes.get(name[:3], "") + "a cat") if "image" not in name else []
    if name.startswith("bge"):
        return np.asarray(words[ids[0]])
    if name.startswith("e5"):
        return np.asarray(words[ids].mean(axis=0))
    if name == "clip-vit-b-32-text":
        return np.asarray(words[ids].sum(axis=0))
    return np.asarray(words[[*ids, *[0] * (64 - len(ids))]].mean(axis=0))


def recipe_pixels(name: str) -> Floats:
    image = photo(400, 300)
    bicubic = Image.Resampling.BICUBIC
    statistics = {
        "clip": ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]),
        "sigl": ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5]),
        "dino": ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    }
    if name.startswith("siglip"):
        image = image.resize((224, 224), bicubic)
    else:
        side = 224 if name.startswith("clip") else 256
        image = image.resize((side * 400 // 300, side), bicubic)
        left, top = (image.width - 224) // 2, (image.height - 224) // 2
        image = image.crop((left, top, left + 224, top + 224))
    mean, std = statistics[name[:4]]
    pixels = (np.asarray(image, np.float64) / 255 - mean) / std
    means = pixels.reshape(14, 16, 14, 16, 3).mean(axis=(1, 3))
    return np.asarray(means.transpose(2, 0, 1).reshape(-1), np.float32)


@pytest.mark.parametrize("name", recipe_names())
def test_recipes_fit_models_of_that_structure(tmp_path: Path, runtime: Runtime, name: str) -> None:
    recipe = load_recipe(name)
    head = {"name": "own", "version": "1", "space": "own@1", "files": {}}
    manifest = Manifest.model_validate({**recipe, **head})
    model, tokenizer = GRAPHS[name](manifest.dimensions)
    onnx.save(model, str(tmp_path / "model.onnx"))
    files = {"model": tmp_path / "model.onnx", "tokenizer": tmp_path / "tokenizer.json"}
    if tokenizer:
        graphs.save_tokenizer(tmp_path / "tokenizer.json", tokenizer)
        encoder: Encoder = TextEncoder(manifest, files, runtime)
        (made,) = encode(encoder, texts("a cat", task=Task.QUERY))
        right = recipe_vector(name, tmp_path, manifest.dimensions)
    else:
        encoder = ImageEncoder(manifest, files, runtime)
        (made,) = encode(encoder, [image_item(photo(400, 300))])
        right = recipe_pixels(name) @ graphs.table(1, 3 * 14 * 14, manifest.dimensions)
    assert made @ right / np.linalg.norm(right) > 0.99999
    assert np.isclose(np.linalg.norm(made), 1)
