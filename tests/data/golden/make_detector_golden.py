"""Makes the golden objects of `nanodet`: TensorFlow.js's own graph, run node by node by torch.

    /tmp/golden/bin/python tests/data/golden/make_detector_golden.py TARBALL

TARBALL is the package of the manifest. Nothing of Lookalike is imported; `golden.json` and the
picture that is drawn here are written beside the manifest.
"""

from __future__ import annotations

import base64
import json
import math
import sys
import tarfile
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import yaml
from make_golden import MODELS, encode, write
from PIL import Image, ImageDraw
from torch.nn import functional

SIDE, GREY = 416, (114, 114, 114)
WIDTH, HEIGHT = 416, 260


def main() -> None:
    """Draw a picture, find its objects."""
    with tarfile.open(sys.argv[1]) as archive:
        files = [
            archive.extractfile(f"package/models/nanodet.{kind}").read() for kind in ("json", "bin")
        ]
    target = MODELS / "nanodet"
    rules = yaml.safe_load((target / "manifest.yaml").read_text())["detection"]
    content = encode(draw(), "PNG")
    (target / "golden").mkdir(exist_ok=True)
    (target / "golden" / "signs.png").write_bytes(content)
    guesses = run(json.loads(files[0]), files[1], frame())
    case = {"name": "signs", "image": "golden/signs.png", "objects": find(guesses, rules)}
    write(target / "golden.json", [case], "tests/data/golden/make_detector_golden.py")


