"""`models init`: exports become encoders that serve; what is wrong or missing is refused."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from PIL import Image

from lookalike_encoder.catalogue import discover
from lookalike_encoder.cli import main
from lookalike_encoder.install.store import ModelStore
from tests.support import onnx_graphs as graphs

D = 6
TEXTS = ("a cat sleeps", "red dog runs", "blue")


class Exports:
    """Folders as exporters write them, and references as their libraries make them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "export"
        self.manifests = root / "manifests"
        self.models = root / "models"
        self.folder.mkdir()

    def write(self, name: str, content: object) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))

    def sentence_transformers(self, *, outside: bool = True) -> None:
        graphs.save_tokenizer(self.folder / "tokenizer.json")
        (self.folder / "onnx").mkdir()
        model, path = graphs.token_model(D), self.folder / "onnx" / "model.onnx"
        if outside:
            graphs.save_outside(model, path)
        else:
            onnx.save(model, str(path))
        kinds = {"0": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
        self.write(
            "modules.json",
            [
                {"path": path.replace("0", ""), "type": f"sentence_transformers.models.{kind}"}
                for path, kind in kinds.items()
            ],
        )
        self.write("1_Pooling/config.json", {"pooling_mode_cls_token": True})
        self.write("sentence_bert_config.json", {"max_seq_length": 16})
        self.write("README.md", "---\nlicense: mit\n---\n# A model\n")

    def timm(self) -> None:
        onnx.save(graphs.pixel_model(8, D), str(self.folder / "model.onnx"))
        pretrained = {
            "input_size": [3, 8, 8],
            "interpolation": "bicubic",
            "crop_pct": 0.8,
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
        }
        self.write("config.json", {"pretrained_cfg": pretrained})

    def reference(self, cases: object) -> Path:
        path = self.root / "reference.json"
        path.write_text(json.dumps({"cases": cases}))
        return path

    def text_cases(self) -> list[dict[str, Any]]:
        tokenizer = graphs.save_tokenizer(self.root / "tokenizer.json")
        words = graphs.table(1, graphs.VOCABULARY, D)
        makes = [words[tokenizer.encode(text).ids] for text in TEXTS]
        return [
            {"text": text, "vector": made.mean(axis=0).tolist()}
            for text, made in zip(TEXTS, makes, strict=True)
        ]

    def image_cases(self) -> list[dict[str, Any]]:
        return [self._image_case(seed) for seed in range(3)]

    def _image_case(self, seed: int) -> dict[str, Any]:
        noise = np.random.default_rng(seed).integers(0, 256, (20, 30, 3), np.uint8)
        image = Image.fromarray(noise)
        image.save(self.root / f"{seed}.png")
        scaled = image.resize((15, 10), Image.Resampling.BICUBIC).crop((3, 1, 11, 9))
        pixels = (np.asarray(scaled, np.float32) / 255 - 0.5) / 0.5
        vector = pixels.transpose(2, 0, 1).reshape(-1) @ graphs.table(1, 3 * 64, D)
        return {"image": f"{seed}.png", "vector": vector.tolist()}

    def init(self, reference: Path | None, *options: str) -> int:
        given = ["--reference", str(reference)] if reference else []
        into = ["--into", str(self.manifests)]
        return main(["models", "init", str(self.folder), *given, *into, *options])


@pytest.fixture
def exports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Exports:
    made = Exports(tmp_path)
    monkeypatch.setenv("LOOKALIKE_ENCODER__MODELS_DIR", str(made.models))
    monkeypatch.setenv("LOOKALIKE_ENCODER__DEVICE__KIND", "cpu")
    return made


def mean_pooling(exports: Exports) -> None:
    exports.write("1_Pooling/config.json", {"pooling_mode_mean_tokens": True})


def test_a_sentence_transformers_export_becomes_an_encoder(
    exports: Exports, capsys: pytest.CaptureFixture[str]
) -> None:
    exports.sentence_transformers()
    mean_pooling(exports)

    assert exports.init(exports.reference(exports.text_cases()), "--name", "mine") == 0

    assert "mine@1: makes the vectors of the reference" in capsys.readouterr().out
    manifest = discover([exports.manifests]).find("mine")
    assert (manifest.dimensions, manifest.pooling.value, manifest.license) == (D, "mean", "mit")
    assert set(manifest.files) == {"model", "weights-1", "tokenizer"}
    assert manifest.preprocessing["max_tokens"] == 16
    assert ModelStore(exports.models).check(manifest)


def test_weights_outside_the_model_are_checked_too(exports: Exports) -> None:
    exports.sentence_transformers()
    mean_pooling(exports)
    assert exports.init(exports.reference(exports.text_cases()), "--name", "mine") == 0
    weights = exports.models / "mine@1" / "model.onnx_data"
    weights.write_bytes(bytes(weights.stat().st_size))
    with pytest.raises(Exception, match="damaged or another file"):
        ModelStore(exports.models).check(discover([exports.manifests]).find("mine"))


def test_the_wrong_pooling_is_refused_and_nothing_placed(
    exports: Exports, capsys: pytest.CaptureFixture[str]
) -> None:
    exports.sentence_transformers()  # whose config says cls; the reference was made by the mean
    assert exports.init(exports.reference(exports.text_cases()), "--name", "mine") == 1
    assert "refused" in capsys.readouterr().err
    assert not (exports.models / "mine@1").exists()
    assert not list(exports.root.glob("manifests/*"))


def test_a_timm_export_becomes_an_encoder(exports: Exports) -> None:
    exports.timm()
    reference = exports.reference(exports.image_cases())
    assert exports.init(reference, "--license", "MIT", "--name", "photos") == 0
    manifest = discover([exports.manifests]).find("photos")
    assert manifest.preprocessing["shorter_side"] == 10
    assert sorted(path.name for path in (manifest.folder / "golden").iterdir()) == [
        "0.png",
        "1.png",
        "2.png",
    ]


def test_a_processor_of_transformers_is_read(exports: Exports) -> None:
    exports.timm()
    exports.write("config.json", {"model_type": "vit"})
    exports.write(
        "preprocessor_config.json",
        {
            "do_center_crop": True,
            "size": {"shortest_edge": 10},
            "crop_size": {"height": 8, "width": 8},
            "resample": 3,
            "image_mean": [0.5, 0.5, 0.5],
            "image_std": [0.5, 0.5, 0.5],
        },
    )
    options = ("--license", "MIT", "--pooling", "none", "--name", "photos")
    assert exports.init(exports.reference(exports.image_cases()), *options) == 0


def test_two_towers_share_a_space_and_serve(
    exports: Exports, serve_own: Callable[..., AbstractContextManager[Any]]
) -> None:
    from lookalike.encoder.v1 import encoder_service_pb2 as pb
    from lookalike.type.v1 import content_pb2

    exports.timm()
    options = ("--license", "MIT", "--space", "pair@1")
    reference = exports.reference(exports.image_cases())
    assert exports.init(reference, "--name", "pictures", *options) == 0
    (exports.folder / "config.json").unlink()
    (exports.folder / "model.onnx").unlink()
    exports.sentence_transformers()
    mean_pooling(exports)
    reference = exports.reference(exports.text_cases())
    assert exports.init(reference, "--name", "words", *options) == 0

    with serve_own(exports.models, exports.manifests) as stub:
        listed = {
            each.name: each
            for each in stub.ListEncoders(pb.ListEncodersRequest()).encoders
            if each.space == "pair@1"
        }
        assert set(listed) == {"encoders/pictures@1", "encoders/words@1"}
        picture = (exports.root / "0.png").read_bytes()
        contents = {
            "encoders/words": content_pb2.Content(text="a cat"),
            "encoders/pictures": content_pb2.Content(image=picture),
        }
        made = []
        for name, content in contents.items():
            items = [pb.EncodeItem(content=content)]
            reply = stub.Encode(pb.EncodeRequest(encoder=name, items=items))
            (vector,) = reply.results[0].item.vectors
            made.append(np.frombuffer(vector.dense.data, "<f4"))
        assert np.isfinite(made[0] @ made[1])
        assert np.allclose(np.linalg.norm(made, axis=1), 1)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda e: (e.folder / "tokenizer.json").unlink(), "neither texts nor pictures"),
        (lambda e: (e.folder / "onnx" / "model.onnx").unlink(), "name the model with --model"),
        (lambda e: (e.folder / "onnx" / "model.onnx_data").unlink(), "not beside it"),
        (lambda e: (e.folder / "onnx" / "model.onnx").write_bytes(b"\xff"), "no ONNX model"),
        (lambda e: (e.folder / "modules.json").unlink(), "--pooling"),
        (lambda e: (e.folder / "README.md").unlink(), "--license"),
        (lambda e: (e.folder / "sentence_bert_config.json").unlink(), "--max-tokens"),
        (lambda e: e.write("modules.json", "{"), "no JSON"),
        (lambda e: e.write("modules.json", [{"path": 1}]), "not a list of modules"),
        (lambda e: e.write("modules.json", [{"path": "x", "type": "a.Dense"}]), "Dense"),
        (lambda e: e.write("1_Pooling/config.json", {"pooling_mode_max_tokens": 1}), "max_tokens"),
        (
            lambda e: e.write("modules.json", [{"path": "../..", "type": "a.Pooling"}]),
            "outside",
        ),
    ],
)
def test_what_an_export_lacks_is_said(
    exports: Exports,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Exports], object],
    said: str,
) -> None:
    exports.sentence_transformers()
    mean_pooling(exports)
    spoil(exports)
    assert exports.init(exports.reference(exports.text_cases()), "--name", "mine") == 1
    assert said in capsys.readouterr().err
    assert not exports.manifests.exists()


