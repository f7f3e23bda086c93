"""Makes the golden vectors of the encoders that are code alone: molecules, DNA.

Nothing of Lookalike is imported, and what it does is done in another way: molecules by RDKit's
older function and its list of set bits, k-mers by counting strings, picture hashes by summing
cosines one by one. Run it in any environment with `rdkit`, `pillow` and `numpy`, only when a recipe
changes:

    python tests/data/golden/make_code_golden.py

It writes `golden.json` beside the manifests, and the pictures that are hashed.
"""

from __future__ import annotations

import base64
import json
import math
import random
from collections import Counter
from pathlib import Path

import numpy as np
from rdkit import Chem, RDLogger
from rdkit.Chem import rdMolDescriptors

MODELS = Path(__file__).parents[3] / "services/encoder/src/lookalike_encoder/models"
K = 6
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


def write(name: str, cases: list[dict[str, str]]) -> None:
    """Write the cases of one encoder."""
    source = "tests/data/golden/make_code_golden.py"
    text = json.dumps({"made_by": source, "cases": cases}, indent=1, ensure_ascii=False)
    (MODELS / name / "golden.json").write_text(text + "\n", encoding="utf-8")
    print(name, len(cases))  # noqa: T201 - a tool talks to whoever runs it


if __name__ == "__main__":
    main()
