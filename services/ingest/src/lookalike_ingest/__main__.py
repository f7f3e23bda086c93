"""`python -m lookalike_ingest`, the same as `lookalike-ingest`."""

from lookalike_ingest.cli import main

main()
