"""MatchStructure and the encoders that are code alone, over gRPC."""

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest

from lookalike.encoder.v1 import encoder_pb2, encoder_service_pb2_grpc
from lookalike.encoder.v1 import encoder_service_pb2 as pb
from lookalike.type.v1 import content_pb2, server_info_service_pb2, vector_pb2
from lookalike.type.v1.server_info_service_pb2_grpc import ServerInfoServiceStub
from lookalike_common.status import error_from_rpc, error_from_status

MOLECULE, DNA = "encoders/morgan-2048@1", "encoders/dna-kmer6@1"
SUBSTRUCTURE = pb.STRUCTURE_MATCH_SUBSTRUCTURE
EXACT = pb.STRUCTURE_MATCH_EXACT
Stub = encoder_service_pb2_grpc.EncoderServiceStub
FULLERENE = (
    "c12c3c4c5c1c1c6c7c2c2c8c3c3c9c4c4c%10c5c5c1c1c6c6c%11c7c2c2c7c8c3c3c8c9c4c4c9c%10c5c5c1c1c6c6"
    "c%11c2c2c7c3c3c8c4c4c9c5c1c1c6c2c3c41"
)
ENDLESS = "[#6]~" * 40 + "[#7]"


def match(stub: Stub, *candidates: str, **fields: Any) -> pb.MatchStructureResponse:
    request = pb.MatchStructureRequest(
        encoder=MOLECULE, candidates=candidates, **{"match": SUBSTRUCTURE, **fields}
    )
    response: pb.MatchStructureResponse = stub.MatchStructure(request, timeout=60)
    return response


def content(field: str, value: Any) -> content_pb2.Content:
    made = content_pb2.Content()
    setattr(made, field, value)
    return made


def encode(stub: Stub, encoder: str, *contents: content_pb2.Content) -> pb.EncodeResponse:
    items = [pb.EncodeItem(content=each) for each in contents]
    response: pb.EncodeResponse = stub.Encode(pb.EncodeRequest(encoder=encoder, items=items))
    return response


def bits_of(result: pb.EncodeResult) -> vector_pb2.BinaryVector:
    assert result.WhichOneof("result") == "item", result
    return result.item.vectors[0].binary


def test_molecules_become_bits_and_canonical_smiles(stub: Stub) -> None:
    spellings = ("OCC", "C(O)C", "[CH3][CH2][OH]")
    reply = encode(stub, MOLECULE, *(content_pb2.Content(smiles=each) for each in spellings))
    assert {each.item.canonical for each in reply.results} == {"CCO"}
    (bits,) = {bits_of(each).data for each in reply.results}
    assert {bits_of(each).dimensions for each in reply.results} == {2048}
    assert len(bits) == 256


def test_both_strands_have_one_vector(stub: Stub) -> None:
    gene = "".join(random.Random(4).choices("ACGTN", k=5000))
    other = gene.translate(str.maketrans("ACGT", "TGCA"))[::-1]
    reply = encode(
        stub, DNA, content_pb2.Content(sequence=gene), content_pb2.Content(sequence=f">x\n{other}")
    )
    first, second = (each.item.vectors[0].dense.data for each in reply.results)
    assert first == second
    assert len(first) == 4 * 2080


def test_encoders_say_what_they_can(stub: Stub) -> None:
    found = stub.GetEncoder(pb.GetEncoderRequest(name=MOLECULE))
    assert found.operations == [
        encoder_pb2.Encoder.OPERATION_ENCODE,
        encoder_pb2.Encoder.OPERATION_MATCH_STRUCTURE,
    ]
    assert (found.vector_kind, found.metric) == (
        vector_pb2.VECTOR_KIND_BINARY,
        vector_pb2.METRIC_TANIMOTO,
    )
    assert (found.limits.max_atoms, found.limits.max_candidates) == (1000, 10_000)


def test_the_cap_is_published(port: int) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        info = ServerInfoServiceStub(channel).GetServerInfo(
            server_info_service_pb2.GetServerInfoRequest()
        )
    assert info.limits["max_candidates"] == 10_000


def test_as_many_candidates_as_allowed_are_matched(stub: Stub) -> None:
    candidates = ["C" * (1 + index % 7) + "NO"[index % 2] for index in range(10_000)]
    reply = match(stub, *candidates, smarts="[#6]O")
    assert [each.matched.matches for each in reply.results] == [
        candidate.endswith("O") for candidate in candidates
    ]


