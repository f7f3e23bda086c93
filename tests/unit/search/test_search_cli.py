from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import gc
from lookalike_search.cli import main
main(["config"])
print(gc.get_freeze_count())
"""


def test_collections_leave_out_what_is_imported() -> None:
    run = subprocess.run(
        [sys.executable, "-c", _PROGRAM], capture_output=True, check=True, text=True
    )
    assert int(run.stdout.splitlines()[-1]) > 10_000