def test_weights_outside_the_folder_are_not_read(
    exports: Exports, capsys: pytest.CaptureFixture[str]
) -> None:
    exports.sentence_transformers()
    mean_pooling(exports)
    path = exports.folder / "onnx" / "model.onnx"
    model = onnx.load(str(path), load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "../../secret"
    path.write_bytes(model.SerializeToString())
    (exports.root / "secret").write_bytes(b"secret")
    assert exports.init(exports.reference(exports.text_cases()), "--name", "mine") == 1
    assert "not from beside it" in capsys.readouterr().err


def test_links_out_of_the_folder_are_not_followed(
    exports: Exports, capsys: pytest.CaptureFixture[str]
) -> None:
    exports.sentence_transformers()
    mean_pooling(exports)
    (exports.folder / "tokenizer.json").rename(exports.root / "real.json")
    (exports.folder / "tokenizer.json").symlink_to(exports.root / "real.json")
    assert exports.init(exports.reference(exports.text_cases()), "--name", "mine") == 1
    assert "cp -rL" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("cases", "said"),
    [
        ([], "at least 3"),
        ("words", "not a list"),
        ([{"text": "a", "vector": [1, 2]}] * 3, "same vector"),
        ([{"text": "a", "vector": [1, float("nan")]}] * 3, "finite"),
        ([{"text": "a", "vector": "words"}] * 3, "no vector"),
        ([{"vector": [1.0, at]} for at in range(3)], "has no text"),
        ([{"text": "a", "vector": [1.0] * (at + 1)} for at in range(3)], "of one length"),
        (
            [{"text": "a", "task": "x", "vector": [1.0, at]} for at in range(3)],
            "query or document",
        ),
    ],
)
def test_a_reference_that_proves_nothing_is_refused(
    exports: Exports, capsys: pytest.CaptureFixture[str], cases: object, said: str
) -> None:
    exports.sentence_transformers()
    assert exports.init(exports.reference(cases), "--name", "mine") == 1
    assert said in capsys.readouterr().err


def test_without_a_reference_it_says_how_to_make_one(
    exports: Exports, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exports.init(None) == 2
    assert "sentence_transformers.SentenceTransformer" in capsys.readouterr().err


def test_a_name_that_is_taken_is_refused(
    exports: Exports, capsys: pytest.CaptureFixture[str]
) -> None:
    exports.sentence_transformers()
    mean_pooling(exports)
    reference = exports.reference(exports.text_cases())
    assert exports.init(reference, "--name", "mine") == 0
    before = (exports.manifests / "mine" / "manifest.yaml").read_text()
    assert exports.init(reference, "--name", "mine") == 1
    assert "exists already" in capsys.readouterr().err
    assert exports.init(reference, "--name", "minilm-l6-v2") == 1
    assert (exports.manifests / "mine" / "manifest.yaml").read_text() == before
    assert yaml.safe_load(before)["name"] == "mine"


def test_a_recipe_with_prefixes_wants_both_proved(
    exports: Exports, capsys: pytest.CaptureFixture[str]
) -> None:
    exports.sentence_transformers()
    reference = exports.reference(exports.text_cases())
    assert exports.init(reference, "--recipe", "e5-small-v2", "--name", "mine") == 1
    assert "no case has the task query" in capsys.readouterr().err
