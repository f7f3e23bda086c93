"""Pictures and texts, with a session that shows what it was given."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lookalike_common.errors import (
    EncoderNotReadyError,
    InvalidArgumentError,
    InvalidContentError,
    LimitExceededError,
    LookalikeError,
    UnsupportedMediaError,
    WrongModalityError,
)
from lookalike_encoder.content import ImageContent, Item, RawImageContent, Task, TextContent
from lookalike_encoder.encoder import Prepared, Row, normalise
from lookalike_encoder.encoders.image import ImageEncoder
from lookalike_encoder.encoders.text import TextEncoder
from lookalike_encoder.golden import check_golden
from lookalike_encoder.manifest import Manifest, Normalisation, load_manifest
from lookalike_encoder.session import TensorSpec, Tokens
from lookalike_media import Box, PixelFormat

FILES = {"model": Path("model.onnx"), "tokenizer": Path("tokenizer.json")}


class Words:
    """Numbers the letters of each word; 2 and 3 frame a text."""

    padding = 0
    pads_left = False
    vocabulary = 1000

    def __init__(self, max_tokens: int) -> None:
        self.max_tokens = max_tokens

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        return [self._tokenize(text) for text in texts]

    def _tokenize(self, text: str) -> Tokens:
        words = [10 + len(word) for word in text.split() if word != "?"]
        kept = words[: self.max_tokens - 2]
        return Tokens(np.array([2, *kept, 3], np.int64), len(kept), len(kept) < len(words))


IDS = TensorSpec("int64", (None, None))
INPUTS = {
    "image": {"image": TensorSpec("uint8", (None, 224, 224, 3))},
    "text": {"input_ids": IDS, "attention_mask": IDS, "token_type_ids": IDS},
}
OUTPUTS = {
    "image": {"features": TensorSpec("float32", (None, None))},
    "text": {"last_hidden_state": TensorSpec("float32", (None, None, None))},
}


class Session:
    device = "cpu"

    def __init__(self) -> None:
        self.seen: list[Mapping[str, NDArray[Any]]] = []
        self.kind = "image"

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        return INPUTS[self.kind]

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        return OUTPUTS[self.kind]

    def run(
        self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str]
    ) -> tuple[NDArray[Any], ...]:
        self.seen.append(inputs)
        if list(outputs) == ["features"]:
            return (np.asarray(inputs["image"].mean(axis=(1, 2)), np.float32),)
        ids = inputs["input_ids"].astype(np.float32)
        return (np.stack([ids, np.ones_like(ids)], axis=-1),)


class Runtime:
    def __init__(self, threads: Executor) -> None:
        self.threads = threads
        self.session = Session()

    def open_session(self, model: Path) -> Session:
        assert model == FILES["model"]
        return self.session

    def open_tokenizer(self, file: Path, max_tokens: int) -> Words:
        assert file == FILES["tokenizer"]
        return Words(max_tokens)


@pytest.fixture
def runtime() -> Any:
    with ThreadPoolExecutor(2) as threads:
        yield Runtime(threads)


def image_encoder(models_folder: Path, runtime: Any, **limits: int) -> ImageEncoder:
    manifest = load_manifest(models_folder / "efficientnet-lite0")
    changed = manifest.limits.model_copy(update=limits)
    return ImageEncoder(manifest.model_copy(update={"limits": changed}), FILES, runtime)


def text_encoder(models_folder: Path, runtime: Any, **preprocessing: Any) -> TextEncoder:
    manifest = load_manifest(models_folder / "minilm-l6-v2")
    runtime.session.kind = "text"
    changed = {**manifest.preprocessing, **preprocessing}
    return TextEncoder(manifest.model_copy(update={"preprocessing": changed}), FILES, runtime)


def picture(width: int, height: int, colour: Any = "black", file_format: str = "PNG") -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (width, height), colour).save(buffer, file_format)
    return buffer.getvalue()


def rows(result: Prepared | LookalikeError) -> tuple[Row, ...]:
    assert isinstance(result, Prepared)
    return result.rows


def prepare_one(encoder: Any, item: Item) -> tuple[Row, ...]:
    (result,) = encoder.prepare([item])
    return rows(result)


def test_pictures_fit_into_the_square_with_their_proportions(
    models_folder: Path, runtime: Any
) -> None:
    encoder = image_encoder(models_folder, runtime)
    (row,) = prepare_one(encoder, Item(ImageContent(picture(400, 200))))

    assert row.data.shape == (224, 224, 3)
    assert row.data.dtype == np.uint8
    assert (row.data[56:168] == 0).all()
    assert (row.data[:56] == 255).all()
    assert (row.data[168:] == 255).all()


@pytest.mark.parametrize(("width", "height"), [(1, 5000), (5000, 1), (1, 1), (224, 224)])
def test_extreme_pictures_fit_too(
    models_folder: Path, runtime: Any, width: int, height: int
) -> None:
    encoder = image_encoder(models_folder, runtime)
    (row,) = prepare_one(encoder, Item(ImageContent(picture(width, height))))
    assert row.data.shape == (224, 224, 3)
    assert (row.data == 0).any()


def test_raw_pixels_are_the_same_as_a_file(models_folder: Path, runtime: Any) -> None:
    encoder = image_encoder(models_folder, runtime)
    noise = np.random.default_rng(1).integers(0, 255, (30, 50, 3), np.uint8)
    buffer = BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    raw = RawImageContent(noise.tobytes(), 50, 30, PixelFormat.RGB8)

    results = encoder.prepare([Item(raw), Item(ImageContent(buffer.getvalue()))])

    assert np.array_equal(rows(results[0])[0].data, rows(results[1])[0].data)


def test_each_region_gets_a_row(models_folder: Path, runtime: Any) -> None:
    encoder = image_encoder(models_folder, runtime)
    image = Image.new("RGB", (100, 50), "red")
    image.paste("blue", (50, 0, 100, 50))
    buffer = BytesIO()
    image.save(buffer, "PNG")
    boxes = (Box(0, 0, 50, 50), Box(50, 0, 50, 50), Box(60, 10, 5, 5))
    item = Item(ImageContent(buffer.getvalue()), boxes)

    parts = prepare_one(encoder, item)

    assert encoder.estimate(item) == 3
    colours = [row.data.reshape(-1, 3).mean(axis=0).tolist() for row in parts]
    assert colours == [[255, 0, 0], [0, 0, 255], [0, 0, 255]]


def test_small_regions_keep_large_jpegs_at_full_scale(models_folder: Path, runtime: Any) -> None:
    """A region must not be cut out of what was shrunk for the whole picture."""
    encoder = image_encoder(models_folder, runtime)
    noise = np.random.default_rng(1).integers(0, 255, (1000, 1000, 1), np.uint8)
    buffer = BytesIO()
    Image.fromarray(noise.repeat(3, axis=2)).save(buffer, "JPEG", quality=95)
    whole, part = (
        prepare_one(encoder, Item(ImageContent(buffer.getvalue()), regions))[0].data
        for regions in ((), (Box(100, 100, 224, 224),))
    )
    assert part.std() > 2 * whole.std()
    assert np.abs(part[..., 0].astype(int) - noise[100:324, 100:324, 0]).mean() < 8


def test_pictures_with_errors_fail_alone(models_folder: Path, runtime: Any) -> None:
    encoder = image_encoder(models_folder, runtime, max_pixels=100 * 100)
    good = picture(10, 10)
    results = encoder.prepare(
        [
            Item(ImageContent(good)),
            Item(ImageContent(b"")),
            Item(ImageContent(b"no image at all")),
            Item(ImageContent(good[:-20])),
            Item(ImageContent(picture(200, 200))),
            Item(RawImageContent(b"123", 5, 5, PixelFormat.RGB8)),
            Item(TextContent("words")),
            Item(ImageContent(good), (Box(0, 0, 5, 5), Box(8, 8, 5, 5))),
        ]
    )
    assert [(type(each), getattr(each, "field", "")) for each in results] == [
        (Prepared, ""),
        (InvalidContentError, "content"),
        (UnsupportedMediaError, "content"),
        (InvalidContentError, "content"),
        (LimitExceededError, "content"),
        (InvalidContentError, "content"),
        (WrongModalityError, "content"),
        (InvalidContentError, "regions[1]"),
    ]


def test_picture_vectors_have_length_one(models_folder: Path, runtime: Any) -> None:
    encoder = image_encoder(models_folder, runtime)
    (row,) = prepare_one(encoder, Item(ImageContent(picture(9, 9, "teal"))))
    vectors = encoder.encode([row, row])
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)


def test_texts_are_padded_and_masked(models_folder: Path, runtime: Any) -> None:
    encoder = text_encoder(models_folder, runtime)
    results = encoder.prepare([Item(TextContent("one three")), Item(TextContent("hello"))])
    encoder.encode([rows(each)[0] for each in results])

    (inputs,) = runtime.session.seen
    assert inputs["input_ids"].tolist() == [[2, 13, 15, 3], [2, 15, 3, 0]]
    assert inputs["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert not inputs["token_type_ids"].any()


def test_pooling_is_the_mean_over_what_the_mask_keeps(models_folder: Path, runtime: Any) -> None:
    encoder = text_encoder(models_folder, runtime)
    results = encoder.prepare([Item(TextContent("one three four")), Item(TextContent("a"))])
    vectors = encoder.encode([rows(each)[0] for each in results])

    for vector, ids in zip(vectors, ([2, 13, 15, 14, 3], [2, 11, 3]), strict=True):
        expected = np.array([np.mean(ids), 1])
        assert np.allclose(vector, expected / np.linalg.norm(expected))


def test_long_texts_are_truncated_and_say_so(models_folder: Path, runtime: Any) -> None:
    encoder = text_encoder(models_folder, runtime, max_tokens=5)
    long, short = encoder.prepare([Item(TextContent("a b c d e")), Item(TextContent("a b c"))])
    assert isinstance(long, Prepared)
    assert isinstance(short, Prepared)
    assert (long.truncated, short.truncated) == (True, False)
    assert long.rows[0].length == 5


def test_questions_and_documents_may_have_prefixes(models_folder: Path, runtime: Any) -> None:
    encoder = text_encoder(models_folder, runtime, query_prefix="ask: ", document_prefix="")
    query, document = encoder.prepare(
        [Item(TextContent("me"), task=task) for task in (Task.QUERY, Task.DOCUMENT)]
    )
    assert rows(query)[0].data.tolist() == [2, 14, 12, 3]
    assert rows(document)[0].data.tolist() == [2, 12, 3]


def test_texts_with_errors_fail_alone(models_folder: Path, runtime: Any) -> None:
    encoder = text_encoder(models_folder, runtime)
    limit = encoder.manifest.limits.max_bytes
    results = encoder.prepare(
        [
            Item(TextContent("fine")),
            Item(TextContent(" \n\t")),
            Item(TextContent("?")),
            Item(TextContent("é" * limit)),
            Item(ImageContent(b"picture")),
            Item(TextContent("fine"), (Box(0, 0, 1, 1),)),
            Item(TextContent("also fine")),
        ]
    )
    assert [(type(each), getattr(each, "field", "")) for each in results] == [
        (Prepared, ""),
        (InvalidContentError, "content"),
        (InvalidContentError, "content"),
        (LimitExceededError, "content"),
        (WrongModalityError, "content"),
        (InvalidArgumentError, "regions"),
        (Prepared, ""),
    ]
    assert rows(results[-1])[0].data.tolist() == [2, 14, 14, 3]


def test_estimates_are_bounded(models_folder: Path, runtime: Any) -> None:
    encoder = text_encoder(models_folder, runtime)
    assert encoder.estimate(Item(TextContent("x"))) == 2
    assert encoder.estimate(Item(TextContent("x" * 100_000))) == 256


def test_zero_vectors_stay_zero() -> None:
    vectors = np.array([[3, 4], [0, 0]], np.float32)
    assert normalise(vectors, Normalisation.L2).tolist() == [
        [np.float32(0.6), np.float32(0.8)],
        [0, 0],
    ]
    assert normalise(vectors, Normalisation.NONE) is vectors


class Liar(ImageEncoder):
    """Makes vectors that look right and are not."""

    def encode(self, rows: Sequence[Row]) -> list[NDArray[np.float32]]:
        random = np.random.default_rng(1).normal(size=(len(rows), 1280)).astype(np.float32)
        return list(normalise(random, Normalisation.L2))


def test_a_model_that_makes_other_vectors_is_refused(models_folder: Path, runtime: Any) -> None:
    manifest: Manifest = load_manifest(models_folder / "efficientnet-lite0")
    with pytest.raises(EncoderNotReadyError, match=r"refused.*cosine"):
        check_golden(Liar(manifest, FILES, runtime))
