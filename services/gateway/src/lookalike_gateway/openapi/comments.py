"""The comments of a descriptor image, by the full names of what they are about."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

_PATH_OF_MESSAGES = 4
_PATH_OF_ENUMS = 5
_PATH_OF_SERVICES = 6
_FIELDS, _NESTED_MESSAGES, _NESTED_ENUMS = 2, 3, 4
_ENUM_VALUES = 2
_METHODS = 2

Path = tuple[int, ...]


class Comments:
    """Leading comments, without the comment signs."""

    def __init__(self, image: FileDescriptorSet) -> None:
        self._texts: dict[str, str] = {}
        for file in image.file:
            known = {tuple(each.path): each for each in file.source_code_info.location}
            for path, name in _named(file):
                location = known.get(path)
                if location is not None and location.leading_comments:
                    self._texts[name] = _cleaned(location.leading_comments)

    def of(self, full_name: str) -> str:
        """Return the comment of a service, rpc, message, field, enum or value; empty if none."""
        return self._texts.get(full_name, "")


def split_summary(text: str) -> tuple[str, str]:
    """Return the first sentence of a comment as plain text without its stop, and the rest."""
    first, _, rest = text.partition("\n\n")
    flat = " ".join(first.split())
    head, stop, tail = flat.partition(". ")
    body = f"{tail}\n\n{rest}" if tail else rest
    summary = head if stop else flat.removesuffix(".")
    return summary.replace("`", ""), body.strip()


def _cleaned(text: str) -> str:
    return "\n".join(line.removeprefix(" ").rstrip() for line in text.splitlines()).strip()


def _named(file: FileDescriptorProto) -> Iterator[tuple[Path, str]]:
    for index, message in enumerate(file.message_type):
        yield from _in_message((_PATH_OF_MESSAGES, index), file.package, message)
    for index, enum in enumerate(file.enum_type):
        yield from _in_enum((_PATH_OF_ENUMS, index), file.package, enum)
    for index, service in enumerate(file.service):
        path, name = (_PATH_OF_SERVICES, index), f"{file.package}.{service.name}"
        yield path, name
        for number, method in enumerate(service.method):
            yield (*path, _METHODS, number), f"{name}.{method.name}"


def _in_message(path: Path, scope: str, message: DescriptorProto) -> Iterator[tuple[Path, str]]:
    name = f"{scope}.{message.name}"
    yield path, name
    for index, field in enumerate(message.field):
        yield (*path, _FIELDS, index), f"{name}.{field.name}"
    for index, inner in enumerate(message.nested_type):
        yield from _in_message((*path, _NESTED_MESSAGES, index), name, inner)
    for index, enum in enumerate(message.enum_type):
        yield from _in_enum((*path, _NESTED_ENUMS, index), name, enum)


def _in_enum(path: Path, scope: str, enum: EnumDescriptorProto) -> Iterator[tuple[Path, str]]:
    name = f"{scope}.{enum.name}"
    yield path, name
    for index, value in enumerate(enum.value):
        yield (*path, _ENUM_VALUES, index), f"{name}.{value.name}"
