"""The API's descriptor image *with comments*, for reflection and for the gateway's documentation.

Generated modules and the descriptor pool drop all comments; the image that lookalike-protos ships
as package data keeps them. What the image lacks (health, reflection, the Open Inference Protocol)
is found in the pool of the running process.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from importlib.resources import files

from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

Extension = tuple[str, int]
"""The full name of the extended message and the field number."""


def load_image() -> FileDescriptorSet:
    """Return the descriptor image shipped with lookalike-protos."""
    return FileDescriptorSet.FromString(
        files("lookalike").joinpath("descriptors.binpb").read_bytes()
    )


class DescriptorIndex:
    """Finds files by name, by the symbols they define and by the extensions they declare."""

    def __init__(self, descriptor_files: Iterable[FileDescriptorProto]) -> None:
        self._files = {file.name: file for file in descriptor_files}

    @classmethod
    def shipped(cls, *more: FileDescriptorProto) -> DescriptorIndex:
        """Return an index of the shipped image and the files given."""
        return cls([*load_image().file, *more])

    def file(self, name: str) -> FileDescriptorProto | None:
        """Return the file with this name."""
        found = self._files.get(name)
        if found is not None:
            return found
        try:
            return _as_proto(descriptor_pool.Default().FindFileByName(name).serialized_pb)
        except KeyError:
            return None

    def file_with_symbol(self, symbol: str) -> FileDescriptorProto | None:
        """Return the file that defines a message, field, enum, service or method."""
        found = self._symbols.get(symbol)
        if found is not None:
            return found
        try:
            pool = descriptor_pool.Default()
            return _as_proto(pool.FindFileContainingSymbol(symbol).serialized_pb)
        except KeyError:
            return None

    def file_with_extension(self, extension: Extension) -> FileDescriptorProto | None:
        """Return the file that declares an extension."""
        return self._extensions.get(extension)

    def extension_numbers(self, message: str) -> list[int]:
        """Return the numbers of all known extensions of a message, ascending."""
        return sorted(number for extended, number in self._extensions if extended == message)

    def closure(self, file: FileDescriptorProto) -> list[FileDescriptorProto]:
        """Return a file and everything it imports, itself first."""
        order = {file.name: file}
        waiting = [file]
        while waiting:
            for name in waiting.pop().dependency:
                imported = None if name in order else self.file(name)
                if imported is not None:
                    order[name] = imported
                    waiting.append(imported)
        return list(order.values())

    @cached_property
    def _symbols(self) -> Mapping[str, FileDescriptorProto]:
        return {symbol: file for file in self._files.values() for symbol in _file_symbols(file)}

    @cached_property
    def _extensions(self) -> Mapping[Extension, FileDescriptorProto]:
        return {
            (field.extendee.removeprefix("."), field.number): file
            for file in self._files.values()
            for field in _file_extensions(file)
        }


def _as_proto(serialized: bytes) -> FileDescriptorProto:
    return FileDescriptorProto.FromString(serialized)


def _file_symbols(file: FileDescriptorProto) -> Iterator[str]:
    prefix = f"{file.package}." if file.package else ""
    for message in file.message_type:
        yield from _message_symbols(prefix, message)
    for enum in file.enum_type:
        yield prefix + enum.name
        yield from (prefix + value.name for value in enum.value)
    for field in file.extension:
        yield prefix + field.name
    for service in file.service:
        yield prefix + service.name
        yield from (f"{prefix}{service.name}.{method.name}" for method in service.method)


def _message_symbols(prefix: str, message: DescriptorProto) -> Iterator[str]:
    name = prefix + message.name
    yield name
    for field in [*message.field, *message.extension]:
        yield f"{name}.{field.name}"
    for oneof in message.oneof_decl:
        yield f"{name}.{oneof.name}"
    for enum in message.enum_type:
        yield f"{name}.{enum.name}"
        yield from (f"{name}.{value.name}" for value in enum.value)
    for nested in message.nested_type:
        yield from _message_symbols(f"{name}.", nested)


def _file_extensions(file: FileDescriptorProto) -> Iterator[FieldDescriptorProto]:
    yield from file.extension
    for message in file.message_type:
        yield from _nested_extensions(message)


def _nested_extensions(message: DescriptorProto) -> Iterator[FieldDescriptorProto]:
    yield from message.extension
    for nested in message.nested_type:
        yield from _nested_extensions(nested)
