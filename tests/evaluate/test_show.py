"""``ntvep show``: each number is that of ``ntvep score``; terminal and page say the same."""

import base64
import re
from html import unescape

import pytest

import ntvep
from ntvep.models.loaded import load_model
from tests.browser import CHROMIUM, browser
from tests.test_cli import CHR1, MODEL, files, run, score  # noqa: F401

WINDOW = ("--window-tokens", "16", "--max-allele-bases", "20")
OTHER = str.maketrans("ACGT", "CGTA")
SNV = f"chr1:600:{CHR1[599]}:{CHR1[599].translate(OTHER)}"
WRONG = f"chr1:500:{CHR1[499].translate(OTHER)}:{CHR1[499]}"


def show(run, *words):  # noqa: F811
    return run("show", *words, "--reference", "ref.fa", "--model", MODEL, "-q")


def test_scores_strands_and_letters(run, files):  # noqa: F811
    done = show(run, SNV, *WINDOW, "--scores", "llr,llr_marginal,l1")
    assert done.status == 0, done.err
    model = ntvep.load(MODEL)
    asked = {"window_tokens": 16, "max_allele_bases": 20, "scores": "llr,llr_marginal,l1"}
    both, forward = (
        model.score(SNV, reference="ref.fa", views=views, quiet=True, **asked).row(0, named=True)
        for views in (2, 1)
    )
    for name in ("llr", "llr_marginal", "l1"):
        line = next(line for line in done.out.splitlines() if line.split()[:1] == [name])
        mean, plus, minus = map(float, line.split()[1:4])
        assert mean == pytest.approx(both[name], abs=6e-4)
        assert plus == pytest.approx(forward[name], abs=6e-4)
        # The mean is that of the strands.
        assert (plus + minus) / 2 == pytest.approx(mean, abs=1e-3)
        assert plus != minus
    assert f"SNV; REF is {CHR1[599]}, as ref.fa has it" in done.out
    # 30 bases on either side, and the mark over the variant.
    lines = done.out.splitlines()
    letters = next(line for line in lines if CHR1[569:630] in line)
    mark = lines[lines.index(letters) - 1].index("v")
    assert letters[mark] == CHR1[599]
    assert len(letters) - letters.index(CHR1[569:630]) == 61
    expected = next(line for line in lines if line.strip().startswith("expected"))
    assert re.fullmatch("[ACGTacgt]{61}", expected.split()[1])


def test_another_ref_and_what_is_outside(run, files):  # noqa: F811
    done = show(run, WRONG, "chr9:5:A:C", *WINDOW, "--scores", "llr", "--views", "1")
    assert done.status == 0, done.err
    assert f"REF is {WRONG.split(':')[2]}, but ref.fa has {CHR1[499]}" in done.out
    assert "ref_mismatch: REF is not what the reference has" in done.out
    assert "chr9:5:A:C  contig_not_in_reference" in done.out
    assert "ref.fa has nothing at this place" in done.out


def test_a_page_with_labels_and_scores_of_others(run, files, tmp_path):  # noqa: F811
    _, pos, ref, alt = SNV.split(":")
    (files / "clinvar.vcf").write_text(
        '##fileformat=VCFv4.1\n##INFO=<ID=CLNSIG,Number=.,Type=String,Description="x">\n'
        "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
        f"1\t{pos}\t.\t{ref}\t{alt}\t.\t.\tCLNSIG=Likely_benign;CLNREVSTAT=practice_guideline\n"
    )
    (files / "cadd.tsv").write_text(f"chrom\tpos\tref\talt\tPHRED\n1\t{pos}\t{ref}\t{alt}\t21.5\n")
    (files / "g.bed").write_text("chr1\t590\t620\tenhancer\n")
    words = (*WINDOW, "--scores", "llr", "--labels", "clinvar.vcf", "--against", "cadd.tsv:PHRED")
    done = show(run, SNV, *words, "--genes", "g.bed", "-o", "page.html")
    assert done.status == 0, done.err
    assert "called Likely benign, 4 stars (clinvar.vcf)" in done.out
    assert "PHRED: 21.5" in done.out
    page = (files / "page.html").read_text()
    for words in (SNV, "Likely benign", "21.500", "For research, not for diagnosis",
                  "fingerprint of the scores", "data:image/svg+xml;base64,"):  # fmt: skip
        assert words in page, words
    assert show(run, SNV, *WINDOW, "-o", "page.html").status == 1
    assert "expected a name that ends in .html" in show(run, SNV, "-o", "page.pdf").err
    if CHROMIUM is not None:
        (tmp_path / "profile").mkdir()
        with browser(tmp_path / "profile") as chromium:
            chromium.open((files / "page.html").as_uri(), width=400)
            assert chromium.ask("document.documentElement.scrollWidth") <= 400
            assert chromium.ask("document.images[0].naturalWidth") > 800
            assert chromium.complaints == []


