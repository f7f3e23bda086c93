"""Makes `python -m lookalike_gateway` the same as the `lookalike-gateway` command."""

import sys

from lookalike_gateway.cli import main

sys.exit(main())
