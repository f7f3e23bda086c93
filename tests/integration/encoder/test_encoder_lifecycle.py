"""Encoders come, go and are replaced while calls are being served, and no call is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

from lookalike.encoder.v1 import (
    encoder_admin_service_pb2,
    encoder_admin_service_pb2_grpc,
    encoder_pb2,
    encoder_service_pb2_grpc,
)
from lookalike.encoder.v1 import encoder_service_pb2 as pb
from lookalike.type.v1 import content_pb2, server_info_service_pb2, server_info_service_pb2_grpc
from lookalike_common.errors import Code, LookalikeError
from lookalike_common.status import error_from_rpc
from lookalike_common.testing import assert_eventually
from lookalike_encoder.app import open_local_runtime
from lookalike_encoder.session import InferenceSession, Runtime, TensorSpec, Tokenizer
from lookalike_encoder.settings import DeviceSettings
from lookalike_encoder.structure import Chemistry
from tests.support.tiny_model import TinyModels, picture, vector_of

NAME = "encoders/tiny@1"
State = encoder_pb2.Encoder
Serve = Callable[..., Any]


class Caller:
    """Calls one server."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.stub = encoder_service_pb2_grpc.EncoderServiceStub(channel)
        self.info = server_info_service_pb2_grpc.ServerInfoServiceStub(channel)
        admin = encoder_admin_service_pb2_grpc.EncoderAdminServiceStub(channel)
        self._changes: dict[str, tuple[Any, Any]] = {
            "load": (admin.LoadEncoder, encoder_admin_service_pb2.LoadEncoderRequest),
            "unload": (admin.UnloadEncoder, encoder_admin_service_pb2.UnloadEncoderRequest),
            "reload": (admin.ReloadEncoder, encoder_admin_service_pb2.ReloadEncoderRequest),
        }

    def change(self, what: str, name: str = NAME) -> encoder_pb2.Encoder:
        rpc, request = self._changes[what]
        changed: encoder_pb2.Encoder = rpc(request(name=name), timeout=30)
        return changed

    def refused(self, what: str, name: str = NAME) -> LookalikeError:
        with pytest.raises(grpc.RpcError) as error:
            self.change(what, name)
        return error_from_rpc(error.value)

    def encode(self, red: int, name: str = NAME) -> tuple[NDArray[np.float32], str]:
        """Return the vector and the fingerprint."""
        item = pb.EncodeItem(content=content_pb2.Content(image=picture(red)))
        reply = self.stub.Encode(pb.EncodeRequest(encoder=name, items=[item]), timeout=30)
        assert reply.results[0].HasField("item"), reply
        data = reply.results[0].item.vectors[0].dense.data
        return np.frombuffer(data, "<f4"), reply.fingerprint

    def get(self, name: str = NAME) -> encoder_pb2.Encoder:
        found: encoder_pb2.Encoder = self.stub.GetEncoder(pb.GetEncoderRequest(name=name))
        return found

    def fingerprints(self) -> dict[str, str]:
        asked = server_info_service_pb2.GetServerInfoRequest()
        return dict(self.info.GetServerInfo(asked).encoder_fingerprints)


@contextmanager
def calling(port: int) -> Iterator[Caller]:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Caller(channel)


@pytest.fixture
def tiny(tmp_path: Path) -> TinyModels:
    tiny = TinyModels(tmp_path)
    tiny.write(seed=1)
    return tiny


@pytest.fixture
def served(serve: Serve, tiny: TinyModels) -> Iterator[Caller]:
    with serve(encoders=("tiny",), **tiny.settings) as port, calling(port) as caller:
        yield caller


def test_requests_in_flight_across_reloads_lose_nothing(served: Caller, tiny: TinyModels) -> None:
    seed_of = {served.get().fingerprint: 1}
    stop = threading.Event()
    seen: Counter[int] = Counter()

    def call(worker: int) -> int:
        count = 0
        while not stop.is_set():
            red = (worker * 50 + count) % 256
            vector, fingerprint = served.encode(red)
            answers.append((red, vector, fingerprint))
            count += 1
        return count

    answers: list[tuple[int, NDArray[np.float32], str]] = []
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(call, worker) for worker in range(4)]
        try:
            for seed in (2, 3, 4, 5):
                tiny.write(seed)
                reloaded = served.change("reload")
                assert reloaded.state == State.STATE_READY
                seed_of[reloaded.fingerprint] = seed
                assert served.encode(9)[1] == reloaded.fingerprint
        finally:
            stop.set()
        asked = sum(each.result() for each in calls)
    assert len(answers) == asked
    for red, vector, fingerprint in answers:
        seen[seed_of[fingerprint]] += 1
        np.testing.assert_allclose(vector, vector_of(seed_of[fingerprint], red), atol=1e-5)
    assert len(seen) > 1
    assert served.fingerprints() == {NAME: served.get().fingerprint}


