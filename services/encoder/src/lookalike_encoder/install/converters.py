"""How a file inside a package becomes a model file, by the name that manifests use."""

from __future__ import annotations

from collections.abc import Callable

from lookalike_encoder.install.errors import InstallError

Converter = Callable[[bytes], bytes]


def find_converter(name: str) -> Converter:
    """Return the converter of a name, the empty one copying; raises InstallError.

    Converters load when they are needed: they need the extra `install`, which a server does not.
    """
    if not name:
        return _copy
    if name == "efficientnet-lite0":
        try:
            from lookalike_encoder.install.efficientnet import (  # noqa: PLC0415 - see above
                convert_efficientnet_lite0,
            )
        except ImportError as error:
            raise InstallError(
                f"{error.name} is missing; install the extra `lookalike-encoder[install]`"
            ) from error
        return convert_efficientnet_lite0
    raise InstallError(f"there is no converter {name!r}")


def _copy(data: bytes) -> bytes:
    return data
