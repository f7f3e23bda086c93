"""Asks a container what its probes ask, as a kubelet would: from outside, by the pod's address."""

from __future__ import annotations

import socket
import urllib.request

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from tools.manifest_lint.manifests import Container, JsonObject


def succeeds(probe: JsonObject, container: Container, address: str) -> bool:
    """Run one probe once."""
    timeout = float(probe.get("timeoutSeconds", 1))
    (kind,) = probe.keys() & {"grpc", "httpGet", "tcpSocket"}
    port = container.port_number(probe[kind]["port"]) or 0
    try:
        if kind == "grpc":
            return _is_serving(f"{address}:{port}", probe["grpc"].get("service", ""), timeout)
        if kind == "httpGet":
            url = f"http://{address}:{port}{probe['httpGet']['path']}"
            urllib.request.urlopen(url, timeout=timeout).close()
        else:
            socket.create_connection((address, port), timeout).close()
    except (OSError, grpc.RpcError):  # urllib's errors are OSErrors
        return False
    return True


def _is_serving(target: str, service: str, timeout: float) -> bool:
    with grpc.insecure_channel(target) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=HealthCheckRequest.SerializeToString,
            response_deserializer=HealthCheckResponse.FromString,
        )
        reply: HealthCheckResponse = check(HealthCheckRequest(service=service), timeout=timeout)
        return reply.status == HealthCheckResponse.SERVING
