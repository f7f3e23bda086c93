"""Writes down what the thousand classes of ImageNet are called, one a line.

The order of the classes, their names and what WordNet says about them come in three lists, by
WordNet's numbers.
"""

from __future__ import annotations

_CLASSES = 1000


def convert_imagenet_classes(order: bytes, names: bytes, definitions: bytes) -> bytes:
    """Return `name, other name: definition` for each class; raises ValueError."""
    known, meaning = _read(names), _read(definitions)
    numbers = order.decode("ascii").split()
    if len(numbers) != _CLASSES:
        raise ValueError(f"{len(numbers)} classes are listed, not {_CLASSES}")
    if unknown := [each for each in numbers if each not in known or each not in meaning]:
        raise ValueError(f"{unknown[0]} has no name or no definition")
    return "".join(f"{known[each]}: {meaning[each]}\n" for each in numbers).encode()


def _read(table: bytes) -> dict[str, str]:
    """Read lines of a number, a tabulator and a text."""
    rows = (line.partition("\t") for line in table.decode("utf-8").splitlines())
    return {number: text.strip() for number, _, text in rows}
