"""What a Milvus at hand can do, found out by doing it: `lookalike-search contract`.

Each feature is a check that runs the service's own commands on collections of its own. It works, is
refused by name (UNSUPPORTED_BY_BACKEND), or fails; `expected` says which it should be.
"""

from lookalike_search.conformance.expected import expected
from lookalike_search.conformance.feature import Feature, Report, Verdict
from lookalike_search.conformance.run import FEATURES, examine

__all__ = ["FEATURES", "Feature", "Report", "Verdict", "examine", "expected"]
