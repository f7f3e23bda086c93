"""Makes the golden vectors of the encoders that are code alone: molecules, DNA, picture hashes.

Nothing of Lookalike is imported, and what it does is done in another way: molecules by RDKit's
older function and its list of set bits, k-mers by counting strings, picture hashes by summing
cosines one by one. Run it in any environment with `rdkit`, `pillow` and `numpy`, only when a recipe
changes:

    python tests/data/golden/make_code_golden.py

It writes `golden.json` beside the manifests, and the pictures that are hashed.
"""

from __future__ import annotations

import base64
import io
import json
import math
import random
from collections import Counter
from operator import mul
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageOps
from rdkit import Chem, RDLogger
from rdkit.Chem import rdMolDescriptors

MODELS = Path(__file__).parents[3] / "services/encoder/src/lookalike_encoder/models"
K = 6
SIDE, WAVES = 64, 16
MARGIN = 1.5
"""How far every wave must be from the median: decoders round differently."""
COMPLEMENT = {"A": "T", "C": "G", "G": "C", "T": "A"}

MOLECULES = {
    "aspirin": "CC(=O)Oc1ccccc1C(=O)O",
    "caffeine": "CN1C=NC2=C1C(=O)N(C(=O)N2C)C",
    "penicillin": "CC1(C)S[C@@H]2[C@H](NC(=O)Cc3ccccc3)C(=O)N2[C@H]1C(=O)O",
    "salt": "CCN(CC)CC.Cl",
    "charged": "C[N+](C)(C)CCO.[Cl-]",
    "isotope and explicit hydrogen": "[2H]C([H])([H])[13CH2]O",
    "metal": "[Na+].[Na+].[O-]S(=O)(=O)[O-]",
    "cage": "C1C2CC3CC1CC(C2)C3",
    "one atom": "[He]",
}


def main() -> None:
    """Write the golden vectors of all three."""
    RDLogger.DisableLog("rdApp.*")
    write(
        "morgan-2048",
        [
            {"name": name, "smiles": smiles, "vector": base64.b64encode(print_of(smiles)).decode()}
            for name, smiles in MOLECULES.items()
        ],
    )
    write(
        "dna-kmer6",
        [
            {"name": name, "sequence": sequence, "vector": frequencies(letters)}
            for name, (sequence, letters) in sequences().items()
        ],
    )
    write_pictures()