@pytest.mark.parametrize("fault", ["damaged", "golden", "manifest", "gone"])
def test_a_failed_reload_keeps_the_old_one(served: Caller, tiny: TinyModels, fault: str) -> None:
    before = served.get()
    if fault == "damaged":
        tiny.model_file().write_bytes(tiny.model_file().read_bytes()[:-1])
    elif fault == "golden":
        tiny.write(seed=2, golden_seed=3)
    elif fault == "manifest":
        (tiny.manifests / "tiny-1" / "manifest.yaml").write_text("name: [")
    else:
        tiny.model_file().unlink()
    refusal = served.refused("reload")
    assert (refusal.code, refusal.reason) == (Code.FAILED_PRECONDITION, "ENCODER_NOT_READY")
    kept = served.get()
    assert (kept.state, kept.fingerprint) == (State.STATE_READY, before.fingerprint)
    assert kept.error.message == refusal.message
    np.testing.assert_allclose(served.encode(77)[0], vector_of(1, 77), atol=1e-5)
    tiny.write(seed=2)
    assert not served.change("reload").HasField("error")
    np.testing.assert_allclose(served.encode(77)[0], vector_of(2, 77), atol=1e-5)


def test_versions_stand_side_by_side(served: Caller, tiny: TinyModels) -> None:
    tiny.write(seed=7, version="2")
    assert served.encode(5, "encoders/tiny")[1] == served.get(NAME).fingerprint
    loaded = served.change("load", "encoders/tiny")
    assert (loaded.name, loaded.state) == ("encoders/tiny@2", State.STATE_READY)
    np.testing.assert_allclose(served.encode(5, "encoders/tiny")[0], vector_of(7, 5), atol=1e-5)
    np.testing.assert_allclose(served.encode(5, NAME)[0], vector_of(1, 5), atol=1e-5)
    assert set(served.fingerprints()) == {NAME, "encoders/tiny@2"}
    assert served.change("unload", "encoders/tiny").name == "encoders/tiny@2"
    assert served.get("encoders/tiny").name == NAME


def test_what_is_not_there_cannot_be_loaded(served: Caller, tiny: TinyModels) -> None:
    for what in ("load", "unload", "reload"):
        missing = served.refused(what, "encoders/none")
        assert (missing.code, missing.resource_name) == (Code.NOT_FOUND, "encoders/none")
    tiny.write(seed=2, version="2")
    tiny.model_file("2").unlink()
    tiny.model_file("2").parent.rmdir()
    refusal = served.refused("load", "encoders/tiny@2")
    assert refusal.code == Code.FAILED_PRECONDITION
    assert "not installed" in refusal.message
    assert served.change("load").name == NAME


def test_health_follows_each_encoder(
    serve: Serve, serving: Callable[..., bool], tiny: TinyModels
) -> None:
    tiny.write(seed=2, version="2")
    with serve(encoders=("tiny@1",), **tiny.settings) as port, calling(port) as caller:
        assert serving(port, NAME)
        assert not serving(port, "encoders/tiny@2")
        assert caller.get("encoders/tiny@2").state == State.STATE_UNLOADED
        caller.change("load", "encoders/tiny@2")
        assert serving(port, "encoders/tiny@2")
        caller.change("unload", NAME)
        assert not serving(port, NAME)
        assert not serving(port)
        assert serving(port, "lookalike.encoder.v1.EncoderAdminService")
        with pytest.raises(grpc.RpcError) as refused:
            caller.encode(1)
        assert error_from_rpc(refused.value).reason == "ENCODER_NOT_READY"
        caller.change("load", NAME)
        assert serving(port)


