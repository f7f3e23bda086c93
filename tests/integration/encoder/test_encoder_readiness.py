"""SERVING means loaded, proved and warm; until then, and where it never comes, callers are told."""

import shutil
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import grpc
import pytest

from lookalike.encoder.v1 import encoder_pb2, encoder_service_pb2_grpc
from lookalike.encoder.v1 import encoder_service_pb2 as pb
from lookalike.type.v1 import content_pb2
from lookalike_common.errors import NotFoundError
from lookalike_common.status import error_from_rpc
from lookalike_common.testing import assert_eventually
from lookalike_encoder.app import build, open_local_runtime
from lookalike_encoder.session import InferenceSession, Runtime, Tokenizer
from lookalike_encoder.settings import DeviceSettings, EncoderSettings
from lookalike_encoder.structure import Chemistry

TEXT, IMAGE = "encoders/minilm-l6-v2", "encoders/efficientnet-lite0"
Stub = encoder_service_pb2_grpc.EncoderServiceStub
Serve = Callable[..., Any]


def encode_text(stub: Stub) -> pb.EncodeResponse:
    item = pb.EncodeItem(content=content_pb2.Content(text="words"))
    response: pb.EncodeResponse = stub.Encode(pb.EncodeRequest(encoder=TEXT, items=[item]))
    return response


class HeldUpRuntime:
    """The real one, but models load only when they may."""

    def __init__(self, runtime: Runtime, gate: threading.Event) -> None:
        self._runtime, self._gate = runtime, gate
        self.device = runtime.device
        self.threads = runtime.threads

    def open_session(self, model: Path) -> InferenceSession:
        assert self._gate.wait(30)
        return self._runtime.open_session(model)

    def open_tokenizer(self, file: Path, max_tokens: int) -> Tokenizer:
        return self._runtime.open_tokenizer(file, max_tokens)

    def open_chemistry(self) -> Chemistry:
        return self._runtime.open_chemistry()


async def test_nothing_is_served_before_it_is_loaded(
    serve: Serve, serving: Callable[..., bool]
) -> None:
    gate = threading.Event()

    def open_runtime(settings: DeviceSettings, threads: Executor) -> Runtime:
        return HeldUpRuntime(open_local_runtime(settings, threads), gate)

    with (
        serve(healthy=False, build_options={"open_runtime": open_runtime}) as port,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        try:
            stub = Stub(channel)
            assert not serving(port)
            assert not serving(port, "")
            listed = stub.ListEncoders(pb.ListEncodersRequest()).encoders
            states = {each.name: each.state for each in listed}
            assert states[f"{TEXT}@1"] == encoder_pb2.Encoder.STATE_LOADING
            with pytest.raises(grpc.RpcError) as refused:
                encode_text(stub)
            assert error_from_rpc(refused.value).reason == "ENCODER_NOT_READY"
        finally:
            gate.set()
        await assert_eventually(lambda: serving(port) and serving(port, ""))
        assert encode_text(stub).results[0].item.vectors


def damaged_copy(models: Path, folder: Path) -> Path:
    """Copy the models, the one for pictures cut short."""
    shutil.copytree(models, folder, ignore=shutil.ignore_patterns(".*"))
    file = folder / "efficientnet-lite0@1" / "model.onnx"
    file.write_bytes(file.read_bytes()[:-1])
    return folder


def test_a_damaged_model_is_refused_and_the_others_served(
    serve: Serve, models: Path, tmp_path: Path
) -> None:
    folder = damaged_copy(models, tmp_path / "models")
    with (
        serve(models_dir=folder) as port,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        stub = Stub(channel)
        broken = stub.GetEncoder(pb.GetEncoderRequest(name=IMAGE))
        assert broken.state == encoder_pb2.Encoder.STATE_FAILED
        assert "damaged" in broken.error.message
        assert encode_text(stub).results[0].item.vectors


async def test_what_must_be_ready_closes_the_door_when_it_is_not(
    serve: Serve, serving: Callable[..., bool], models: Path, tmp_path: Path
) -> None:
    folder = damaged_copy(models, tmp_path / "models")
    names = ("minilm-l6-v2", "efficientnet-lite0")
    with (
        serve(models_dir=folder, encoders=names, healthy=False) as port,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        stub = Stub(channel)

        def loaded() -> bool:
            listed = stub.ListEncoders(pb.ListEncodersRequest()).encoders
            return all(each.state != encoder_pb2.Encoder.STATE_LOADING for each in listed)

        await assert_eventually(loaded)
        assert not serving(port)


async def test_without_models_nothing_is_served(
    serve: Serve, serving: Callable[..., bool], tmp_path: Path
) -> None:
    with (
        serve(models_dir=tmp_path, healthy=False) as port,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        with pytest.raises(grpc.RpcError) as refused:
            encode_text(Stub(channel))
        assert error_from_rpc(refused.value).reason == "RESOURCE_NOT_FOUND"
        assert not serving(port)


async def test_an_unknown_name_in_the_settings_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        async with build(EncoderSettings(models_dir=tmp_path, encoders=("nonsense",))):
            pytest.fail("it started")
