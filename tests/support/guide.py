"""A page of documentation whose blocks of shell and Python are run, one after the other."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lookalike_client.suite.ports import Ports
from tests.support.suite import Ended, Suite, run
from tools.fetch_grpcurl import grpcurl

_BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Guide:
    """One page."""

    path: Path

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def blocks(self) -> list[tuple[str, str]]:
        """Kind and text of each block, in their order."""
        return _BLOCK.findall(self.text)

    def run(self, block: tuple[str, str], suite: Suite, home: Path) -> Ended:
        """Run a block in a folder, on a suite that is not where the page says."""
        kind, text = block
        services = ("encoder", "search", "ingest", "gateway")
        addresses = {f"LOOKALIKE_{name.upper()}_ADDRESS": suite.address(name) for name in services}
        for name in services:
            there = f"localhost:{getattr(Ports(), name)}"
            text = text.replace(there, f"localhost:{getattr(suite.ports, name)}")
        client = ", ".join(f'{name}="{suite.address(name)}"' for name in services[:3])
        text = text.replace("Client()", f"Client({client})")
        programs = home.with_name(f"{home.name}-bin")
        programs.mkdir(exist_ok=True)
        if not (programs / "grpcurl").exists():
            (programs / "grpcurl").symlink_to(grpcurl())
        path = f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        program = (
            [sys.executable, "-c", text]
            if kind == "python"
            else ["/bin/bash", "-euo", "pipefail", "-c", f"cd {home}\n{text}"]
        )
        return run(*program, **addresses, PATH=path, COLUMNS="160")
