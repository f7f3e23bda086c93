"""What an export says about itself, in the words of a manifest; what it does not say is an error.

The files are those of transformers (`preprocessor_config.json`, `tokenizer_config.json`), of
sentence-transformers (`modules.json` and what it names) and of timm (`config.json`).
"""

from __future__ import annotations

import math
from typing import Any

from lookalike_encoder.init.folder import ExportFolder, pick
from lookalike_encoder.install.errors import InstallError

Fields = dict[str, Any]
"""Part of a manifest."""

_POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "last",
}
_INTERPOLATIONS = {2: "bilinear", 3: "bicubic", "bilinear": "bilinear", "bicubic": "bicubic"}
_ENDLESS = 1_000_000
"""Tokenizers that know no limit say 1e30."""


def describe_text(export: ExportFolder, max_tokens: int = 0) -> Fields:
    """Return preprocessing, pooling and normalisation of a text model; raises InstallError.

    `max_tokens`, unless 0, is taken for what the export says.
    """
    pooling, normalisation = _read_modules(export)
    prompts = export.read_json("config_sentence_transformers.json").get("prompts") or {}
    fields: Fields = {
        "preprocessing": {
            "recipe": 1,
            "max_tokens": max_tokens or _read_max_tokens(export),
            "query_prefix": pick(prompts, "query"),
            "document_prefix": pick(prompts, "document", "passage"),
        }
    }
    if pooling:
        fields |= {"pooling": pooling, "normalisation": normalisation}
    return fields


def describe_image(export: ExportFolder) -> Fields:
    """Return preprocessing of an image model, pooling where it is known; raises InstallError."""
    timm = export.read_json("config.json").get("pretrained_cfg")
    if isinstance(timm, dict):
        return {"preprocessing": _read_timm(timm), "pooling": "none", "normalisation": "l2"}
    found = export.read_json("preprocessor_config.json")
    if not found:
        raise InstallError("there is no preprocessor_config.json and no pretrained_cfg of timm")
    return {"preprocessing": _read_processor(found)}


def _read_modules(export: ExportFolder) -> tuple[str, str]:
    """Return pooling and normalisation of a sentence-transformers model, or two empty words."""
    modules = {each.type.rpartition(".")[2]: each.path for each in export.read_modules()}
    if not modules:
        return "", ""
    if unknown := sorted(modules.keys() - {"Transformer", "Pooling", "Normalize"}):
        raise InstallError(f"modules.json has {', '.join(unknown)}, which no manifest can express")
    if "Pooling" not in modules:
        raise InstallError("modules.json has no Pooling")
    config = export.read_json(f"{modules['Pooling']}/config.json")
    chosen = [name for name, value in config.items() if name.startswith("pooling_mode_") and value]
    if isinstance(config.get("pooling_mode"), str):  # what newer versions write
        pooling = {"cls": "cls", "mean": "mean", "lasttoken": "last"}.get(config["pooling_mode"])
        chosen = [config["pooling_mode"]]
    else:
        pooling = _POOLINGS.get(chosen[0]) if len(chosen) == 1 else None
    if pooling is None:
        raise InstallError(
            f"the pooling {' + '.join(chosen) or 'of the model'} is not known; cls, mean and last "
            "token are"
        )
    return pooling, "l2" if "Normalize" in modules else "none"


def _read_max_tokens(export: ExportFolder) -> int:
    for name, key in (
        ("sentence_bert_config.json", "max_seq_length"),
        ("tokenizer_config.json", "model_max_length"),
        ("config.json", "max_position_embeddings"),
    ):
        value = export.read_json(name).get(key)
        if isinstance(value, int | float) and 0 < value < _ENDLESS:
            return int(value)
    raise InstallError("no file says how many tokens the model takes; use --max-tokens")


def _read_processor(found: dict[str, Any]) -> Fields:
    """Translate a processor of transformers."""
    crops = bool(found.get("do_center_crop")) or "crop_pct" in found
    size, crop = found.get("size"), found.get("crop_size")
    if not found.get("do_resize", True) or size is None:
        raise InstallError("preprocessor_config.json does not say to what size pictures are scaled")
    shortest = size.get("shortest_edge") if isinstance(size, dict) else None
    width, height = _read_size(crop if crops and crop is not None else size)
    if shortest is None and crops and _read_size(size) != (width, height):
        shortest = min(_read_size(size))
    crop_share = found.get("crop_pct")
    if crop_share:
        shortest = math.floor(min(width, height) / crop_share)
    fits_by_crop = crops or shortest is not None
    fields = _image_fields(width, height, found.get("resample"), shortest if fits_by_crop else None)
    fields["fit"] = "crop" if fits_by_crop else "stretch"
    if found.get("do_rescale", True):
        fields["scale"] = float(found.get("rescale_factor", 1 / 255))
    if found.get("do_normalize", True):
        _add_statistics(fields, found.get("image_mean"), found.get("image_std"))
    return fields


def _read_timm(found: dict[str, Any]) -> Fields:
    """Translate a `pretrained_cfg`: centre crop of a share of the picture."""
    size = found.get("test_input_size") or found.get("input_size")
    if not isinstance(size, list) or len(size) != 3:  # channels, height, width
        raise InstallError("pretrained_cfg has no input_size")
    if found.get("crop_mode", "center") != "center":
        raise InstallError(f"crop_mode {found['crop_mode']!r} is not known; center is")
    _, height, width = size
    share = found.get("test_crop_pct") or found.get("crop_pct") or 0.875
    shortest = math.floor(min(width, height) / share)
    fields = _image_fields(width, height, found.get("interpolation"), shortest)
    fields |= {"fit": "crop", "scale": 1 / 255}
    _add_statistics(fields, found.get("mean"), found.get("std"))
    return fields


def _image_fields(width: int, height: int, method: object, shortest: int | None) -> Fields:
    if method not in _INTERPOLATIONS:
        raise InstallError(f"the interpolation {method!r} is not known; bilinear and bicubic are")
    return {
        "recipe": 1,
        "width": width,
        "height": height,
        "fill": [0, 0, 0],
        "decoded_side": 2 * max(width, height, shortest or 0),
        "interpolation": _INTERPOLATIONS[method],
        "shorter_side": shortest or 0,
        "layout": "nchw",
    }


def _add_statistics(fields: Fields, mean: object, std: object) -> None:
    if not (isinstance(mean, list) and isinstance(std, list) and len(mean) == len(std) == 3):
        raise InstallError("mean and standard deviation are not three numbers each")
    fields |= {"mean": mean, "std": std}


def _read_size(size: object) -> tuple[int, int]:
    """Return width and height."""
    if isinstance(size, int):
        return size, size
    if isinstance(size, dict):
        if "shortest_edge" in size:
            return int(size["shortest_edge"]), int(size["shortest_edge"])
        if "height" in size and "width" in size:
            return int(size["width"]), int(size["height"])
    raise InstallError(f"the size {size!r} of pictures is not known")
