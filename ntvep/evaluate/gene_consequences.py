"""LABELS and a gene annotation -> the most severe consequence of each allele, in Ensembl's terms.

Definitions: Ensembl, "Calculated variant consequences" (release 115). Consequences are those of all
transcripts together; a term that needs the bases (missense, stop gained) needs a reference.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Bool, Int, Int64, UInt8

from ntvep import dna, windows
from ntvep.evaluate.consequences import SEVERITY
from ntvep.evaluate.joining import canonical_contigs
from ntvep.genome import Reference, canonical

# Bases up- and downstream of a transcript that Ensembl still names after it.
_NEAR = 5_000
# Bases of a contig that are looked at together.
_BLOCK = 1 << 20
_NONE = len(SEVERITY)
_BASES = "^[ACGTacgt]+$"
_CODE = "KNKNTTTTRSRSIIMIQHQHPPPPRRRRLLLLEDEDAAAAGGGGVVVV*Y*YSSSS*CWCLFLF"
# Codons in the order of A, C, G, T; in mitochondria AGA, AGG are stops, ATA is Met, TGA is Trp.
_STANDARD = np.frombuffer(_CODE.encode(), np.uint8)
_MITOCHONDRIAL = _STANDARD.copy()
_MITOCHONDRIAL[[8, 10, 12, 56]] = np.frombuffer(b"**MW", np.uint8)
_MET, _STOP = ord("M"), ord("*")

REGION_CLASSES = (
    "PLS", "pELS", "dELS", "CA-H3K4me3", "CA-CTCF", "CA-TF", "CA", "TF",
    "DNase-H3K4me3", "CTCF-only", "DNase-only",
)  # fmt: skip
"""ENCODE's classes of candidate cis-regulatory elements, of versions 4 and 3."""
_REGION = "regulatory_region_variant"
# Terms that say of an allele only where it is not: a regulatory element says more.
_LEAST = SEVERITY["intron_variant"]


@dataclass(frozen=True, eq=False)
class Alleles:
    """Trimmed alleles: what changes, [start, stop) 0-based, and what comes in its place."""

    contig: np.ndarray
    start: Int64[np.ndarray, " variant"]
    stop: Int64[np.ndarray, " variant"]
    come: list[str]

    @property
    def grows(self) -> Int64[np.ndarray, " variant"]:
        """Bases that an allele adds (insertion) or takes away (below 0)."""
        lengths: Int64[np.ndarray, " variant"] = np.array([len(c) for c in self.come], np.int64)
        grows: Int64[np.ndarray, " variant"] = lengths - (self.stop - self.start)
        return grows


def consequences(
    variants: pl.DataFrame,
    genes: pl.DataFrame | None,
    regions: pl.DataFrame | None,
    reference: Reference | None,
) -> pl.Series:
    """The most severe term of each allele.

    Args:
        variants: ``chrom``, ``pos`` (1-based), ``ref``, ``alt``.
        genes: parts of transcripts: ``transcript``, ``chrom``, ``strand``, ``kind`` (``exon``,
            ``CDS`` without the stop codon, ``start_codon``, ``stop_codon``), ``start``, ``stop``
            (0-based, half-open), ``frame`` (bases of a CDS before its first whole codon).
        regions: regulatory elements: ``chrom``, ``start``, ``stop``, ``name`` (a class, or null).
            Its class takes the place of terms that say nothing of function (introns, and what is
            outside transcripts).
        reference: the genome; without it a substitution in a CDS is a
            ``coding_sequence_variant``.

    Returns:
        Terms; null where REF or ALT is not a sequence of A, C, G, T, and outside the regions where
        there are no genes, or none on the contig.
    """
    named = variants.select(
        is_known=pl.all_horizontal(pl.col("ref", "alt").str.contains(_BASES))
    ).to_series()
    alleles = _trimmed(variants.filter(named))
    rank = np.full(len(alleles.come), _NONE)
    if genes is not None:
        parts = genes.with_columns(canonical_contigs(genes["chrom"]))
        rank = np.minimum(rank, _by_place(alleles, parts))
        if reference is not None:
            rank = np.minimum(rank, _by_codon(alleles, parts, reference))
        is_annotated = np.isin(alleles.contig, parts["chrom"].unique().to_numpy())
        outside = is_annotated & (rank == _NONE)
        rank = np.where(outside, SEVERITY["intergenic_variant"], rank)
    terms = np.array([*SEVERITY, None], object)[rank]
    if regions is not None:
        elements = regions.with_columns(canonical_contigs(regions["chrom"]))
        terms = np.where(rank >= _LEAST, _by_region(alleles, elements, terms), terms)
    found = np.full(variants.height, None, object)
    found[named.to_numpy()] = terms
    return pl.Series("consequence", found.tolist(), pl.String())