class HeldUp:
    """The real runtime, but a model runs only when it may."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.device = runtime.device
        self.threads = runtime.threads
        self.gate = threading.Event()
        self.gate.set()
        self.running = threading.Event()

    def open_session(self, model: Path) -> InferenceSession:
        return HeldUpSession(self._runtime.open_session(model), self)

    def open_tokenizer(self, file: Path, max_tokens: int) -> Tokenizer:
        return self._runtime.open_tokenizer(file, max_tokens)

    def open_chemistry(self) -> Chemistry:
        return self._runtime.open_chemistry()


class HeldUpSession:
    """One model of it."""

    def __init__(self, session: InferenceSession, runtime: HeldUp) -> None:
        self._session, self._runtime = session, runtime
        self.inputs: Mapping[str, TensorSpec] = session.inputs
        self.outputs: Mapping[str, TensorSpec] = session.outputs
        self.device = session.device

    def run(
        self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str]
    ) -> tuple[NDArray[Any], ...]:
        self._runtime.running.set()
        assert self._runtime.gate.wait(30)
        return self._session.run(inputs, outputs)


async def test_a_busy_encoder_is_unloaded_after_its_requests(
    serve: Serve, tiny: TinyModels
) -> None:
    runtimes: list[HeldUp] = []

    def open_runtime(settings: DeviceSettings, threads: Executor) -> Runtime:
        runtimes.append(HeldUp(open_local_runtime(settings, threads)))
        return runtimes[0]

    options = {"open_runtime": open_runtime}
    with (
        serve(encoders=("tiny",), build_options=options, **tiny.settings) as port,
        calling(port) as caller,
        ThreadPoolExecutor(8) as pool,
    ):
        (runtime,) = runtimes
        runtime.gate.clear()
        runtime.running.clear()
        try:
            calls = [pool.submit(caller.encode, red) for red in range(6)]
            assert runtime.running.wait(30)
            unloading = pool.submit(caller.change, "unload")
            await assert_eventually(lambda: caller.get().state == State.STATE_UNLOADED)
            busy = caller.refused("load")
            assert (busy.code, busy.reason) == (Code.ABORTED, "CONCURRENT_CHANGE")
            assert not unloading.done()
        finally:
            runtime.gate.set()
        answers = [call.result() for call in calls if not call.exception()]
        assert unloading.result().state == State.STATE_UNLOADED
        refusals = [call.exception() for call in calls if call.exception()]
        for refusal in refusals:  # those that came after the unload began
            assert isinstance(refusal, grpc.RpcError)
            assert error_from_rpc(refusal).reason == "ENCODER_NOT_READY"
        assert answers
        assert caller.change("load").state == State.STATE_READY


def test_a_hangup_reloads_what_changed_and_loads_what_is_new(tiny: TinyModels) -> None:
    environment = {
        **os.environ,
        "LOOKALIKE_ENCODER__MODELS_DIR": str(tiny.models),
        "LOOKALIKE_ENCODER__MANIFEST_DIRS": f'["{tiny.manifests}"]',
        "LOOKALIKE_ENCODER__SERVER__PORT": "0",
        "LOOKALIKE_ENCODER__SERVER__METRICS_PORT": "0",
        "LOOKALIKE_ENCODER__SERVER__DRAIN_DELAY": "0",
        "LOOKALIKE_ENCODER__TELEMETRY__LOG_FORMAT": "text",
    }
    with subprocess.Popen(
        [sys.executable, "-m", "lookalike_encoder"],
        env=environment,
        stderr=subprocess.STDOUT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        try:
            log = _Log(process.stdout)
            port = log.port()
            log.wait_for("encoders/tiny@1 is ready")
            with calling(port) as caller:
                tiny.write(seed=2)
                tiny.write(seed=3, version="2")
                process.send_signal(signal.SIGHUP)
                log.wait_for("encoders/tiny@1 is ready")
                log.wait_for("encoders/tiny@2 is ready")
                np.testing.assert_allclose(caller.encode(5)[0], vector_of(2, 5), atol=1e-5)
                tiny.model_file().write_bytes(b"damaged")
                process.send_signal(signal.SIGHUP)
                log.wait_for("the old one is kept")
                np.testing.assert_allclose(caller.encode(5)[0], vector_of(2, 5), atol=1e-5)
        finally:
            process.send_signal(signal.SIGTERM)
            process.stdout.read()
        assert process.wait(30) == 0


class _Log:
    """The log of a process, read as far as is needed."""

    def __init__(self, lines: Any) -> None:
        self._lines = lines
        self._read: list[str] = []

    def wait_for(self, text: str) -> str:
        for line in self._lines:
            self._read.append(line)
            if text in line:
                return str(line)
        raise AssertionError(f"no {text!r} in\n{''.join(self._read)}")

    def port(self) -> int:
        return int(self.wait_for("serving on").split("serving on 127.0.0.1:")[1].split()[0])
