"""FASTA: aliases, slices, blocks, indexes; against pyfaidx, which reads without htslib."""

import hashlib
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyfaidx
import pysam
import pytest

from ntvep import dna
from ntvep.errors import InputError
from ntvep.genome import canonical
from ntvep.io import fasta
from ntvep.io.fasta import open_reference
from ntvep.windows import Span


@pytest.fixture
def genome(tmp_path, monkeypatch):
    """Two contigs, soft-masked, with IUPAC codes; longer than a few blocks of 1,000 bases."""
    monkeypatch.setenv("NTVEP_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(fasta, "_BLOCK", 1000)
    rng = np.random.default_rng(2)
    path = tmp_path / "genome.fa"
    with path.open("w") as handle:
        for name, length in (("chr1", 3500), ("chrM", 777), ("chr2:101-400", 300)):
            text = "".join(rng.choice(list("ACGTacgtNRy"), length))
            lines = "\n".join(text[i : i + 60] for i in range(0, length, 60))
            handle.write(f">{name} some words\n{lines}\n")
    return path


def test_threads_get_their_own_bases(tmp_path, monkeypatch):
    """One thread prepares while another compares and writes: both read the reference."""
    monkeypatch.setenv("NTVEP_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(fasta, "_BLOCK", 5_000)
    bases = np.random.default_rng(3).choice(list(b"ACGT"), 2_000_000).astype(np.uint8).tobytes()
    lines = [bases[at : at + 50] for at in range(0, len(bases), 50)]
    (tmp_path / "long.fa").write_bytes(b">chr1\n" + b"\n".join(lines) + b"\n")
    genome = open_reference(tmp_path / "long.fa")

    def work(seed):
        starts = np.random.default_rng(seed).integers(0, len(bases) - 9_000, 2_000)
        return sum(
            dna.decode(genome.fetch("chr1", at, at + 9_000)).encode() != bases[at : at + 9_000]
            for at in starts.tolist()
        )

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(work, range(4))) == 0


def test_bases_equal_pyfaidx(genome):
    ours = open_reference(genome)
    with pyfaidx.Fasta(str(genome)) as theirs:
        for start, stop in ((0, 3500), (999, 1001), (1000, 2000), (3499, 3500), (500, 2501)):
            expected = dna.encode(str(theirs["chr1"][start:stop]))
            np.testing.assert_array_equal(ours.fetch("chr1", start, stop), expected)
        whole = str(theirs["chrM"][:]).upper().encode()
    assert ours.md5(["MT"]) == {"chrM": hashlib.md5(whole, usedforsecurity=False).hexdigest()}


def test_contigs_by_alias_and_slices(genome):
    ours = open_reference(genome)
    assert ours.spans("1") == ours.spans("NC_000001.11") == (Span(0, 3500),)
    assert ours.spans("MT") == ours.spans("M") == ours.spans("NC_012920.1") == (Span(0, 777),)
    assert ours.spans("2") == (Span(100, 400),)
    assert ours.spans("chr3") == ()
    assert ours.aliases["2"] == "chr2"
    with pyfaidx.Fasta(str(genome)) as theirs:
        expected = dna.encode(str(theirs["chr2:101-400"][50:60]))
    np.testing.assert_array_equal(ours.fetch("chr2", 150, 160), expected)
    assert ours.lengths(["1", "2", "chr3"]) == {"1": 3500}


def test_several_slices_of_one_contig(genome):
    genome.write_text(">chr2:101-110\nACGTACGTAC\n>chr2:201-204\nGGGG\n>odd:1-9\nACGT\n")
    ours = open_reference(genome)
    assert ours.spans("chr2") == (Span(100, 110), Span(200, 204))
    assert dna.decode(ours.fetch("chr2", 200, 203)) == "GGG"
    # A name whose numbers do not fit the length is a name.
    assert ours.spans("odd:1-9") == (Span(0, 4),)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("X", "chrX"), ("NC_000023.11", "chrX"), ("NC_000024.10", "chrY"), ("22", "chr22"),
        ("NC_000022.11", "chr22"), ("NC_000022.10", "NC_000022.10"), ("chrUn_1", "chrUn_1"),
    ],
)  # fmt: skip
def test_canonical_names(name, expected):
    assert canonical(name) == expected


@pytest.mark.parametrize("packed", [False, True])
def test_a_missing_index_is_built_beside(genome, packed):
    path = genome
    if packed:
        path = genome.with_suffix(".fa.gz")
        pysam.tabix_compress(str(genome), str(path))
    assert open_reference(path).spans("chrM") == (Span(0, 777),)
    assert path.with_name(path.name + ".fai").is_file()
    assert path.with_name(path.name + ".gzi").is_file() == packed
    assert not [left for left in genome.parent.iterdir() if left.name.startswith(".ntvep")]


@pytest.mark.parametrize("packed", [False, True])
def test_a_read_only_folder_has_its_index_in_the_cache(genome, tmp_path, monkeypatch, packed):
    path = genome
    if packed:
        path = genome.with_suffix(".fa.gz")
        pysam.tabix_compress(str(genome), str(path))
    build = fasta._build_index

    def refuse(path, fai, gzi):
        if fai.parent == path.parent:
            raise PermissionError(13, "Permission denied")
        build(path, fai, gzi)

    monkeypatch.setattr(fasta, "_build_index", refuse)
    assert open_reference(path).spans("chrM") == (Span(0, 777),)
    assert not path.with_name(path.name + ".fai").exists()
    assert list((tmp_path / "home" / "fasta").rglob("*.fai"))
    # Found again without building; another file of that name is another index.
    monkeypatch.setattr(fasta, "_build_index", None)
    assert open_reference(path).spans("chrM") == (Span(0, 777),)
    shutil.rmtree(tmp_path / "home")
    (tmp_path / "home").write_text("a file, not a folder")
    monkeypatch.setattr(fasta, "_build_index", refuse)
    with pytest.raises(
        InputError, match=r"has no index, and none can be written .* samtools faidx"
    ):
        open_reference(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the reference file is empty"),
        (b"ACGT\n", "it does not begin with '>'"),
        (b"\x1f\x8b\x08\x00" + bytes(40), "compressed with gzip.*bgzip"),
        (b">a\nACGT\nAC\nACGT\n", "not a FASTA that can be indexed"),
    ],
)
def test_what_is_no_fasta(tmp_path, content, message):
    path = tmp_path / "x.fa"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        open_reference(path)
    assert [left.name for left in tmp_path.iterdir()] == ["x.fa"]
