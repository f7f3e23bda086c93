"""Vector fields and attributes as people write them on a command line."""

import re
from datetime import timedelta

from lookalike.search.v1 import collection_pb2
from lookalike.type.v1 import vector_pb2
from lookalike_client._names import encoder_name
from lookalike_client.cli.exits import CommandError, ExitCode

_TYPES = {
    "string": collection_pb2.AttributeField.TYPE_STRING,
    "int": collection_pb2.AttributeField.TYPE_INT,
    "double": collection_pb2.AttributeField.TYPE_DOUBLE,
    "bool": collection_pb2.AttributeField.TYPE_BOOL,
    "timestamp": collection_pb2.AttributeField.TYPE_TIMESTAMP,
    "strings": collection_pb2.AttributeField.TYPE_STRING_LIST,
    "json": collection_pb2.AttributeField.TYPE_JSON,
}
_METRICS = {
    "cosine": vector_pb2.METRIC_COSINE,
    "ip": vector_pb2.METRIC_INNER_PRODUCT,
    "l2": vector_pb2.METRIC_EUCLIDEAN,
    "tanimoto": vector_pb2.METRIC_TANIMOTO,
    "hamming": vector_pb2.METRIC_HAMMING,
}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_OF_BITS = frozenset({"tanimoto", "hamming"})

ATTRIBUTE_HELP = (
    f"An attribute: `name:type`, then `:filterable`, `:full-text`, `:required`. "
    f"Types: {', '.join(_TYPES)}."
)
FIELD_HELP = (
    "A vector field: `name=encoder`, or `name=encoder:attribute` to encode that attribute (or "
    f"`text`), or `name=dimensions:metric` for your own vectors. Metrics: {', '.join(_METRICS)}."
)


def attribute_of(text: str) -> collection_pb2.AttributeField:
    """The attribute that `name:type:flag…` describes; it may be missing unless it is required."""
    name, _, rest = text.partition(":")
    kind, *flags = rest.split(":")
    unknown = set(flags) - {"filterable", "full-text", "required"}
    if kind not in _TYPES or unknown:
        raise CommandError(f"--attribute {text}: {ATTRIBUTE_HELP}", ExitCode.USAGE)
    return collection_pb2.AttributeField(
        name=name,
        type=_TYPES[kind],
        filterable="filterable" in flags,
        full_text="full-text" in flags,
        nullable="required" not in flags,
    )


def field_of(text: str) -> collection_pb2.VectorField:
    """The vector field that `name=…` describes."""
    name, equals, rest = text.partition("=")
    what, _, how = rest.partition(":")
    if not equals or not what or (what.isdecimal() and how not in _METRICS):
        raise CommandError(f"--field {text}: {FIELD_HELP}", ExitCode.USAGE)
    optional, name = name.endswith("?"), name.removesuffix("?")
    if not what.isdecimal():
        return collection_pb2.VectorField(
            name=name, encoder=encoder_name(what), source_attribute=how, optional=optional
        )
    bits = vector_pb2.VECTOR_KIND_BINARY if how in _OF_BITS else vector_pb2.VECTOR_KIND_UNSPECIFIED
    return collection_pb2.VectorField(
        name=name,
        dimensions=int(what),
        metric=_METRICS[how],
        vector_kind=bits,
        optional=optional,
    )


def span_of(text: str, option: str = "--ttl") -> timedelta:
    """The time that `90s`, `15m`, `12h` or `30d` is; `0` is none."""
    found = re.fullmatch(r"(\d{1,9})([smhd])", text)
    if text == "0":
        return timedelta(0)
    if found is None:
        raise CommandError(f"{option} {text}: write 90s, 15m, 12h or 30d", ExitCode.USAGE)
    return timedelta(seconds=int(found[1]) * _SECONDS[found[2]])
