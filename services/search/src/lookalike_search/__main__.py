"""`python -m lookalike_search` is `lookalike-search`."""

import sys

from lookalike_search.cli import main

sys.exit(main())