def _trimmed(variants: pl.DataFrame) -> Alleles:
    start, stop, come = [], [], []
    for pos, ref, alt in variants.select("pos", "ref", "alt").iter_rows():
        edit = windows.trim(pos, ref, alt)
        start.append(edit.start)
        stop.append(edit.stop)
        come.append(dna.decode(edit.alt))
    contig = canonical_contigs(variants["chrom"]).to_numpy()
    return Alleles(contig, np.array(start, np.int64), np.array(stop, np.int64), come)


# Where an allele is -------------------------------------------------------------------------------


def _by_place(alleles: Alleles, genes: pl.DataFrame) -> Int[np.ndarray, " variant"]:
    """Rank of the most severe term that place and length tell."""
    grows = alleles.grows
    is_substitution = grows == 0
    in_frame = grows % 3 == 0
    is_pure = np.array([not come for come in alleles.come], bool) | (alleles.start == alleles.stop)
    rank = np.full(len(grows), _NONE)

    def mark(term: str, where: Bool[np.ndarray, " variant"]) -> None:
        rank[where] = np.minimum(rank[where], SEVERITY[term])

    places = _places(genes)
    for term, intervals in places.items():
        if term in SEVERITY:
            mark(term, _touches(alleles, intervals))
    in_cds = _touches(alleles, places["cds"])
    mark("coding_sequence_variant", in_cds)
    mark("frameshift_variant", in_cds & ~in_frame)
    mark("inframe_insertion", in_cds & in_frame & is_pure & (grows > 0))
    mark("inframe_deletion", in_cds & in_frame & is_pure & (grows < 0))
    mark("protein_altering_variant", in_cds & in_frame & ~is_pure & ~is_substitution)
    mark("start_lost", _touches(alleles, places["start_codon"]) & ~is_substitution)
    mark("stop_lost", _touches(alleles, places["stop_codon"]) & ~is_substitution)
    return rank


def _touches(alleles: Alleles, intervals: pl.DataFrame) -> Bool[np.ndarray, " variant"]:
    """Whether an allele changes a base of an interval, or comes between two of its bases."""
    found = np.zeros(len(alleles.start), bool)
    for (contig,), some in intervals.partition_by("chrom", as_dict=True).items():
        here = np.flatnonzero(alleles.contig == contig)
        if not len(here):
            continue
        ordered = some.filter(pl.col("start") < pl.col("stop")).sort("start")
        begin, reach = ordered["start"].to_numpy(), ordered["stop"].cum_max().to_numpy()
        # Of all that begin before an allele's end, does one reach beyond its start?
        last = np.searchsorted(begin, alleles.stop[here], side="left") - 1
        found[here] = (last >= 0) & (reach[np.maximum(last, 0)] > alleles.start[here])
    return found


