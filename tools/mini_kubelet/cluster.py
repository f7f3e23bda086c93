"""The pods of one rendered overlay, running."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tools.manifest_lint.manifests import Container, Manifests, Workload, contains
from tools.mini_kubelet import probes
from tools.mini_kubelet.honoured import POD, unhonoured
from tools.mini_kubelet.podman import identity_arguments, in_bytes, mount_arguments, podman


@dataclass(frozen=True)
class Pod:
    """A running pod."""

    name: str
    workload: Workload
    address: str
    container: Container
    """The one container that goes on."""
    container_name: str
    """What podman calls it."""


class Cluster:
    """Starts, probes and stops pods; all but the volumes in `folder` ends with the context."""

    def __init__(self, manifests: Manifests, *, name: str, folder: Path) -> None:
        ignored = [
            path
            for workload in manifests.workloads
            for path in unhonoured(workload.pod, POD, workload.where)
        ]
        if ignored:
            raise ValueError(f"the mini kubelet would ignore {', '.join(ignored)}")
        self.pods: dict[str, Pod] = {}
        self._manifests = manifests
        self.name = name
        self._folder = folder

    def __enter__(self) -> Self:
        podman("network", "create", self.name)
        return self

    def __exit__(self, *_raised: object) -> None:
        podman("network", "rm", "--force", "--time", "0", self.name)  # with its containers

    def start(self) -> None:
        """Start all replicas of all workloads at once, then wait until every pod is ready."""
        for workload in self._manifests.workloads:
            for index in range(workload.spec.get("replicas", 1)):
                self.start_pod(workload.name, index)
        for pod in self.pods.values():
            self.wait_ready(pod)

    def start_pod(self, workload_name: str, index: int) -> Pod:
        """Run a pod's init containers to their end, then start its container."""
        (workload,) = [each for each in self._manifests.workloads if each.name == workload_name]
        name = f"{workload.name}-{index}"
        folders = {volume: self._make_volume(workload, name, volume) for volume in workload.volumes}
        *first, container = workload.containers
        for init in first:
            self._run(init, name, folders, "--rm")
        container_name = self._run(container, name, folders, "--detach")
        details = json.loads(podman("inspect", container_name))[0]
        address = details["NetworkSettings"]["Networks"][self.name]["IPAddress"]
        pod = self.pods[name] = Pod(name, workload, address, container, container_name)
        return pod

    def wait_ready(self, pod: Pod) -> None:
        """Wait as long as the probes allow; TimeoutError with the pod's log when that ends."""
        for kind in ("startupProbe", "readinessProbe"):
            probe = pod.container.spec[kind]
            patience = probe.get("failureThreshold", 3) * probe.get("periodSeconds", 10)
            deadline = time.monotonic() + patience
            while not self.probe(pod, kind):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{kind} of {pod.name}:\n{self.log(pod)}")
                time.sleep(0.3)

    def probe(self, pod: Pod, kind: str) -> bool:
        """Run one of a pod's probes once."""
        return probes.succeeds(pod.container.spec[kind], pod.container, pod.address)

    def stop(self, pod: Pod) -> int:
        """End a pod gracefully and return its exit code; 137 means that it had to be killed."""
        hook = pod.container.spec.get("lifecycle", {}).get("preStop", {})
        seconds = hook.get("sleep", {}).get("seconds", 0)
        time.sleep(seconds)
        grace = pod.workload.pod["terminationGracePeriodSeconds"] - seconds
        podman("stop", "--time", str(grace), pod.container_name)
        code = podman("inspect", "--format", "{{.State.ExitCode}}", pod.container_name)
        self._remove(pod)
        return int(code)

    def kill(self, pod: Pod) -> None:
        """End a pod as a crash would."""
        podman("kill", "--signal", "KILL", pod.container_name)
        self._remove(pod)

    def log(self, pod: Pod) -> str:
        """Return what a pod has written, both streams."""
        return podman("logs", pod.container_name)

    def _remove(self, pod: Pod) -> None:
        """Take away a pod and its emptyDirs, which must not have grown over their limits."""
        podman("rm", "--force", pod.container_name)
        del self.pods[pod.name]
        for name, volume in pod.workload.volumes.items():
            if "emptyDir" in volume:
                folder = self._folder / pod.name / name
                size = sum(path.lstat().st_size for path in folder.rglob("*"))
                if size > in_bytes(volume["emptyDir"]["sizeLimit"]):
                    raise RuntimeError(f"{pod.name} would be evicted: {size} bytes in {name}")
                shutil.rmtree(folder)

    def _run(self, container: Container, pod: str, folders: dict[str, Path], mode: str) -> str:
        """Run a container to its end (`--rm`) or let it go on (`--detach`); return its name."""
        name = f"{self.name}-{pod}-{container.spec['name']}"
        environment = self._manifests.environment(container)
        podman(
            *("run", mode, "--name", name, "--hostname", pod, "--pull", "never"),
            *("--network", self.name, *self._aliases(container.workload)),
            *identity_arguments(container),
            *mount_arguments(container, folders),
            *(part for key, value in environment.items() for part in ("--env", f"{key}={value}")),
            *(container.spec["image"], *container.spec.get("args", [])),
        )
        return name

    def _aliases(self, workload: Workload) -> Iterator[str]:
        """Several containers with one alias are, to a resolver, one headless Service."""
        for service in self._manifests.of_kind("Service"):
            if contains(workload.labels, service["spec"]["selector"]):
                yield from ("--network-alias", service["metadata"]["name"])

    def _make_volume(self, workload: Workload, pod: str, volume: str) -> Path:
        """Make the folder of a volume; that of a claim is found again by the same pod."""
        folder = self._folder / pod / volume
        folder.mkdir(parents=True, exist_ok=True)
        group = workload.pod["securityContext"].get("fsGroup")
        if group is not None:
            os.chown(folder, -1, group)
        folder.chmod(0o777 if group is None else 0o2775)
        return folder
