"""MLServer with the text model, by its own command. Argument: the port."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from mlserver.cli import main

port = int(sys.argv[1])
folder = Path.cwd()  # empty, and away afterwards
(folder / "settings.json").write_text(
    json.dumps(
        {
            "debug": False,
            "host": "127.0.0.1",
            "grpc_port": port,
            "http_port": 0,
            "metrics_endpoint": None,
            "parallel_workers": 0,
        }
    )
)
(folder / "model-settings.json").write_text(
    json.dumps(
        {
            "name": "minilm",
            "implementation": "mlserver_model.MiniLmRuntime",
            "max_batch_size": 32,
            "max_batch_time": 0.002,
        }
    )
)
sys.argv = ["mlserver", "start", str(folder)]
main()
