"""What the command makes of files: by how they begin, their names, and what the encoder takes."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from lookalike.type.v1 import content_pb2
from lookalike_client._contents import contents_of_file, contents_of_stream

TEXT, MOLECULE = content_pb2.MODALITY_TEXT, content_pb2.MODALITY_MOLECULE
SEQUENCE = content_pb2.MODALITY_SEQUENCE


def picture(kind: str) -> bytes:
    held = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(held, kind)
    return held.getvalue()


def sound(kind: str) -> bytes:
    held = io.BytesIO()
    soundfile.write(held, np.zeros(4000), 8000, format=kind)
    return held.getvalue()


def written(folder: Path, name: str, data: bytes | str) -> Path:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"])
def test_pictures_are_told_by_how_they_begin(tmp_path: Path, kind: str) -> None:
    data = picture(kind)
    assert contents_of_file(written(tmp_path, "x", data)) == [("", content_pb2.Content(image=data))]


@pytest.mark.parametrize("kind", ["WAV", "AIFF", "FLAC", "OGG", "MP3"])
def test_sounds_are_told_by_how_they_begin(tmp_path: Path, kind: str) -> None:
    data = sound(kind)
    assert contents_of_file(written(tmp_path, "x", data)) == [("", content_pb2.Content(audio=data))]


@pytest.mark.parametrize(
    "text", ["BMW builds cars", "FORMs to fill in", "ID3 is a tag", "OggS", "RIFF", "GIF or PNG"]
)
def test_texts_may_begin_like_pictures_and_sounds(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, "note.txt", f" {text}\r\n"[1:])
    assert contents_of_file(path) == [("", content_pb2.Content(text=text))]


def test_what_cannot_be_recognised_is_believed_by_its_name(tmp_path: Path) -> None:
    broken = written(tmp_path, "photo.jpg", b"\0\1\2\3")
    assert contents_of_file(broken)[0][1].image == b"\0\1\2\3"
    foreign = written(tmp_path, "song.aac", b"\0\1\2\3")
    assert contents_of_file(foreign)[0][1].audio == b"\0\1\2\3"
    misnamed = written(tmp_path, "sound.png", sound("WAV"))
    assert contents_of_file(misnamed)[0][1].audio


@pytest.mark.parametrize(("data", "said"), [(b"", "empty"), (b" \n", "empty"), (b"\xff\xfe", "no")])
def test_what_is_nothing_is_refused(tmp_path: Path, data: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        contents_of_file(written(tmp_path, "x.bin", data))


@pytest.mark.parametrize(
    ("name", "takes"), [("drugs.smi", TEXT), ("drugs.SMILES", TEXT), ("x.txt", MOLECULE)]
)
def test_each_line_of_a_smiles_file_is_a_molecule(
    tmp_path: Path, name: str, takes: "content_pb2.Modality.ValueType"
) -> None:
    path = written(tmp_path, name, "CCO ethanol\n\nC[N+](C)C\ttert amine\nCC\n")
    assert [(n, c.smiles) for n, c in contents_of_file(path, [takes])] == [
        ("ethanol", "CCO"),
        ("tert amine", "C[N+](C)C"),
        ("CC", "CC"),
    ]


@pytest.mark.parametrize(("name", "takes"), [("genes.FASTA", TEXT), ("genes.txt", SEQUENCE)])
def test_each_record_of_a_fasta_file_is_a_sequence(
    tmp_path: Path, name: str, takes: "content_pb2.Modality.ValueType"
) -> None:
    path = written(tmp_path, name, ">a first gene\r\nACGT\r\nAC\r\n>b\r\nGGTT\r\n")
    found = [(n, c.sequence.split()) for n, c in contents_of_file(path, [takes])]
    assert found == [("a", ["ACGT", "AC"]), ("b", ["GGTT"])]


def test_letters_without_a_header_are_one_sequence(tmp_path: Path) -> None:
    path = written(tmp_path, "x.fna", "ACGT\nACGT\n")
    assert contents_of_file(path) == [("", content_pb2.Content(sequence="ACGT\nACGT"))]


def test_a_file_of_text_is_one_and_a_pipe_of_text_one_a_line(tmp_path: Path) -> None:
    text = "\ufeffone\r\n\r\n two\n"
    (whole,) = contents_of_file(written(tmp_path, "x.txt", text), [TEXT])
    assert whole[1].text == "one\r\n\r\n two"
    lines = contents_of_stream(text.encode(), [TEXT])
    assert [(name, content.text) for name, content in lines] == [("one", "one"), ("two", "two")]