def test_a_candidate_fails_alone(stub: Stub) -> None:
    reply = match(stub, "CO", "C(", "CCO", smiles="CO")
    assert [each.matched.matches for each in reply.results] == [True, False, True]
    error = error_from_status(reply.results[1].error)
    assert (error.reason, error.violations[0].field) == ("INVALID_CONTENT", "candidates[1]")


@pytest.mark.parametrize("field", ["smiles", "smarts"])
def test_a_bad_query_fails_the_call(stub: Stub, field: str) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        match(stub, *["C"] * 600, **{field: "C("})
    error = error_from_rpc(refused.value)
    assert (error.reason, error.violations[0].field) == ("INVALID_CONTENT", field)


def test_an_endless_pattern_holds_nobody_up(stub: Stub) -> None:
    """It ends by itself, and meanwhile others are served between its slices."""
    with ThreadPoolExecutor(1) as thread:
        endless = thread.submit(match, stub, *[FULLERENE] * 1100, smarts=ENDLESS)
        reply = match(stub, "CCO", smarts="O")
        assert reply.results[0].matched.atoms == [2]
        results = endless.result().results
    reasons = {error_from_status(each.error).reason for each in results}
    assert reasons == {"LIMIT_EXCEEDED"}
    assert len(results) == 1100


def test_a_caller_that_leaves_ends_the_work(stub: Stub) -> None:
    request = pb.MatchStructureRequest(
        encoder=MOLECULE, candidates=[FULLERENE] * 10_000, match=SUBSTRUCTURE, smarts=ENDLESS
    )
    with pytest.raises(grpc.RpcError) as refused:
        stub.MatchStructure(request, timeout=0.2)
    assert refused.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert match(stub, "CCO", smarts="O").results[0].matched.matches


def test_a_queue_that_is_full_refuses_at_once(serve: Callable[..., Any]) -> None:
    from lookalike_encoder.settings import QueueSettings

    queue = QueueSettings(max_items=150)
    with (
        serve(queue=queue, encoders=("morgan-2048",)) as port,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
        ThreadPoolExecutor(6) as threads,
    ):
        stub = Stub(channel)
        calls = [threads.submit(match, stub, *[FULLERENE] * 100, smarts=ENDLESS) for _ in range(6)]
        failed = [each.exception() for each in calls]
    refused = [each for each in failed if isinstance(each, grpc.RpcError)]
    assert len(refused) < len(calls)
    assert {error_from_rpc(each).reason for each in refused} <= {"OVERLOADED"}


DRUGS = ["CC(=O)Oc1ccccc1C(=O)O", "CN1C=NC2=C1C(=O)N(C(=O)N2C)C", "N[C@@H](C)C(=O)O", FULLERENE]
GENES = ["".join(random.Random(seed).choices("ACGTN", k=300)) for seed in range(4)]
DOCUMENTED = {"INVALID_CONTENT", "LIMIT_EXCEEDED"}


def corrupt(dice: random.Random, text: str, letters: str) -> str:
    """Change some characters, repeat a part, or cut it."""
    characters = list(text)
    for _ in range(dice.randint(1, 6)):
        place = dice.randrange(len(characters) + 1)
        match dice.randrange(4):
            case 0:
                characters.insert(place, dice.choice(letters))
            case 1:
                del characters[place : place + dice.randint(1, 4)]
            case 2:
                part = characters[place : place + dice.randint(1, 20)]
                characters[place:place] = part * dice.randint(1, 60)
            case _:
                characters[place : place + 1] = dice.choices(letters, k=3)
    return "".join(characters) or "."


SYMBOLS = "CNOSPFBIclnos[]()=#@+-/\\%.:123456789*$~!&,;HU \t\n\0\x7féΩ🧪"


