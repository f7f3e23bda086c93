"""`lookalike-ingest [serve|config]`."""

import sys

from lookalike_common.service_cli import run_service
from lookalike_ingest.app import build
from lookalike_ingest.settings import IngestSettings


def main() -> None:
    """Run the service until it is told to stop."""
    sys.exit(run_service("ingest", IngestSettings, build))
