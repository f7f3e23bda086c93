"""A thousand hostile texts and a thousand damaged pictures: vectors or documented errors."""

import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import onnx
import pytest
from PIL import Image

from lookalike_common.errors import (
    InvalidContentError,
    LimitExceededError,
    LookalikeError,
    UnsupportedMediaError,
)
from lookalike_encoder.app import open_local_runtime
from lookalike_encoder.content import ImageContent, Item, TextContent
from lookalike_encoder.encoder import Encoder, Prepared, Row
from lookalike_encoder.encoders.image import ImageEncoder
from lookalike_encoder.encoders.text import TextEncoder
from lookalike_encoder.init.recipes import load_recipe
from lookalike_encoder.manifest import Manifest
from lookalike_encoder.settings import DeviceSettings
from tests.support import onnx_graphs as graphs

D = 6
COUNT = 1000
DOCUMENTED = (InvalidContentError, LimitExceededError, UnsupportedMediaError)


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Encoder]]:
    folder = tmp_path_factory.mktemp("tiny")
    text = {"recipe": 1, "max_tokens": 64, "query_prefix": "", "document_prefix": ""}
    image = {"recipe": 1, "width": 8, "height": 8, "fit": "crop", "fill": [0, 0, 0]}
    onnx.save(graphs.token_model(D), str(folder / "text.onnx"))
    onnx.save(graphs.pixel_model(8, D), str(folder / "image.onnx"))
    graphs.save_tokenizer(folder / "tokenizer.json")
    with ThreadPoolExecutor(2) as threads:
        runtime = open_local_runtime(DeviceSettings(kind="cpu", threads=1), threads)
        texts = {"model": folder / "text.onnx", "tokenizer": folder / "tokenizer.json"}
        images = {"model": folder / "image.onnx"}
        of_images = manifest_of("dinov2-small", {**image, "decoded_side": 16}, pooling="none")
        yield {
            "text": TextEncoder(manifest_of("bge-small-en-v1.5", text), texts, runtime),
            "image": ImageEncoder(of_images, images, runtime),
        }


def manifest_of(recipe: str, preprocessing: dict[str, object], **changes: object) -> Manifest:
    head = {"name": "own", "version": "1", "space": "own@1", "files": {}, "dimensions": D}
    fields = {**load_recipe(recipe), **head, "preprocessing": preprocessing, **changes}
    return Manifest.model_validate(fields)


def hostile_text(chance: random.Random) -> str:
    kinds = [
        lambda: "".join(chr(chance.randrange(0x110000)) for _ in range(chance.randrange(200))),
        lambda: "\x00" * chance.randrange(50),
        lambda: "a\x00cat" * chance.randrange(1, 9),
        lambda: "a" + "\u0301" * chance.randrange(3000),
        lambda: chr(chance.randrange(0xD800, 0xE000)) + "a cat",
        lambda: " \t\r\n\u3000\u200b" * chance.randrange(100),
        lambda: chance.choice("\u202e\ufeff\u200d\U0001f469\U0001f1e9") * chance.randrange(1, 99),
        lambda: "[CLS][SEP][PAD]<s></s><|endoftext|>" * chance.randrange(1, 20),
        lambda: "x" * chance.randrange(1, 20_000),
    ]
    return chance.choice(kinds)()


def damaged_picture(chance: random.Random, whole: Sequence[bytes]) -> bytes:
    content = bytearray(chance.choice(whole))
    match chance.randrange(4):
        case 0:
            del content[chance.randrange(len(content)) :]
        case 1:
            for _ in range(chance.randrange(1, 30)):
                content[chance.randrange(len(content))] = chance.randrange(256)
        case 2:
            start = chance.randrange(len(content))
            content[start:start] = chance.randbytes(chance.randrange(1, 40))
        case _:
            head = chance.randrange(40)
            content[head:] = chance.randbytes(chance.randrange(400))
    return bytes(content)


def pictures() -> list[bytes]:
    noise = np.random.default_rng(1).integers(0, 256, (20, 30, 4), np.uint8)
    image = Image.fromarray(noise)
    made = []
    for mode, file_format in (
        ("RGB", "JPEG"),
        ("CMYK", "JPEG"),
        ("RGBA", "PNG"),
        ("I;16", "PNG"),
        ("P", "GIF"),
        ("RGB", "WEBP"),
        ("RGB", "BMP"),
        ("RGB", "TIFF"),
    ):
        source = image.convert("L") if mode == "I;16" else image.convert("RGB")
        buffer = BytesIO()
        source.convert(mode).save(buffer, file_format)
        made.append(buffer.getvalue())
    return made


def check_all(encoder: Encoder, hostile: Sequence[Item], good: Item) -> None:
    """Encode hostile items in batches, each with a good one that must not notice."""
    (alone,) = encoder.encode(rows_of(encoder.prepare([good])[0]))
    for start in range(0, len(hostile), 25):
        results = encoder.prepare([*hostile[start : start + 25], good])
        for each in results:
            assert isinstance(each, (Prepared, *DOCUMENTED)), repr(each)
            assert isinstance(each, Prepared) or each.field == "content"
        rows = [row for each in results if isinstance(each, Prepared) for row in each.rows]
        made = np.stack(encoder.encode(rows))
        assert np.isfinite(made).all()
        np.testing.assert_allclose(made[-1], alone, atol=1e-5)


def rows_of(result: Prepared | LookalikeError) -> Sequence[Row]:
    assert isinstance(result, Prepared)
    return result.rows


def test_hostile_texts(encoders: dict[str, Encoder]) -> None:
    chance = random.Random(7)
    items = [Item(TextContent(hostile_text(chance))) for _ in range(COUNT)]
    check_all(encoders["text"], items, Item(TextContent("a cat sleeps")))


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, about damaged TIFF headers
def test_damaged_pictures(encoders: dict[str, Encoder]) -> None:
    chance, whole = random.Random(7), pictures()
    items = [Item(ImageContent(damaged_picture(chance, whole))) for _ in range(COUNT)]
    check_all(encoders["image"], items, Item(ImageContent(whole[0])))


def test_a_text_of_a_megabyte_is_cut_off_and_says_so(encoders: dict[str, Encoder]) -> None:
    text = "a cat " * 166_666
    (result,) = encoders["text"].prepare([Item(TextContent(text))])
    assert isinstance(result, Prepared)
    assert result.truncated
    assert result.rows[0].length == 64


def test_what_lies_beyond_what_is_read_is_cut_off_too(encoders: dict[str, Encoder]) -> None:
    """Few tokens, but far apart: the model would take them all, and not all were looked at."""
    (result,) = encoders["text"].prepare([Item(TextContent("cat" + " " * 9000 + "dog"))])
    assert isinstance(result, Prepared)
    assert result.truncated
    assert result.rows[0].length == 3


def test_more_than_the_published_limit_is_refused(encoders: dict[str, Encoder]) -> None:
    limit = encoders["text"].manifest.limits.max_bytes
    (result,) = encoders["text"].prepare([Item(TextContent("x" * (limit + 1)))])
    assert isinstance(result, LimitExceededError)


def test_half_a_pair_of_surrogates_is_refused(encoders: dict[str, Encoder]) -> None:
    (result,) = encoders["text"].prepare([Item(TextContent("a cat \ud800"))])
    assert isinstance(result, InvalidContentError)