@pytest.mark.parametrize(
    ("encoder", "field", "good", "letters"),
    [(MOLECULE, "smiles", DRUGS, SYMBOLS), (DNA, "sequence", GENES, "ACGTUNRY> \n\0-*;1éΩ")],
)
def test_a_thousand_corrupt_contents(
    stub: Stub, encoder: str, field: str, good: list[str], letters: str
) -> None:
    dice = random.Random(encoder)
    expected = [
        each.item.vectors[0].SerializeToString()
        for each in encode(stub, encoder, *(content(field, each) for each in good)).results
    ]
    outcomes = set()
    for _ in range(10):
        bad = [corrupt(dice, dice.choice(good), letters) for _ in range(100)]
        mixed = [each for pair in zip(bad, good * 25, strict=True) for each in pair]
        contents = [content(field, each) for each in mixed]
        results = encode(stub, encoder, *contents).results
        neighbours = [each.item.vectors[0].SerializeToString() for each in results[1::2]]
        assert neighbours == expected * 25
        outcomes |= {
            error_from_status(each.error).reason if each.HasField("error") else "vector"
            for each in results[::2]
        }
    assert outcomes <= {"vector", *DOCUMENTED}
    assert {"vector", "INVALID_CONTENT"} <= outcomes


def test_a_thousand_corrupt_queries(stub: Stub) -> None:
    dice = random.Random(2)
    patterns = [*DRUGS, "[$(C=O)]", "[#6;R]~[!#6]", "[OX2H]", "C(=O)[O;H,-]"]
    reasons = set()
    for _ in range(1000):
        text = corrupt(dice, dice.choice(patterns), SYMBOLS)[:4096]
        how = {"smarts": text} if dice.random() < 0.6 else {"smiles": text}
        try:
            reply = match(stub, *DRUGS, **how)
        except grpc.RpcError as error:
            reasons.add(error_from_rpc(error).reason)
        else:
            assert len(reply.results) == len(DRUGS)
    assert reasons <= DOCUMENTED


@pytest.mark.parametrize("name", ["phash-256@1"])
def test_a_thousand_corrupt_pictures(stub: Stub, name: str) -> None:
    from io import BytesIO

    from PIL import Image

    noise = np.random.default_rng(1).integers(0, 256, (40, 60, 3), np.uint8)
    files = []
    for file_format in ("PNG", "JPEG", "WEBP", "BMP", "GIF"):
        buffer = BytesIO()
        Image.fromarray(noise).save(buffer, file_format)
        files.append(buffer.getvalue())
    dice = random.Random(5)
    good = content_pb2.Content(image=files[0])
    expected = bits_of(encode(stub, f"encoders/{name}", good).results[0]).data
    outcomes = set()
    for _ in range(10):
        contents = [content_pb2.Content(image=damaged(dice, files)) for _ in range(100)]
        results = encode(stub, f"encoders/{name}", *contents, good).results
        assert bits_of(results[-1]).data == expected
        outcomes |= {
            error_from_status(each.error).reason if each.HasField("error") else "vector"
            for each in results
        }
    assert outcomes <= {"vector", "UNSUPPORTED_MEDIA", *DOCUMENTED}
    assert {"vector", "INVALID_CONTENT"} <= outcomes


def damaged(dice: random.Random, files: list[bytes]) -> bytes:
    """Flip, cut, repeat or overwrite bytes of a file, its header among them."""
    content = bytearray(dice.choice(files))
    for _ in range(dice.randint(1, 5)):
        place = dice.randrange(60 if dice.random() < 0.5 else len(content))
        content[place % len(content)] = dice.randrange(256)
    if dice.random() < 0.3:
        del content[dice.randrange(1, len(content)) :]
    return bytes(content)


def test_a_full_queue_refuses_the_first_slice_at_once(serve: Callable[..., Any]) -> None:
    from lookalike_encoder.settings import QueueSettings

    with (
        serve(queue=QueueSettings(max_items=1)) as port,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        stub = Stub(channel)
        molecules = [pb.EncodeItem(content=content("smiles", "C" * 300))] * 1024
        # A stream waits for room, so it gets in, whichever request comes first.
        busy = stub.StreamEncode(iter([pb.EncodeRequest(encoder=MOLECULE, items=molecules)]))
        refused, end = None, time.monotonic() + 30
        while refused is None and busy.is_active() and time.monotonic() < end:
            try:
                match(stub, "CCO", smarts="CO")
            except grpc.RpcError as error:
                refused = error_from_rpc(error)
        assert refused is not None
        assert refused.reason == "OVERLOADED"
        assert refused.retry_after
        assert len(list(busy)) == 1