def print_of(smiles: str) -> bytes:
    """Return 2048 bits, lowest first, from the numbers of the bits that are set."""
    molecule = Chem.MolFromSmiles(smiles)
    number = 0
    for bit in rdMolDescriptors.GetMorganFingerprintAsBitVect(molecule, 2, nBits=2048).GetOnBits():
        number |= 1 << bit
    return number.to_bytes(2048 // 8, "little")


def sequences() -> dict[str, tuple[str, str]]:
    """Return what is sent, and the plain letters that it stands for."""
    dice = random.Random(6)
    gene = "".join(dice.choices("ACGT", weights=(3, 2, 2, 3), k=900))
    holes = "".join(dice.choices("ACGTN", weights=(5, 5, 5, 5, 1), k=400))
    lines = "\n".join(gene[start : start + 60] for start in range(0, len(gene), 60))
    return {
        "plain": (gene, gene),
        "record": (f">gene 1, chromosome 4\n{lines}\n", gene),
        "other strand": (mirror(gene), gene),
        "RNA in small letters": (gene.replace("T", "U").lower(), gene),
        "unknown bases": (holes, holes),
        "palindromes": ("GAATTC" * 5 + "NRYSWKMBDHV" + "AAAAAA", "GAATTC" * 5 + "N" + "AAAAAA"),
        "shortest": ("ACGTTA", "ACGTTA"),
    }


def mirror(letters: str) -> str:
    """Return the reverse complement."""
    return "".join(COMPLEMENT[each] for each in reversed(letters))


def frequencies(letters: str) -> str:
    """Count each 6 letters under the earlier of them and their reverse complement."""
    words = sorted(
        {
            min(word, mirror(word))
            for number in range(4**K)
            for word in ["".join("ACGT"[number // 4**place % 4] for place in range(K))]
        }
    )
    counts: Counter[str] = Counter()
    for start in range(len(letters) - K + 1):
        word = letters[start : start + K]
        if "N" not in word:
            counts[min(word, mirror(word))] += 1
    length = math.sqrt(sum(count * count for count in counts.values()))
    vector = np.array([counts[word] / length for word in words], "<f4")
    return base64.b64encode(vector.tobytes()).decode()


def write_pictures() -> None:
    """Draw a picture for each way to decode one, and hash it."""
    folder = MODELS / "phash-256" / "golden"
    folder.mkdir(exist_ok=True)
    turned = Image.Exif()
    turned[0x0112] = 6
    cases = []
    for name, size, mode, options in (
        ("plain.png", (160, 96), "RGB", {}),
        ("alpha.png", (90, 130), "RGBA", {}),
        ("grey.png", (128, 128), "L", {}),
        ("turned.jpg", (200, 140), "RGB", {"quality": 92, "exif": turned}),
    ):
        for seed in range(1000):
            content = encode(draw(seed, size).convert(mode), seed, options, name)
            bits, margin = hash_of(content)
            if margin > MARGIN:
                break
        else:
            raise SystemExit(f"no picture is clear enough for {name}")
        (folder / name).write_bytes(content)
        vector = base64.b64encode(bits).decode()
        cases.append({"name": name, "image": f"golden/{name}", "vector": vector})
    write("phash-256", cases)


def draw(seed: int, size: tuple[int, int]) -> Image.Image:
    """Draw soft blobs of every size."""
    dice = np.random.default_rng(seed)
    image = Image.fromarray(dice.integers(0, 256, (5, 5, 3), np.uint8)).resize(size)
    fine = Image.fromarray(dice.integers(0, 256, (18, 18, 3), np.uint8))
    return Image.blend(image, fine.resize(size, Image.Resampling.BICUBIC), 0.8)


def encode(image: Image.Image, seed: int, options: dict[str, Any], name: str) -> bytes:
    """Encode a picture, with a hole where it can be transparent."""
    if image.mode == "RGBA":
        left = seed % 40
        ImageDraw.Draw(image).ellipse((left, 20, left + 40, 80), fill=(0, 0, 0, 90))
    buffer = io.BytesIO()
    image.save(buffer, "PNG" if name.endswith("png") else "JPEG", **options)
    return buffer.getvalue()


def hash_of(content: bytes) -> tuple[bytes, float]:
    """Return 256 bits, lowest first, and how close the closest wave is to the median."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGBA")
    image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    planes = average(average(np.asarray(image, float), SIDE).swapaxes(0, 1), SIDE).swapaxes(0, 1)
    grey = [
        [0.299 * red + 0.587 * green + 0.114 * blue for red, green, blue in row]
        for row in np.rint(planes).tolist()
    ]
    table = [
        [math.cos(math.pi * wave * (2 * place + 1) / (2 * SIDE)) for place in range(SIDE)]
        for wave in range(1, WAVES + 1)
    ]
    across = [[sum(map(mul, row, wave)) for wave in table] for row in grey]
    down = [
        sum(table[wave][row] * across[row][column] for row in range(SIDE)) * 2 / SIDE
        for wave in range(WAVES)
        for column in range(WAVES)
    ]
    middle = median(down)
    number = sum(1 << place for place, strength in enumerate(down) if strength > middle)
    margin = min(abs(strength - middle) for strength in down)
    return number.to_bytes(WAVES**2 // 8, "little"), margin


def average(values: np.ndarray, length: int) -> np.ndarray:
    """Average along the first axis into `length` equal stretches, whose edges may cut places."""
    made = np.zeros((length, *values.shape[1:]))
    step = len(values) / length
    for place in range(length):
        start, end = place * step, (place + 1) * step
        for source in range(int(start), min(math.ceil(end), len(values))):
            share = min(end, source + 1) - max(start, source)
            made[place] += values[source] * share / step
    return made


def write(name: str, cases: list[dict[str, str]]) -> None:
    """Write the cases of one encoder."""
    source = "tests/data/golden/make_code_golden.py"
    text = json.dumps({"made_by": source, "cases": cases}, indent=1, ensure_ascii=False)
    (MODELS / name / "golden.json").write_text(text + "\n", encoding="utf-8")
    print(name, len(cases))  # noqa: T201 - a tool talks to whoever runs it


if __name__ == "__main__":
    main()
