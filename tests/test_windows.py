"""Windows: the numbers here are worked out by hand from docs/scores.md."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntvep import dna, windows
from ntvep.windows import Edit, Grid, Span


def place(p, phase, n, span):
    """The window of n 6-mers."""
    return Grid(6, phase, 6 * n, 6, 6).place(p, span)


@pytest.mark.parametrize(
    ("pos", "ref", "alt", "start", "trimmed_ref", "trimmed_alt"),
    [
        (100, "A", "G", 99, "A", "G"),
        (100, "AC", "AG", 100, "C", "G"),
        (100, "CA", "GA", 99, "C", "G"),
        (100, "A", "AT", 100, "", "T"),
        (100, "AT", "A", 100, "T", ""),
        # Shared suffix first: AAA -> A loses the first two, not the last two.
        (100, "AAA", "A", 99, "AA", ""),
        (100, "ACGT", "TCGA", 99, "ACGT", "TCGA"),
        (100, "GCAT", "GTT", 100, "CA", "T"),
        (100, "acg", "aTg", 100, "C", "T"),
    ],
)
def test_trim(pos, ref, alt, start, trimmed_ref, trimmed_alt):
    edit = windows.trim(pos, ref, alt)
    found = edit.start, dna.decode(edit.ref), dna.decode(edit.alt)
    assert found == (start, trimmed_ref, trimmed_alt)


@pytest.mark.parametrize(
    ("p", "phase", "n", "span", "expected"),
    [
        # Token of p = 600 is 100; with 9 tokens it has index 4: start 6 * 96.
        (600, 0, 9, Span(0, 10_000), Span(576, 630)),
        (605, 0, 9, Span(0, 10_000), Span(576, 630)),
        (606, 0, 9, Span(0, 10_000), Span(582, 636)),
        # Even n: index floor(8 / 2) = 4.
        (600, 0, 8, Span(0, 10_000), Span(576, 624)),
        # Phase 5: p = 600 lies in token floor(595 / 6) = 99, start 5 + 6 * 95.
        (600, 5, 9, Span(0, 10_000), Span(575, 629)),
        # Left end: moved in to the first start of the phase.
        (0, 0, 9, Span(0, 10_000), Span(0, 54)),
        (3, 2, 9, Span(0, 10_000), Span(2, 56)),
        # Right end: 10,000 = 6 * 1666 + 4; the last full window starts at 6 * 1657.
        (9_999, 0, 9, Span(0, 10_000), Span(9_942, 9_996)),
        (9_999, 4, 9, Span(0, 10_000), Span(9_946, 10_000)),
        # Shorter than a window: all its whole 6-mers.
        (10, 0, 9, Span(0, 20), Span(0, 18)),
        (10, 3, 9, Span(0, 20), Span(3, 15)),
        (1, 0, 9, Span(0, 5), None),
        # A slice keeps the genome-wide grid: 1,000 = 6 * 166 + 4, first start 1,002.
        (1_001, 0, 9, Span(1_000, 9_000), Span(1_002, 1_056)),
        (5_000, 0, 9, Span(1_000, 9_000), Span(4_974, 5_028)),
    ],
)
def test_place(p, phase, n, span, expected):
    assert place(p, phase, n, span) == expected


@given(
    p=st.integers(0, 400),
    phase=st.integers(0, 5),
    n=st.integers(1, 30),
    start=st.integers(0, 50),
    length=st.integers(0, 400),
)
def test_place_equals_a_search_over_all_starts(p, phase, n, start, length):
    span = Span(start, start + length)
    grid = [s for s in range(phase, span.stop, 6) if s >= span.start]
    full = [s for s in grid if s + 6 * n <= span.stop]
    found = place(p, phase, n, span)
    if full:
        wanted = phase + 6 * ((p - phase) // 6 - n // 2)
        best = min(full, key=lambda s: abs(s - wanted))
        assert found == Span(best, best + 6 * n)
    elif grid and grid[0] + 6 <= span.stop:
        assert found == Span(grid[0], grid[0] + (span.stop - grid[0]) // 6 * 6)
    else:
        assert found is None


def genome(text):
    codes = dna.encode(text)
    return lambda start, stop: codes[start:stop]


def cut(text, edit, window):
    """Place of the change, REF and ALT sequence; None if the window does not hold the change."""
    if not windows.holds(window, edit):
        return None
    alt = windows.alt_window(edit, window, Span(0, len(text)), genome(text))
    return alt if alt is None else (text[window.start : window.stop], dna.decode(alt))


def edit(start, ref, alt):
    return Edit(start, dna.codes(ref), dna.codes(alt))


TEXT = "AAACCCGGGTTTACGTACGTAC"


def test_cut_snv():
    assert cut(TEXT, edit(7, "G", "T"), Span(6, 12)) == ("GGGTTT", "GTGTTT")


def test_cut_deletion_pulls_in_bases_from_the_right():
    assert cut(TEXT, edit(7, "GG", ""), Span(6, 12)) == ("GGGTTT", "GTTTAC")


def test_cut_insertion_pushes_bases_out():
    assert cut(TEXT, edit(7, "", "AA"), Span(6, 12)) == ("GGGTTT", "GAAGGT")


def test_cut_deletion_at_the_contigs_end_is_shorter():
    assert cut(TEXT[:14], edit(7, "GGTT", ""), Span(6, 12)) == ("GGGTTT", "GTAC")


@pytest.mark.parametrize(
    "change",
    [(5, "G", ""), (12, "G", ""), (11, "TA", ""), (11, "", "CC")],
    ids=["before", "behind", "deletion beyond", "insertion beyond"],
)
def test_cut_refuses_a_change_outside(change):
    assert cut(TEXT, edit(*change), Span(6, 12)) is None


def test_cut_refuses_a_deletion_up_to_the_contigs_end():
    """ALT has no base at p, so no token of ALT holds the change."""
    assert cut(TEXT[:12], edit(10, "TT", ""), Span(6, 12)) is None


@pytest.mark.parametrize(
    ("start", "changed", "reverse", "expected"),
    [
        (7, "ACG", False, Span(7, 10)),
        (7, "", False, Span(7, 8)),
        # Of 20 bases, 7 to 9 read from the other end are 10 to 12.
        (7, "ACG", True, Span(10, 13)),
        (7, "", True, Span(12, 13)),
    ],
)
def test_changed_bases(start, changed, reverse, expected):
    assert windows.changed_bases(start, dna.codes(changed), 20, reverse) == expected


@pytest.mark.parametrize(
    ("p", "expected"),
    [(10, Span(0, 54)), (50, Span(6, 60)), (29, Span(0, 54)), (30, Span(6, 60))],
)
def test_shorten_drops_the_farther_end(p, expected):
    assert Grid(6, 0, 60, 6, 6).shorten(Span(0, 60), p) == expected


@pytest.mark.parametrize(
    ("grid", "p", "span", "expected"),
    [
        # Single bases: p has index floor(255 / 2) = 127.
        (Grid(1, 0, 255, 1, 1), 1_000, Span(0, 9_000), Span(873, 1_128)),
        (Grid(1, 0, 512, 1, 1), 1_000, Span(0, 9_000), Span(744, 1_256)),
        # 873 is rounded down to the lattice of 63: 13 * 63 = 819.
        (Grid(1, 0, 255, 1, 63), 1_000, Span(0, 9_000), Span(819, 1_074)),
        (Grid(1, 0, 255, 1, 63), 10, Span(0, 9_000), Span(0, 255)),
        # A phase moves the lattice with it: 5 + 60 * floor((575 - 5) / 60) = 545.
        (Grid(6, 5, 54, 6, 60), 600, Span(0, 9_000), Span(545, 599)),
        # Steps of 128 bases: 1,000 bases hold seven.
        (Grid(1, 0, 8_192, 128, 1), 990, Span(0, 1_000), Span(104, 1_000)),
        (Grid(1, 0, 8_192, 128, 1), 300, Span(0, 1_000), Span(0, 896)),
        (Grid(1, 0, 8_192, 128, 1), 50, Span(0, 127), None),
    ],
)
def test_place_on_other_grids(grid, p, span, expected):
    assert grid.place(p, span) == expected


def test_a_causal_reverse_view_is_pinned_at_the_genomes_right():
    """Deleting GG pulls CC in on the left; inserting AA pushes AC out there."""
    window = Span(6, 12)
    found = windows.alt_window_to_left(edit(7, "GG", ""), window, Span(0, 21), genome(TEXT))
    assert (dna.decode(found[0]), found[1]) == ("CCGTTT", 3)
    found = windows.alt_window_to_left(edit(9, "", "AA"), window, Span(0, 21), genome(TEXT))
    assert (dna.decode(found[0]), found[1]) == ("GAATTT", 1)
    # At the contig's beginning there is nothing to pull in.
    found = windows.alt_window_to_left(edit(1, "AA", ""), Span(0, 6), Span(0, 21), genome(TEXT))
    assert (dna.decode(found[0]), found[1]) == ("ACCC", 1)
    # The bases behind the change leave no room for it.
    assert windows.alt_window_to_left(edit(7, "", "AA"), window, Span(0, 21), genome(TEXT)) is None


def test_the_field_around_a_base_is_filled_up_beyond_the_contig():
    span = Span(0, len(TEXT))
    assert dna.decode(windows.around(1, 7, span, genome(TEXT))) == "--AAACC"
    assert dna.decode(windows.around(19, 7, span, genome(TEXT))) == "ACGTAC-"
    deleted = windows.around_changed(edit(7, "GG", ""), 7, span, genome(TEXT))
    assert dna.decode(deleted) == "CCGTTTA"
    inserted = windows.around_changed(edit(7, "", "AA"), 7, span, genome(TEXT))
    assert dna.decode(inserted) == "CCGAAGG"
    at_end = windows.around_changed(edit(20, "AC", ""), 7, span, genome(TEXT))
    assert dna.decode(at_end) == "CGT----"


def test_a_replaced_allele_changes_the_length():
    assert dna.decode(windows.replaced(edit(7, "GG", ""), Span(6, 12), genome(TEXT))) == "GTTT"
    assert dna.decode(windows.replaced(edit(7, "", "AA"), Span(6, 12), genome(TEXT))) == "GAAGGTTT"
