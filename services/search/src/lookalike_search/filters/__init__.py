"""Filters: AIP-160 text to a typed tree, checked against the schema, to a Milvus expression.

    parse(text) → Expression → check(…, schema) → CheckedExpression → render(…, columns) → str
                                                                    → evaluate(…, values) → bool

`parser` says what the language is, `check` what fits which type, `checked` what a filter means
where a value is missing, `render` how that is said to Milvus.
"""

from lookalike_search.filters.ast import Expression
from lookalike_search.filters.check import BUILTIN, check
from lookalike_search.filters.checked import AllOf, CheckedExpression, Field, Origin, Present
from lookalike_search.filters.evaluate import evaluate
from lookalike_search.filters.parser import MAX_BYTES, MAX_NESTING, MAX_TERMS, parse
from lookalike_search.filters.render import (
    Column,
    Columns,
    column_name,
    entity_columns,
    json_column,
    json_path,
    quote,
    render,
)

__all__ = [
    "BUILTIN",
    "MAX_BYTES",
    "MAX_NESTING",
    "MAX_TERMS",
    "AllOf",
    "CheckedExpression",
    "Column",
    "Columns",
    "Expression",
    "Field",
    "Origin",
    "Present",
    "check",
    "column_name",
    "entity_columns",
    "evaluate",
    "json_column",
    "json_path",
    "parse",
    "quote",
    "render",
]
