"""The API's descriptor image *with comments*, for reflection and for the gateway's documentation.

Generated modules and the descriptor pool drop all comments; the image that lookalike-protos ships
as package data keeps them. What the image lacks (health, reflection, the Open Inference Protocol)
is found in the pool of the running process.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import Default, DescriptorPool

Found = FileDescriptorProto | None


def load_image() -> FileDescriptorSet:
    """Return the descriptor image shipped with lookalike-protos."""
    image = files("lookalike").joinpath("descriptors.binpb")
    return FileDescriptorSet.FromString(image.read_bytes())


class DescriptorIndex:
    """Finds files by name, by the symbols they define and by the extensions they declare."""

    def __init__(self, descriptor_files: Iterable[FileDescriptorProto]) -> None:
        self._files = {file.name: file for file in descriptor_files}
        self._pool = DescriptorPool()
        for file in self._files.values():
            self._pool.Add(file)

    @classmethod
    def shipped(cls, *more: FileDescriptorProto) -> DescriptorIndex:
        """Return an index of the shipped image and the files given."""
        return cls([*load_image().file, *more])

    def file(self, name: str) -> Found:
        """Return the file with this name."""
        if name in self._files:
            return self._files[name]
        try:
            return self._commented(Default().FindFileByName(name))
        except KeyError:
            return None

    def file_with_symbol(self, symbol: str) -> Found:
        """Return the file that defines a message, field, enum, service or method."""
        parent, _, name = symbol.rpartition(".")
        for pool in (self._pool, Default()):
            try:
                return self._commented(pool.FindFileContainingSymbol(symbol))
            except KeyError:
                pass
            try:  # the pools do not know methods by their full names
                if name in pool.FindServiceByName(parent).methods_by_name:
                    return self._commented(pool.FindFileContainingSymbol(parent))
            except KeyError:
                pass
        return None

    def file_with_extension(self, message: str, number: int) -> Found:
        """Return the file that declares an extension of a message."""
        try:
            extended = self._pool.FindMessageTypeByName(message)
            extension = self._pool.FindExtensionByNumber(extended, number)
        except KeyError:
            return None
        return self.file_with_symbol(extension.full_name)

    def extension_numbers(self, message: str) -> list[int] | None:
        """Return the numbers of all known extensions, ascending; None without such a message."""
        try:
            extended = self._pool.FindMessageTypeByName(message)
        except KeyError:
            return None
        return sorted(each.number for each in self._pool.FindAllExtensions(extended))

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

    def _commented(self, found: FileDescriptor) -> FileDescriptorProto:
        """Return the file with its comments where they are known."""
        known = self._files.get(found.name)
        return known or FileDescriptorProto.FromString(found.serialized_pb)
