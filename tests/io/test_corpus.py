"""The VCFs of the hts-specs suite: the valid pass through, the others pass or say why not."""

from pathlib import Path
from typing import Literal

import pytest

from ntvep.errors import NtvepError
from tests.io.files import (
    annotated_lines,
    header_lines,
    inspected,
    records_of,
    without_ours,
    write,
)

ROOT = Path(__file__).parents[2].parent / "shared" / "data" / "vcf-corpus" / "hts-specs"
FILES = sorted(ROOT.glob("*/*/*.vcf"))
PASSED = [path for path in FILES if path.parent.name == "passed"]

pytestmark = pytest.mark.skipif(not FILES, reason="no corpus of VCFs beside this checkout")


def test_the_corpus_is_whole() -> None:
    assert (len(PASSED), len(FILES)) == (76, 683)


@pytest.mark.parametrize("path", PASSED, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_a_valid_file_passes_through(path: Path, tmp_path: Path) -> None:
    text = path.read_bytes()
    inspection = inspected(path)
    records = records_of(text)
    lines = annotated_lines(inspection)
    assert inspection.records == len(lines) == len(records)
    assert list(map(without_ours, lines)) == records
    header = header_lines(inspection)
    wanted = [line for line in text.splitlines(keepends=True) if line.startswith(b"#")]
    assert [line for line in header if line in wanted] == wanted
    for suffix in (".vcf", ".vcf.gz"):
        write(inspection, tmp_path / f"out{suffix}")
        again = inspected(tmp_path / f"out{suffix}")
        assert (again.records, again.added) == (len(records), ())
        assert annotated_lines(again) == lines


@pytest.mark.parametrize("path", PASSED, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_a_valid_file_becomes_bcf(path: Path, tmp_path: Path) -> None:
    inspection = inspected(path)
    output = write(inspection, tmp_path / "out.bcf")
    again = inspected(output)
    assert (again.records, again.contigs) == (inspection.records, inspection.contigs)


@pytest.mark.parametrize("suffix", [".vcf.gz", ".bcf"])
@pytest.mark.parametrize("on_bad_record", ["fail", "skip"])
def test_any_other_file_passes_or_says_why_not(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    on_bad_record: Literal["fail", "skip"],
    suffix: str,
) -> None:
    errors: list[str] = []
    for path in sorted(set(FILES) - set(PASSED)):
        output = tmp_path / f"{path.parts[-3]}-{path.stem}{suffix}"
        try:
            inspection = inspected(path, on_bad_record)
            write(inspection, output)
        except NtvepError as error:
            errors.append(str(error))
            written = False
        else:
            written = inspected(output).records == inspection.records
        assert output.exists() is written
    assert 10 < len(errors) < 200
    assert not any("\n" in error for error in errors)
    assert not list(tmp_path.glob(".*"))
    assert capfd.readouterr() == ("", "")
