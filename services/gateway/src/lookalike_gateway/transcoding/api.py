"""The API as its descriptor image tells it: services, rpcs, how each is called over HTTP.

Everything comes from the image that lookalike-protos ships: a new rpc with a `google.api.http`
annotation needs no change here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from google.api import annotations_pb2, http_pb2
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from lookalike_gateway.transcoding.template import PathTemplate

WHOLE_MESSAGE = "*"
"""As a body: everything that the path does not hold."""


class Api:
    """All services of an image, in a descriptor pool of their own."""

    def __init__(self, image: FileDescriptorSet) -> None:
        self.image = image
        self.pool = DescriptorPool()
        for file in image.file:
            self.pool.Add(file)

    @cached_property
    def services(self) -> tuple[ServiceDescriptor, ...]:
        """All services, by their full names."""
        names = sorted(
            f"{file.package}.{service.name}" for file in self.image.file for service in file.service
        )
        return tuple(self.pool.FindServiceByName(name) for name in names)

    @cached_property
    def routes(self) -> tuple[Route, ...]:
        """One route for each way to call an rpc over HTTP."""
        return tuple(
            route
            for service in self.services
            for method in service.methods
            for route in _routes(Rpc(method))
        )


class Rpc:
    """One rpc, ready to be called."""

    def __init__(self, method: MethodDescriptor) -> None:
        self.descriptor = method
        self.service: str = method.containing_service.full_name
        self.name: str = method.name
        self.path = f"/{self.service}/{self.name}"
        """The name on the wire: `/lookalike.search.v1.SearchService/Search`."""
        self.package: str = method.containing_service.file.package
        self.request: type[Message] = GetMessageClass(method.input_type)
        self.reply: type[Message] = GetMessageClass(method.output_type)
        self.streams_requests: bool = method.client_streaming
        self.streams_replies: bool = method.server_streaming


@dataclass(frozen=True)
class Route:
    """One way to call an rpc over HTTP."""

    rpc: Rpc
    verb: str
    """The HTTP method: `GET`, `POST`, …"""
    template: PathTemplate
    body: str
    """The field that is the body, `*` for the whole message, empty for none."""
    response_body: str
    """The field that is the response; empty for the whole message."""


@dataclass(frozen=True, slots=True)
class Match:
    """A request found its route."""

    route: Route
    variables: Mapping[str, str]
    """Values of fields that the path holds."""


class RouteTable:
    """Finds the route of a request."""

    def __init__(self, routes: tuple[Route, ...]) -> None:
        self._routes = sorted(routes, key=lambda each: each.template.specificity, reverse=True)

    def match(self, verb: str, raw_path: str) -> Match | None:
        """Return the route of a path that is still percent-encoded.

        Raises UnicodeDecodeError when what it holds is not UTF-8.
        """
        for route in self._routes:
            if route.verb == verb:
                variables = route.template.match(raw_path)
                if variables is not None:
                    return Match(route, variables)
        return None

    def verbs(self, raw_path: str) -> list[str]:
        """Return the HTTP methods that a path takes, sorted."""
        matching = (each for each in self._routes if each.template.pattern.fullmatch(raw_path))
        return sorted({each.verb for each in matching})


def _routes(rpc: Rpc) -> Iterator[Route]:
    options = rpc.descriptor.GetOptions()
    if rpc.streams_requests or not options.HasExtension(annotations_pb2.http):
        return
    rule: http_pb2.HttpRule = options.Extensions[annotations_pb2.http]
    for each in (rule, *rule.additional_bindings):
        verb, path = _verb_and_path(each)
        template = PathTemplate.parse(path)
        yield Route(rpc, verb, template, each.body, each.response_body)


def _verb_and_path(rule: http_pb2.HttpRule) -> tuple[str, str]:
    kind = rule.WhichOneof("pattern")
    if kind == "custom":
        return rule.custom.kind, rule.custom.path
    if kind is None:
        raise ValueError("an HTTP rule has no path")
    return kind.upper(), getattr(rule, kind)
