"""`python -m lookalike_encoder` is `lookalike-encoder`."""

import sys

from lookalike_encoder.cli import main

sys.exit(main())
