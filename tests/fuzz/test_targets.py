"""Seeds, what fuzzing found, and some mutations of both, through every target of the fuzzer."""

import random
from pathlib import Path

import pytest

from tests.fuzz.targets import BETWEEN, TARGETS, seeds
from tests.io.files import HEADER, SITES, record, sites

# Each was a traceback or a wrong answer once.
FOUND = {
    "vcf": {
        "an undeclared FILTER that is not UTF-8": SITES + b"\nchr1\t1\t.\tA\tC\t.\t\xc2\t.\n",
        "an undeclared INFO that is not UTF-8": SITES + b"\nchr1\t1\t.\tA\tC\t.\t.\t\x83=1\n",
        "a carriage return before FORMAT": (
            SITES + b"\tFORMAT\tS1\nchr1\t1\t.\tA\tC\t.\t.\tDB\r\tGT\t0/1\n"
        ),
        "a hole of NUL bytes": sites(record(10), bytes(40), record(11)),
        "NUL bytes in the header": sites(record(), header=HEADER + b"##a=" + bytes(9) + b"\n"),
    },
    "reference": {
        "letters that are not text": b"z>chr1 words\nACGTNN\xff\xff\xff\xffacgt\nRYKM\n",
        "a slice within a contig that is there": b"z>chr1 a\nACGTNNacgt\nRYKM\n>chr1:1-4\nGGGG\n",
        "NUL bytes between bases": b"z>chr1 wo\nR\x00\x00\x00N8-14\nACGT\n",
        "NUL bytes in a name": b"z>\x00\x00\x00-\n ",
        "a form feed before a name": b"z>\x0c-\n ",
        "blanks before a name": b"z> ?-\nACGT\n",
        "a name that occurs twice, once without bases": b"z> \x00gt*RYKM\n>ch->YKM\n>\nr",
        "an index of records without bases": b"->cG\n" + BETWEEN[1:] + b"%hr2RYKM4\t0\t04\t4\t5\n",
        "a block of no bytes": b"r" + bytes.fromhex("1f8b08040000000000ff060042430200") + bytes(40),
        "lines of very many bytes": b"->a\nACGT\n" + BETWEEN + b"a\t4\t3\t1\t" + b"9" * 18,
        "a slice that begins at 0": b"->chr1:0-3\nACGT\n",
        "a slice of very many digits": b"->chr1:1-" + b"9" * 5000 + b"\nACGT\n",
    },
    "labels": {
        "a date that is not text": b"c##fileDate=2026-\xff\n" + sites(record(10)),
        "one column with and without #": b"t#chrom\tchrom\tpos\tref\talt\tlabel\n",
    },
    "checkpoint": {
        "no heads": b"num_attention_heads=0",
        "a number of 5,000 digits": b"hidden_size=" + b"9" * 5000,
        "depth": b"{" + b'"a":[' * 100_000,
        "text for a number": b'num_hidden_layers="2"',
        "a billion layers": b"num_hidden_layers=1000000000",
        "a tensor of no dimensions": BETWEEN
        + b"esm.encoder.layer.0.intermediate.dense.weight="
        + b'{"dtype": "F32", "shape": [], "data_offsets": [0, 4]}',
    },
}
CASES = [
    pytest.param(target, data, id=f"{target}-{name}")
    for target in TARGETS
    for name, data in {
        **{f"seed {number}": seed for number, seed in enumerate(seeds(target))},
        **FOUND.get(target, {}),
    }.items()
]


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NTVEP_HOME", str(tmp_path / "home"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    work = tmp_path / "work"
    work.mkdir()
    return work


@pytest.mark.parametrize(("target", "data"), CASES)
def test_a_case_ends_well(folder: Path, target: str, data: bytes) -> None:
    TARGETS[target](data, folder)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.slow
def test_mutations_end_well(folder: Path, target: str) -> None:
    chance = random.Random(7)
    known = [*seeds(target), *FOUND.get(target, {}).values()]
    for _ in range(150):
        TARGETS[target](_mutated(chance.choice(known), chance.choice(known), chance), folder)


def _mutated(data: bytes, other: bytes, chance: random.Random) -> bytes:
    spoiled = bytearray(data[:4096])
    for _ in range(chance.randint(1, 4)):
        place, length = chance.randint(0, len(spoiled)), chance.randint(0, 8)
        begin = chance.randint(0, len(other))
        odd = chance.choice([b"", b"\0", b"\xff", b"\t", b"\n", b"9" * 12, b"-1", b'"', b","])
        spoiled[place : place + length] = chance.choice([odd, other[begin : begin + length]])
    return bytes(spoiled)
