"""What describes the Open Inference Protocol, with comments, for reflection."""

from __future__ import annotations

from importlib.resources import files

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet


def inference_files() -> list[FileDescriptorProto]:
    """Return the protocol's files."""
    image = files("lookalike_encoder.inference_protocol").joinpath("descriptors.binpb")
    return list(FileDescriptorSet.FromString(image.read_bytes()).file)