def test_several_devices(run, files):  # noqa: F811
    """As ``ntvep score`` takes them; the numbers are those of one."""
    asked = (SNV, *WINDOW, "--scores", "llr")
    one, two = (show(run, *asked, "--device", device) for device in ("cpu", "cpu:0,cpu:1"))
    assert (one.status, two.status) == (0, 0), two.err
    assert one.out == two.out
    mixed = show(run, *asked, "--device", "cpu:0,cuda:1")
    assert mixed.status == 2
    assert "expected devices of one kind" in mixed.err


# Pictures of ntvep table --------------------------------------------------------------------------


def pictures(page):
    """Variant -> SVG."""
    found = re.findall(
        r'<h3 class="mono">([^<]*)</h3>.*?src="data:image/svg\+xml;base64,([^"]*)"', page, re.DOTALL
    )
    return {unescape(name): base64.b64decode(svg).decode() for name, svg in found}


def test_pictures_of_a_table(run, files, tmp_path):  # noqa: F811
    """Of the lowest SNV and indel; every number that is drawn is one that the model gives alone."""
    assert score(run, *WINDOW, "--scores", "llr,pll_delta", "--views", "1").status == 0
    (files / "g.bed").write_text("chr1\t380\t420\tenhancer\n")
    words = ("table", "out.vcf", "-m", MODEL, "-q", "--genes", "g.bed", "--pictures", "1")
    done = run(*words, "-r", "ref.fa", "-o", "page.html", "--device", "cpu:0,cpu:1")
    assert done.status == 0, done.err
    assert run("table", "out.vcf", "-q", "-o", "rows.tsv").status == 0
    rows = [line.split("\t") for line in (files / "rows.tsv").read_text().splitlines()]
    first = [row[3] for row in rows if row[1] == "1" and row[2] in ("SNV", "indel")]
    drawn = pictures((files / "page.html").read_text())
    assert [*drawn] == first
    assert len(first) == 2
    snv, indel = first
    assert "enhancer" in drawn[indel]
    assert "enhancer" not in drawn[snv]
    cells = re.findall(r"aria-label=\"([\d,]+) ([ACGT])&gt;([ACGT]): (\S+)\"", drawn[indel])
    place = int(indel.split(":")[1])
    at = {int(pos.replace(",", "")) for pos, *_ in cells}
    # 30 bases on either side of three.
    assert at == {*range(place - 30, place + 33)}
    assert len(cells) == 3 * len(at)
    chosen = cells[::20]
    alone = ntvep.load(MODEL).score(
        [f"chr1:{pos.replace(',', '')}:{ref}:{alt}" for pos, ref, alt, _ in chosen],
        reference="ref.fa", window_tokens=16, max_allele_bases=20, scores="llr", views=1,
        quiet=True,
    )  # fmt: skip
    said = [float(number.replace("\u2212", "-")) for *_, number in chosen]
    assert said == pytest.approx(alone["llr"].to_list(), abs=6e-4)
    refused = run(*words, "-o", "other.html")
    assert "add --reference" in refused.err
    refused = run(*words, "-r", "ref.fa", "-o", "other.html", "-m", "demo")
    assert "--model demo: its weights are not those that scored; expected v2" in refused.err
    assert not (files / "other.html").exists()


def numbers_drawn(page):
    """Variant -> what its picture says of each place; ids in an SVG differ from one to the next."""
    return {name: re.findall(r'aria-label="([^"]*)"', svg) for name, svg in pictures(page).items()}


def test_pages_of_several_files_share_one_model(run, files, monkeypatch):  # noqa: F811
    """Each page is the one that is made of its file alone; the weights are read once."""
    for name in ("one", "two"):
        asked = ("--scores", "llr,pll_delta", "--views", "1")
        assert score(run, *WINDOW, *asked, output=f"{name}.vcf").status == 0
    words = ("-r", "ref.fa", "-m", MODEL, "-q", "--pictures", "1", "--force")
    loaded = []

    def load(*arguments, **options):
        loaded.append(arguments)
        return load_model(*arguments, **options)

    monkeypatch.setattr("ntvep.models.loaded.load_model", load)
    pages = ("-o", "one.html", "-o", "two.html")
    assert run("table", "one.vcf", "two.vcf", *words, *pages).status == 0
    assert len(loaded) == 1
    both = [numbers_drawn((files / f"{name}.html").read_text()) for name in ("one", "two")]
    assert both[0] == both[1]
    assert run("table", "two.vcf", *words, "-o", "alone.html").status == 0
    assert numbers_drawn((files / "alone.html").read_text()) == both[1]
    assert len(both[1]) == 2
    assert all(len(said) > 100 for said in both[1].values())
    for outputs in (pages[:2] * 3, ("-o", "one.html", "-o", "two.tsv")):
        refused = run("table", "one.vcf", "two.vcf", *words, *outputs)
        assert "a name that ends in .html for each of the 2 files" in refused.err
