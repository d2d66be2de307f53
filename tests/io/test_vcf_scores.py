"""What we wrote is read again; sites hold nothing but what scoring needs."""

from pathlib import Path

import pytest

from ntvep.errors import InputError
from ntvep.io.vcf_scores import provenance_in, scores_in, values_of_groups
from ntvep.io.vcf_sites import sites as reduced
from ntvep.io.vcf_sites import sites_header
from ntvep.schema import SCORE_COLUMNS
from tests.io.files import COLUMNS, annotated_lines, chunks, inspected_text, record, sites

LLR = SCORE_COLUMNS["llr"]


def test_scores_that_were_written_are_read(tmp_path: Path) -> None:
    text = sites(record(10, "A", "C,*,G", info="AC=1"), record(11, "A", "<DEL>"), record(12))
    inspection = inspected_text(tmp_path, text)
    (chunk,) = chunks(inspection)
    found = scores_in(chunk.alleles, annotated_lines(inspection), COLUMNS, "x.vcf")
    assert found.columns == [*chunk.alleles.columns, "llr", "cosine_distance"]
    assert found.select(chunk.alleles.columns).equals(chunk.alleles)
    # As they stand in tests/io/test_writing.py, digit by digit.
    assert found["llr"].to_list() == [-0.1, None, -0.3, None, -2.1]
    assert found["cosine_distance"].to_list() == [0.0333333, None, 0.1, None, 0.7]


@pytest.mark.parametrize("info", [".", "NTVEP_STATUS=ok,ok", "NTVEP_STATUS=fine"])
def test_a_record_without_a_status_for_each_alt_is_named(tmp_path: Path, info: str) -> None:
    (chunk,) = chunks(inspected_text(tmp_path, sites(record(10, info=info))))
    with pytest.raises(InputError, match=r"x\.vcf: a sampled record at chr1:10 has no NTVEP_STAT"):
        scores_in(chunk.alleles, chunk.lines, COLUMNS, "x.vcf")


def test_a_header_that_is_not_ours_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"in\.vcf: its header does not say how it was scored"):
        provenance_in(inspected_text(tmp_path, sites()))


def test_scores_of_two_groups() -> None:
    lines = [
        record(10, alt="C,G,T", info="S=a;NTVEP_LLR=-1.5,.,2;G=BRCA1:672"),
        record(11, info="S=b;NTVEP_LLR=3"),
        record(12, info="S=ab;NTVEP_LLR=9"),
        record(13, info="S=b"),
        record(14, info="X_S=a;NTVEP_LLR=9"),
        record(15, info="NTVEP_LLR=4;S=a;T=b"),
    ]
    found = values_of_groups(lines, LLR, "S=a", "S=b", ["G"])
    assert found.columns == ["chrom", "pos", "is_first", "G", "value"]
    assert found.rows() == [
        ("chr1", 10, True, "BRCA1:672", -1.5),
        ("chr1", 10, True, "BRCA1:672", 2.0),
        ("chr1", 11, False, None, 3.0),
        ("chr1", 15, True, None, 4.0),
    ]
    both = values_of_groups(lines, LLR, "S=a", "T=b")
    assert both["is_first"].to_list() == [True] * 3
    assert values_of_groups((), LLR, "S=a", "S=b").schema == both.schema


def test_sites_are_reduced_and_stay_together(tmp_path: Path) -> None:
    lines = [
        record(10, info="SECRET=1").rstrip(b"\n") + b"\tGT\t0/1\r\n",
        record(10, "AC", "A"),
        record(11),
        record(11, chrom="chr2"),
    ]
    found = list(reduced(lines))
    assert [len(site) for site in found] == [2, 1, 1]
    assert found[0][0] == b"chr1\t10\t.\tA\tC\t.\t.\t.\n"
    whole = b"".join([*sites_header(["chr1", "chr2"]), *(line for site in found for line in site)])
    inspection = inspected_text(tmp_path, whole)
    assert (inspection.records, inspection.added, inspection.notes) == (4, (), ())
    assert list(reduced([])) == []
