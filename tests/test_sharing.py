"""What families share, counted: benchmarks/passes.py prints the same for 1,000 bases."""

import pytest

from benchmarks.passes import (
    FIRST,
    GOLDEN,
    SLICE,
    computed,
    largest_move,
    narrow_phylogpn,
    snvs,
)
from ntvep.io.fasta import open_reference
from ntvep.models import phylogpn


@pytest.fixture(scope="module")
def chr22():
    return open_reference(SLICE)


@pytest.mark.parametrize("views", [1, 2])
def test_a_bases_three_snvs_are_one_masked_pass(chr22, views):
    bases = 40
    table = snvs(chr22, range(FIRST, FIRST + bases))
    found = computed(GOLDEN / "gpn_convnet", table, chr22, goes_on=True, views=views)
    assert found.scores["llr"].null_count() == 0
    assert found.passes == bases * views
    assert found.tokens == bases * views * 512


def test_one_pass_of_rates_answers_many_bases(chr22, tmp_path, monkeypatch):
    """All SNVs of 1,000 bases on both strands: at most 8 passes of at most 512 + 480 bases."""
    lengths = []
    hidden = phylogpn.PhyloGpn.hidden

    def counted(self, ids, layer=None):
        lengths.extend([ids.shape[1]] * len(ids))
        return hidden(self, ids, layer)

    monkeypatch.setattr(phylogpn.PhyloGpn, "hidden", counted)
    table = snvs(chr22, range(FIRST, FIRST + 1_000))
    folder = narrow_phylogpn(tmp_path)
    found = computed(folder, table, chr22, goes_on=True, views=2)
    assert found.window == 481
    assert found.passes == len(lengths) <= 8
    assert max(lengths) <= 512 + 480
    assert found.tokens == sum(lengths)
    # One at a time, each in a pass of its own field, some of them: the same.
    alone = [
        computed(folder, table[i : i + 1], chr22, goes_on=True, views=2).scores["llr"][0]
        for i in (0, 1, 1_500, 1_537, 2_999)
    ]
    together = [found.scores["llr"][i] for i in (0, 1, 1_500, 1_537, 2_999)]
    assert together == pytest.approx(alone, abs=1e-6)
    assert len({round(llr, 4) for llr in together}) > 2


@pytest.mark.parametrize(("anchor", "share"), [(63, 0.55), (None, 1.0)])
def test_alt_goes_on_from_ref(chr22, anchor, share):
    """Mean over both strands, of a window's tokens an allele: 63 bases are one cell."""
    options = {} if anchor is None else {"anchor": anchor}
    # Without an anchor each base has a window of its own.
    bases = 63 if anchor else 8
    # Cells begin at multiples of 63 of where windows begin.
    first = FIRST - (FIRST - 127) % 63 if anchor else FIRST
    table = snvs(chr22, range(first, first + bases))
    found = computed(GOLDEN / "marin-dna", table, chr22, goes_on=True, views=2, **options)
    assert found.window == 256
    of_window = found.tokens / table.height / 2 / found.window
    assert of_window <= share
    whole = computed(GOLDEN / "marin-dna", table, chr22, goes_on=False, views=2, **options)
    assert whole.passes == found.passes
    assert whole.tokens == whole.passes * 256
    assert found.tokens < whole.tokens * share
    assert largest_move(found.scores, whole.scores) <= 1e-6
