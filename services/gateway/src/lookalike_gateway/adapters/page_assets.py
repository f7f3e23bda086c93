"""The scripts and styles of Swagger UI and Redoc, out of an installed package.

`fastapi-offline` ships them; only its files are used, so that the pages need no other site.
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Final

_PACKAGE: Final = "fastapi-offline"
_FOLDER: Final = "fastapi_offline/static"

SWAGGER_SCRIPT: Final = "swagger-ui-bundle.js"
SWAGGER_STYLE: Final = "swagger-ui.css"
REDOC_SCRIPT: Final = "redoc.standalone.js"


def assets_folder() -> Path:
    """Return the folder that holds the files; FileNotFoundError when one is missing."""
    folder = Path(str(importlib.metadata.distribution(_PACKAGE).locate_file(_FOLDER)))
    for name in (SWAGGER_SCRIPT, SWAGGER_STYLE, REDOC_SCRIPT):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{_PACKAGE} has no {name}")
    return folder