def _places(genes: pl.DataFrame) -> Mapping[str, pl.DataFrame]:
    """Intervals by the term of what is in them; and ``cds``, with the stop codon, and codons."""
    exons = genes.filter(pl.col("kind") == "exon").sort("transcript", "start")
    coding = genes.filter(pl.col("kind").is_in(["CDS", "stop_codon"]))
    coded = coding.group_by("transcript").agg(
        first=pl.col("start").min(), last=pl.col("stop").max()
    )
    exons = exons.join(coded, "transcript", how="left")
    introns = exons.select(
        "chrom",
        "strand",
        start="stop",
        stop=pl.col("start").shift(-1).over("transcript"),
    ).drop_nulls("stop")
    transcripts = exons.group_by("transcript", "chrom", "strand").agg(
        pl.col("start").min(), pl.col("stop").max()
    )
    codons = {
        kind: genes.filter(pl.col("kind") == kind).select("chrom", "start", "stop")
        for kind in ("start_codon", "stop_codon")
    }
    return {
        **_splicing(introns),
        **_untranslated(exons.filter(pl.col("first").is_not_null())),
        "non_coding_transcript_exon_variant": exons.filter(pl.col("first").is_null()).select(
            "chrom", "start", "stop"
        ),
        "intron_variant": introns.select("chrom", "start", "stop"),
        # After the first base and before the last: an insertion beside a transcript is outside.
        "upstream_gene_variant": _beside(transcripts, _NEAR, 0),
        "downstream_gene_variant": _beside(transcripts, 0, _NEAR),
        "cds": coding.select("chrom", "start", "stop"),
        **codons,
    }


