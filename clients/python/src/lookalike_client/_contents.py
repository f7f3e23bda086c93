"""Contents out of what people have at hand: files by their kind, texts, SMILES, sequences."""

from pathlib import Path

from lookalike.type.v1 import content_pb2

_IMAGES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*")
_SOUNDS = (b"fLaC", b"OggS", b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2", b"FORM")
_SEQUENCES = frozenset({".fa", ".fasta", ".fna", ".ffn"})
_MOLECULES = frozenset({".smi", ".smiles"})


def content_of_file(path: Path) -> content_pb2.Content:
    """The content of a file: pictures and sounds as they are, else FASTA, SMILES or text.

    Raises ValueError when it is none of these.
    """
    data = path.read_bytes()
    if not data:
        raise ValueError(f"{path} is empty")
    if _is_image(data):
        return content_pb2.Content(image=data)
    if data.startswith(_SOUNDS) or (data[:4] == b"RIFF" and data[8:12] == b"WAVE"):
        return content_pb2.Content(audio=data)
    try:
        text = data.decode().strip()
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no picture, no sound and no text in UTF-8") from None
    if path.suffix.lower() in _SEQUENCES:
        return content_pb2.Content(sequence=text)
    if path.suffix.lower() in _MOLECULES:
        return content_pb2.Content(smiles=text.split()[0] if text else "")
    return content_pb2.Content(text=text)


def _is_image(data: bytes) -> bool:
    webp = data[:4] == b"RIFF" and data[8:12] == b"WEBP"
    avif = data[4:8] == b"ftyp" and data[8:12] in {b"avif", b"avis"}
    return data.startswith(_IMAGES) or webp or avif
