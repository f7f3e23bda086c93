"""Generates everything that is derived from the .proto files, into folders git ignores.

Third-party protos are copied from pinned, hash-checked packages into `third_party/`; stubs, their
types and the descriptor image (with source info, so that comments survive) go to `protos/gen/`.
The Open Inference Protocol's go into encoder alone: tritonclient has stubs with the same symbols,
and one process cannot hold both. Nothing is done when the inputs are those of the last run;
`--check` fails instead.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
GENERATED = PROTOS / "gen"
THIRD_PARTY = ROOT / "third_party"
STAMP = GENERATED / ".digest"
INFERENCE = ROOT / "services" / "encoder" / "src" / "lookalike_encoder" / "inference_protocol"

PROTOVALIDATE = "protovalidate==1.2.0"
"""The last source package that carries `buf/validate/validate.proto`."""

PROTOVALIDATE_SHA256 = "4cb9a5065f32abc9baf2cf25c5bd09a139f7dffb7b8692f636a8e3e6883bb9a2"
VALIDATE_PROTO = "upstream/proto/buf/validate/validate.proto"
GOOGLE_PROTOS = (
    "google/api/annotations.proto",
    "google/api/field_behavior.proto",
    "google/api/http.proto",
    "google/api/resource.proto",
    "google/rpc/code.proto",
    "google/rpc/error_details.proto",
    "google/rpc/status.proto",
)


def main() -> None:
    """Generate, or with `--check` only tell whether the generated files are up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail when something is out of date")
    check = parser.parse_args().check
    digest = _digest()
    if STAMP.is_file() and STAMP.read_text() == digest and INFERENCE.is_dir():
        return
    if check:
        sys.exit("generated code is out of date: run `make generate`")
    _fetch_google_protos()
    _fetch_validate_proto()
    _generate()
    _generate_inference()
    STAMP.write_text(digest)


def _digest() -> str:
    """SHA-256 over all inputs: our protos, this script and the generators' versions."""
    total = hashlib.sha256()
    protos = [*_own_protos(), *(PROTOS / "inference").glob("*.proto")]
    for path in [Path(__file__), ROOT / "buf.yaml", *protos]:
        total.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    for package in ("grpcio-tools", "mypy-protobuf", "buf-bin", "googleapis-common-protos"):
        total.update(f"{package}={importlib.metadata.version(package)}\0".encode())
    return total.hexdigest()


def _own_protos() -> list[Path]:
    return sorted((PROTOS / "lookalike").rglob("*.proto"))


def _fetch_google_protos() -> None:
    """Copy the google/api and google/rpc protos out of the installed package."""
    target = THIRD_PARTY / "googleapis"
    shutil.rmtree(target, ignore_errors=True)
    distribution = importlib.metadata.distribution("googleapis-common-protos")
    for name in GOOGLE_PROTOS:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(str(distribution.locate_file(name)), target / name)


def _fetch_validate_proto() -> None:
    """Take validate.proto out of the pinned source package, checked by its hash."""
    target = THIRD_PARTY / "protovalidate" / "buf" / "validate" / "validate.proto"
    if target.is_file():
        return
    with tempfile.TemporaryDirectory() as scratch:
        requirement = Path(scratch, "requirements.txt")
        requirement.write_text(f"{PROTOVALIDATE} --hash=sha256:{PROTOVALIDATE_SHA256}\n")
        _run(
            *(sys.executable, "-m", "pip", "--quiet", "download", "--no-deps"),
            *("--no-build-isolation", "--require-hashes", "--no-binary=:all:"),
            *("--dest", scratch, "--requirement", str(requirement)),
        )
        (archive,) = Path(scratch).glob("*.tar.gz")
        with tarfile.open(archive) as source:
            (member,) = [m for m in source.getmembers() if m.name.endswith(VALIDATE_PROTO)]
            content = source.extractfile(member)
            if content is None:
                sys.exit(f"{VALIDATE_PROTO} in {archive.name} is no regular file")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.read())


def _generate() -> None:
    """Write stubs, their types and the descriptor image."""
    buf = str(Path(sys.executable).parent / "buf")
    shutil.rmtree(GENERATED, ignore_errors=True)
    package = GENERATED / "lookalike"
    package.mkdir(parents=True)
    image = package / "descriptors.binpb"
    _run(buf, "build", "--exclude-path", "protos/inference", "--output", str(image))
    ours = [str(path.relative_to(PROTOS)) for path in _own_protos()]
    plugins = Path(sys.executable).parent
    _run(
        *(sys.executable, "-m", "grpc_tools.protoc", f"--descriptor_set_in={image}"),
        f"--plugin=protoc-gen-mypy={plugins / 'protoc-gen-mypy'}",
        f"--plugin=protoc-gen-mypy_grpc={plugins / 'protoc-gen-mypy_grpc'}",
        *(f"--{kind}={GENERATED}" for kind in ("python_out", "mypy_out")),
        *("buf/validate/validate.proto", *ours),
    )
    _run(
        *(sys.executable, "-m", "grpc_tools.protoc", f"--descriptor_set_in={image}"),
        f"--plugin=protoc-gen-mypy_grpc={plugins / 'protoc-gen-mypy_grpc'}",
        *(f"--{kind}={GENERATED}" for kind in ("grpc_python_out", "mypy_grpc_out")),
        *(name for name in ours if name.endswith("_service.proto")),
    )
    _mark_packages()


def _generate_inference() -> None:
    """Write the stubs and the image of the Open Inference Protocol into encoder's package."""
    buf = str(Path(sys.executable).parent / "buf")
    plugins = Path(sys.executable).parent
    name = "inference/inference_service.proto"
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch, "inference")
        made.mkdir()
        image = made / "descriptors.binpb"
        _run(buf, "build", "--path", f"protos/{name}", "--output", str(image))
        _run(
            *(sys.executable, "-m", "grpc_tools.protoc", f"--descriptor_set_in={image}"),
            f"--plugin=protoc-gen-mypy={plugins / 'protoc-gen-mypy'}",
            f"--plugin=protoc-gen-mypy_grpc={plugins / 'protoc-gen-mypy_grpc'}",
            *(f"--{kind}={scratch}" for kind in ("python_out", "mypy_out")),
            *(f"--{kind}={scratch}" for kind in ("grpc_python_out", "mypy_grpc_out")),
            name,
        )
        # A package of its own named `inference` would be in the way of others.
        for path in [*made.glob("*_grpc.py"), *made.glob("*_grpc.pyi")]:
            text = path.read_text().replace("from inference import", "from . import")
            path.write_text(text)
        (made / "__init__.py").touch()
        shutil.rmtree(INFERENCE, ignore_errors=True)
        shutil.copytree(made, INFERENCE)


def _mark_packages() -> None:
    """Make every generated folder a typed package and put the .proto files beside the stubs."""
    for folder in [path for path in GENERATED.rglob("*") if path.is_dir()]:
        (folder / "__init__.py").touch()
    for top in ("lookalike", "buf"):
        (GENERATED / top / "py.typed").touch()
    for path in _own_protos():
        shutil.copyfile(path, GENERATED / path.relative_to(PROTOS))


def _run(*command: str) -> None:
    """Run one of our own tools, showing what it says only when it fails."""
    result = subprocess.run(  # noqa: S603 - our own tools with our own arguments
        command, cwd=ROOT, check=False, capture_output=True, text=True
    )
    if result.returncode:
        sys.exit(f"{' '.join(command[:4])} …\n{result.stdout}{result.stderr}")


if __name__ == "__main__":
    main()