def _splicing(introns: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Intervals around both ends of introns."""

    def around(end: str, inside: int, outside: int) -> pl.DataFrame:
        """A range of bases around an end of an intron: from inside it to outside."""
        # The donor is at an intron's first base as the strand reads.
        is_left = (pl.col("strand") == "-") == (end == "acceptor")
        left = pl.col("start")
        right = pl.col("stop")
        return introns.select(
            "chrom",
            start=pl.when(is_left).then(left - outside).otherwise(right - inside),
            stop=pl.when(is_left).then(left + inside).otherwise(right + outside),
        )

    return {
        "splice_donor_variant": around("donor", 2, 0),
        "splice_acceptor_variant": around("acceptor", 2, 0),
        "splice_donor_5th_base_variant": around("donor", 5, -4),
        "splice_donor_region_variant": around("donor", 6, -2),
        "splice_polypyrimidine_tract_variant": around("acceptor", 17, -2),
        "splice_region_variant": pl.concat([around("donor", 8, 3), around("acceptor", 8, 3)]),
    }


def _untranslated(exons: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """What exons have before and after the coding sequence, as the strand reads."""
    left = exons.select("chrom", "strand", start="start", stop=pl.min_horizontal("stop", "first"))
    right = exons.select("chrom", "strand", start=pl.max_horizontal("start", "last"), stop="stop")
    is_forward = pl.col("strand") != "-"

    def both(forward: pl.DataFrame, reverse: pl.DataFrame) -> pl.DataFrame:
        parts = [forward.filter(is_forward), reverse.filter(~is_forward)]
        return pl.concat(parts).filter(pl.col("start") < pl.col("stop")).drop("strand")

    return {"5_prime_UTR_variant": both(left, right), "3_prime_UTR_variant": both(right, left)}


def _beside(transcripts: pl.DataFrame, before: int, behind: int) -> pl.DataFrame:
    """So many bases before or after transcripts, as their strand reads."""
    is_forward = pl.col("strand") != "-"
    on_left = pl.when(is_forward).then(before).otherwise(behind)
    on_right = pl.when(is_forward).then(behind).otherwise(before)
    left = transcripts.select("chrom", start=pl.col("start") - on_left, stop="start")
    right = transcripts.select("chrom", start="stop", stop=pl.col("stop") + on_right)
    return pl.concat([left, right]).filter(pl.col("start") < pl.col("stop"))


def _by_region(alleles: Alleles, regions: pl.DataFrame, terms: np.ndarray) -> np.ndarray:
    """The class of the regulatory element that an allele is in; else its term."""
    named = regions.with_columns(pl.col("name").fill_null(_REGION))
    # Of elements that overlap the first class of the list counts.
    order = [*REGION_CLASSES, _REGION]
    for name in sorted(named["name"].unique(), key=order.index, reverse=True):
        terms = np.where(_touches(alleles, named.filter(pl.col("name") == name)), name, terms)
    return terms


# What a codon becomes -----------------------------------------------------------------------------


def _by_codon(
    alleles: Alleles, genes: pl.DataFrame, reference: Reference
) -> Int[np.ndarray, " variant"]:
    """Rank of the most severe term of substitutions within coding sequence."""
    rank = np.full(len(alleles.start), _NONE)
    substitutions = np.flatnonzero((alleles.grows == 0) & (alleles.stop > alleles.start))
    segments = _segments(genes)
    by_contig = segments.partition_by("chrom", as_dict=True)
    for (contig,), some in by_contig.items():
        here = substitutions[alleles.contig[substitutions] == contig]
        if not len(here):
            continue
        changed = pl.DataFrame(
            {"variant": here, "first": alleles.start[here], "behind": alleles.stop[here]}
        )
        pairs = changed.join_where(
            some, pl.col("start") <= pl.col("first"), pl.col("behind") <= pl.col("stop")
        )
        if pairs.height:
            # Order does not matter to the lowest rank.
            ranks = _codon_ranks(pairs, segments, alleles, reference, str(contig))
            np.minimum.at(rank, pairs["variant"].to_numpy(), ranks)
    return rank


def _segments(genes: pl.DataFrame) -> pl.DataFrame:
    """Coding sequence, stop codons included, in the order in which it is read.

    Returns:
        Its parts, with their ``offset`` in the coding sequences of all transcripts laid end to end,
        ``begin`` and ``end`` of the transcript's there, and the ``frame`` at its beginning.
    """
    coding = genes.filter(pl.col("kind").is_in(["CDS", "stop_codon"]))
    read = pl.when(pl.col("strand") == "-").then(-pl.col("stop")).otherwise("start")
    ordered = coding.with_columns(read=read).sort("transcript", "read")
    length = pl.col("stop") - pl.col("start")
    has_start = pl.col("transcript").is_in(
        genes.filter(pl.col("kind") == "start_codon")["transcript"].unique().implode()
    )
    return (
        ordered.with_columns(offset=length.cum_sum() - length, starts=has_start)
        .with_columns(
            begin=pl.col("offset").min().over("transcript"),
            end=(pl.col("offset") + length).max().over("transcript"),
            frame=pl.col("frame").first().over("transcript").fill_null(0),
        )
        .select("chrom", "strand", "start", "stop", "offset", "begin", "end", "frame", "starts")
    )


def _codon_ranks(
    pairs: pl.DataFrame,
    segments: pl.DataFrame,
    alleles: Alleles,
    reference: Reference,
    contig: str,
) -> Int[np.ndarray, " pair"]:
    """Rank of the term of each substitution in each part of a coding sequence that holds it."""
    column = {name: pairs[name].to_numpy() for name in pairs.columns}
    is_reverse = column["strand"] == "-"
    first = column["offset"] + np.where(
        is_reverse, column["stop"] - column["behind"], column["first"] - column["start"]
    )
    last = first + (column["behind"] - column["first"]) - 1
    zero = column["begin"] + column["frame"]
    codon, last_codon = (first - zero) // 3, (last - zero) // 3
    # A row for each codon that a substitution changes.
    counts = last_codon - codon + 1
    pair = np.repeat(np.arange(len(counts)), counts)
    codon = codon[pair] + np.arange(len(pair)) - np.repeat(np.cumsum(counts) - counts, counts)
    offsets = zero[pair][:, None] + 3 * codon[:, None] + np.arange(3)
    is_whole = (offsets[:, 0] >= column["begin"][pair]) & (offsets[:, 2] < column["end"][pair])
    places = _on_genome(np.where(is_whole[:, None], offsets, first[pair][:, None]), segments)
    before = _bases_at(places, reference, contig)
    after = before.copy()
    moved = places - column["first"][pair][:, None]
    changed = (moved >= 0) & (places < column["behind"][pair][:, None])
    rows, columns = np.nonzero(changed)
    variants, within = column["variant"][pair[rows]].tolist(), moved[rows, columns].tolist()
    new = "".join(alleles.come[v][base] for v, base in zip(variants, within, strict=True))
    after[rows, columns] = dna.encode(new)
    reverse = is_reverse[pair]
    before, after = (_complemented(codes, reverse) for codes in (before, after))
    table = _MITOCHONDRIAL if contig == canonical("chrM") else _STANDARD
    is_start = (codon == 0) & column["starts"][pair] & (column["frame"][pair] == 0)
    ranks = np.where(is_whole, _terms(before, after, table, is_start), _NONE)
    lowest = np.full(len(counts), _NONE)
    np.minimum.at(lowest, pair, ranks)
    return lowest


def _on_genome(
    offsets: Int64[np.ndarray, "codon 3"], segments: pl.DataFrame
) -> Int64[np.ndarray, "codon 3"]:
    """Places of offsets in the coding sequences laid end to end."""
    starts = segments["offset"].to_numpy()
    part = np.searchsorted(starts, offsets, side="right") - 1
    within = offsets - starts[part]
    is_reverse = (segments["strand"] == "-").to_numpy()[part]
    start, stop = segments["start"].to_numpy()[part], segments["stop"].to_numpy()[part]
    places: Int64[np.ndarray, "codon 3"] = np.where(is_reverse, stop - 1 - within, start + within)
    return places


def _bases_at(
    places: Int64[np.ndarray, "codon 3"], reference: Reference, contig: str
) -> UInt8[np.ndarray, "codon 3"]:
    """Codes of single bases; N where the reference has none."""
    flat = places.ravel()
    codes = np.full(len(flat), dna.N, np.uint8)
    for span in reference.spans(contig):
        inside = np.flatnonzero((span.start <= flat) & (flat < span.stop))
        block = flat[inside] // _BLOCK
        for number in np.unique(block):
            here = inside[block == number]
            begin = int(flat[here].min())
            bases = reference.fetch(contig, begin, int(flat[here].max()) + 1)
            codes[here] = bases[flat[here] - begin]
    return codes.reshape(places.shape)


def _complemented(
    codes: UInt8[np.ndarray, "codon 3"], reverse: Bool[np.ndarray, " codon"]
) -> UInt8[np.ndarray, "codon 3"]:
    """Codons as their strand spells them; their bases are in the order of reading already."""
    partner = np.array([3, 2, 1, 0, dna.N], np.uint8)
    return np.where(reverse[:, None], partner[codes], codes)


def _terms(
    before: UInt8[np.ndarray, "codon 3"],
    after: UInt8[np.ndarray, "codon 3"],
    table: UInt8[np.ndarray, "64"],
    is_start: Bool[np.ndarray, " codon"],
) -> Int[np.ndarray, " codon"]:
    """Rank of what a codon's change does to its protein."""
    is_known = np.all((before < dna.N) & (after < dna.N), axis=1)
    weights = np.array([16, 4, 1])
    was, becomes = (
        table[np.where(is_known[:, None], codes, 0).astype(np.int64) @ weights]
        for codes in (before, after)
    )
    # The first that holds.
    cases = (
        (~is_known, _NONE),
        (is_start & (becomes == _MET), SEVERITY["start_retained_variant"]),
        (is_start, SEVERITY["start_lost"]),
        ((was == _STOP) & (becomes == _STOP), SEVERITY["stop_retained_variant"]),
        (was == _STOP, SEVERITY["stop_lost"]),
        (becomes == _STOP, SEVERITY["stop_gained"]),
        (was == becomes, SEVERITY["synonymous_variant"]),
    )
    where, ranks = zip(*cases, strict=True)
    return np.select(list(where), list(ranks), default=SEVERITY["missense_variant"])