def draw() -> Image.Image:
    """Draw a stop sign and a clock, as wide as the model's frame: nothing is scaled."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    sky = [120 + rows * 60 // HEIGHT, 160 + rows * 50 // HEIGHT, 230 - rows // 5 + columns * 0]
    image = Image.fromarray(np.stack(np.broadcast_arrays(*sky), -1).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, 208, WIDTH, HEIGHT), fill=(90, 120, 60))
    pen.rectangle((96, 98, 101, 221), fill=(120, 120, 120))
    for radius, colour in ((49, (250, 250, 250)), (45, (200, 20, 30))):
        pen.regular_polygon((98, 78, radius), 8, rotation=22.5, fill=colour)
    pen.text((98, 78), "STOP", fill="white", anchor="mm", font_size=32)
    pen.ellipse((260, 39, 364, 143), fill=(30, 30, 30))
    pen.ellipse((265, 44, 359, 138), fill=(250, 250, 245))
    for hour in range(1, 13):
        angle = math.radians(30 * hour)
        at = (312 + 38 * math.sin(angle), 91 - 38 * math.cos(angle))
        pen.text(at, str(hour), fill="black", anchor="mm", font_size=10)
    pen.line((312, 91, 312, 58), fill="black", width=3)
    pen.line((312, 91, 338, 97), fill="black", width=4)
    return image


def frame() -> torch.Tensor:
    """Put the picture in the middle of a grey square; blue first, normalised."""
    square = Image.new("RGB", (SIDE, SIDE), GREY)
    square.paste(draw(), ((SIDE - WIDTH) // 2, (SIDE - HEIGHT) // 2))
    pixels = torch.from_numpy(np.array(square)).flip(-1).float()
    mean = torch.tensor([103.53, 116.28, 123.675])
    return ((pixels - mean) / torch.tensor([57.375, 57.12, 58.395])).permute(2, 0, 1)[None]


def run(graph: dict[str, Any], weights: bytes, pixels: torch.Tensor) -> list[torch.Tensor]:
    """Return the six outputs of the graph."""
    nodes = {node["name"]: node for node in graph["modelTopology"]["node"]}
    made = read_weights(graph, weights)
    made["input_1"] = pixels

    def value(name: str) -> torch.Tensor:
        name = name.removesuffix(":0")
        if name not in made:
            node = nodes[name.partition(":")[0]]
            result = apply(node, [value(each) for each in node.get("input", [])])
            for place, each in enumerate(result if isinstance(result, tuple) else (result,)):
                made[node["name"] + (f":{place}" if place else "")] = each
        return made[name]

    sys.setrecursionlimit(10_000)
    return [value("Identity" + (f"_{number}" if number else "")) for number in range(6)]


def read_weights(graph: dict[str, Any], data: bytes) -> dict[str, torch.Tensor]:
    """Read the arrays one after the other."""
    offset, made = 0, {}
    for entry in (each for group in graph["weightsManifest"] for each in group["weights"]):
        kind = np.dtype(entry.get("quantization", {}).get("dtype", entry["dtype"]))
        array = np.frombuffer(data, kind, math.prod(entry["shape"]), offset)
        offset += array.nbytes
        made[entry["name"]] = torch.from_numpy(array.astype(entry["dtype"])).reshape(entry["shape"])
    return made


def apply(node: dict[str, Any], x: list[torch.Tensor]) -> Any:  # one tensor or several
    """Do what one node says, channels last."""
    kind, attributes = node["op"], node.get("attr", {})
    if kind == "LeakyRelu":
        return functional.leaky_relu(x[0], attributes["alpha"]["f"])
    if kind in PLAIN:
        return PLAIN[kind](*x)
    return apply_first(kind, attributes, x[0].permute(0, 3, 1, 2), x[1:])


def dense(
    places: torch.Tensor, shape: torch.Tensor, values: torch.Tensor, elsewhere: torch.Tensor
) -> torch.Tensor:
    """Make a tensor of a few values."""
    made = torch.full(shape.tolist(), int(elsewhere.reshape(-1)[0]) if elsewhere.numel() else 0)
    if places.numel():
        made[tuple(places.reshape(-1, made.ndim).T.long())] = values.long()
    return made


def pad(x: torch.Tensor, ends: torch.Tensor, fill: torch.Tensor | float = 0.0) -> torch.Tensor:
    """Add to both ends of each dimension."""
    flat = [int(end) for pair in reversed(ends.tolist()) for end in pair]
    return functional.pad(x, flat, value=float(fill))


PLAIN: dict[str, Callable[..., Any]] = {
    "Add": torch.add,
    "AddV2": torch.add,
    "ConcatV2": lambda *x: torch.cat(x[:-1], dim=int(x[-1])),
    "Identity": lambda x: x,
    "Pad": pad,
    "PadV2": pad,
    "Reshape": lambda x, shape: x.reshape(shape.tolist()),
    "Sigmoid": torch.sigmoid,
    "SparseToDense": dense,
    "SplitV": lambda x, sizes, axis: torch.split(x, sizes.tolist(), dim=int(axis)),
    "Transpose": lambda x, order: x.permute(order.tolist()),
}


def apply_first(
    kind: str, attributes: dict[str, Any], x: torch.Tensor, further: list[torch.Tensor]
) -> torch.Tensor:
    """Do what torch does with channels first."""
    if kind == "ResizeBilinear":
        made = functional.interpolate(x, further[0].tolist(), mode="bilinear", align_corners=False)
    else:
        if base64.b64decode(attributes["padding"]["s"]) != b"VALID":
            raise SystemExit("padding of this kind is not known")
        strides = [int(each) for each in attributes["strides"]["list"]["i"][1:3]]
        if kind == "MaxPool":
            sides = [int(each) for each in attributes["ksize"]["list"]["i"][1:3]]
            made = functional.max_pool2d(x, sides, strides)
        elif kind == "Conv2D":
            made = functional.conv2d(x, further[0].permute(3, 2, 0, 1), stride=strides)
        else:
            raise SystemExit(f"{kind} is not known")
    return made.permute(0, 2, 3, 1)


def find(guesses: list[torch.Tensor], rules: dict[str, Any]) -> list[list[Any]]:
    """Decode boxes, suppress neighbours, and move what is left to the picture."""
    scores = torch.cat(guesses[:3], dim=1)[0]
    boxes = []
    for sides, stride in zip(guesses[3:], (8, 16, 32), strict=True):
        cells = SIDE // stride
        far = torch.softmax(sides[0].reshape(-1, 4, 11), -1) @ torch.arange(11.0) * stride
        y, x = torch.meshgrid(*[(torch.arange(cells) + 0.5) * stride] * 2, indexing="ij")
        middle = torch.stack([x.reshape(-1), y.reshape(-1)], dim=1)
        boxes.append(torch.cat([middle - far[:, :2], middle + far[:, 2:]], dim=1))
    places, labels = torch.nonzero(scores >= rules["floor"], as_tuple=True)
    offset = torch.tensor([(SIDE - WIDTH) // 2, (SIDE - HEIGHT) // 2] * 2)
    found = torch.cat(boxes)[places] - offset
    found = found.clamp(min=0).minimum(torch.tensor([WIDTH, HEIGHT] * 2))
    sure = scores[places, labels]
    kept: list[int] = []
    for k in torch.argsort(-sure).tolist():
        rivals = [each for each in kept if labels[each] == labels[k]]
        if all(overlap(found[k], found[each]) <= rules["max_overlap"] for each in rivals):
            kept.append(k)
    return [
        [
            *(round(side, 2) for side in found[k].tolist()),
            round(float(sure[k]), 4),
            rules["labels"][labels[k]],
        ]
        for k in kept
        if sure[k] >= rules["min_score"]
    ]


def overlap(a: torch.Tensor, b: torch.Tensor) -> float:
    """Return intersection over union."""
    shared = (torch.minimum(a[2:], b[2:]) - torch.maximum(a[:2], b[:2])).clamp(min=0).prod()
    return float(shared / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - shared))


if __name__ == "__main__":
    main()
