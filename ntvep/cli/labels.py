"""``ntvep labels``: what is known of variants, brought into one form."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from ntvep.cli.options import Force, Quiet, Verbose, command_line, set_up_log

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Bring labels into one form: ClinVar, GTEx, or any table.",
)
gtex = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Labels of QTLs: GTEx v8, v10 and v11, eQTL Catalogue.",
)
app.add_typer(gtex, name="gtex")

Output = Annotated[Path, typer.Option("--output", "-o", help="Labels, .parquet.")]
Features = Annotated[
    list[str] | None,
    typer.Option("--feature", help="Numeric column or INFO key to keep (AF, phyloP); repeat."),
]
Exclude = Annotated[
    list[Path] | None,
    typer.Option(
        help="Leave out these alleles, for example the training data of "
        "another predictor: VCF, labels or table; repeat."
    ),
]
Files = Annotated[list[Path], typer.Argument(metavar="IN...", help="Tables: TSV or Parquet.")]
Release = Annotated[
    str | None, typer.Option(help="Release of the study.", show_default="from the files' names")
]


@app.command(
    epilog="Example: `ntvep labels clinvar clinvar.vcf.gz -o clinvar.parquet --min-stars 2`"
)
def clinvar(
    source: Annotated[Path, typer.Argument(metavar="IN", help="ClinVar's VCF.")],
    output: Output,
    min_stars: Annotated[
        int,
        typer.Option(
            help="Minimum review stars; 0 includes records without assertion criteria.",
            min=0,
            max=4,
        ),
    ] = 1,
    classification: Annotated[
        Literal["germline", "oncogenicity"],
        typer.Option(help="Which classification of ClinVar to use as the label."),
    ] = "germline",
    consequence: Annotated[
        list[str] | None,
        typer.Option(
            help="Keep only variants with this most severe consequence (missense_variant); repeat."
        ),
    ] = None,
    genes: Annotated[
        str | None, typer.Option(help="Keep only these genes: a file with one per line, or A,B,C.")
    ] = None,
    feature: Features = None,
    exclude: Exclude = None,
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Pathogenic against benign; conflicting and uncertain ones stay, without a label."""
    from ntvep.commands.labels import label_clinvar

    set_up_log(quiet, verbose)
    label_clinvar(
        source,
        output,
        command=command_line(),
        min_stars=min_stars,
        classification=classification,
        consequences=consequence or (),
        genes=genes,
        features=feature or (),
        exclude=exclude or (),
        force=force,
    )


@gtex.command(
    epilog="Example: `ntvep labels gtex finemapped *.SuSiE_summary.parquet -o gtex.parquet`"
)
def finemapped(
    files: Files,
    output: Output,
    positive_pip: Annotated[
        float, typer.Option(help="Positive: at least this PIP in any tissue.")
    ] = 0.9,
    negative_pip: Annotated[
        float, typer.Option(help="Negative: at most this PIP in all tissues.")
    ] = 0.01,
    release: Release = None,
    exclude: Exclude = None,
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Causal for a gene's expression or not, by CAVIAR, DAP-G or SuSiE.

    A low PIP is not a clean negative: in linkage disequilibrium none may get a high one.
    """
    from ntvep.commands.labels import label_finemapped

    set_up_log(quiet, verbose)
    label_finemapped(
        files,
        output,
        command=command_line(),
        positive_pip=positive_pip,
        negative_pip=negative_pip,
        release=release,
        exclude=exclude or (),
        force=force,
    )


@gtex.command(epilog="Example: `ntvep labels gtex pairs *.signif_pairs.parquet -o effects.parquet`")
def pairs(
    files: Files,
    output: Output,
    max_q: Annotated[
        float, typer.Option(help="Largest q-value of a significant gene, in egenes.")
    ] = 0.05,
    release: Release = None,
    exclude: Exclude = None,
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Effect sizes of significant variant-gene pairs: of each variant its strongest pair."""
    from ntvep.commands.labels import label_pairs

    set_up_log(quiet, verbose)
    label_pairs(
        files,
        output,
        command=command_line(),
        max_q=max_q,
        release=release,
        exclude=exclude or (),
        force=force,
    )


@app.command(
    epilog="Example: `ntvep labels table hgmd.vcf.gz -o hgmd.parquet --label CLASS --positive DM`"
)
def table(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="VCF, TSV, CSV or Parquet: chrom, pos, ref, alt.")
    ],
    output: Output,
    label: Annotated[
        str | None, typer.Option(help="Column or INFO key of the label.", show_default="label")
    ] = None,
    positive: Annotated[list[str] | None, typer.Option(help="Label of positives; repeat.")] = None,
    negative: Annotated[
        list[str] | None,
        typer.Option(help="Label of negatives; repeat.", show_default="all others"),
    ] = None,
    effect: Annotated[str | None, typer.Option(help="Column of a measured effect.")] = None,
    group: Annotated[str | None, typer.Option(help="Column of the gene or tissue.")] = None,
    consequence: Annotated[str | None, typer.Option(help="Column of SO terms.")] = None,
    stars: Annotated[str | None, typer.Option(help="Column of review stars.")] = None,
    feature: Features = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the source in reports.", show_default="IN")
    ] = None,
    exclude: Exclude = None,
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Labels, or measured effects, of any VCF or table that you may use."""
    from ntvep.commands.labels import TableColumns, label_table

    set_up_log(quiet, verbose)
    where = TableColumns(
        label=label,
        effect=effect,
        group=group,
        consequence=consequence,
        stars=stars,
        positive=positive or (),
        negative=negative or (),
        features=feature or (),
    )
    label_table(
        source,
        output,
        where,
        command=command_line(),
        name=name,
        exclude=exclude or (),
        force=force,
    )


@app.command(
    epilog="Example: `ntvep labels benchmark traitgym test.parquet -o traitgym.parquet --subset "
    "subset/disease.parquet`"
)
def benchmark(
    name: Annotated[
        Literal["traitgym", "dart-caqtl", "dart-dsqtl", "vep-eval", "brca1", "mavedb"],
        typer.Argument(help="Which benchmark."),
    ],
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="The benchmark's file, as published.")
    ],
    output: Output,
    reference: Annotated[
        Path | None,
        typer.Option(
            "--reference",
            "-r",
            help="FASTA: determines which allele is REF, where that is arbitrary.",
        ),
    ] = None,
    subset: Annotated[
        list[Path] | None, typer.Option(help="Keep only the alleles of this table; repeat.")
    ] = None,
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Labels of TraitGym, DART-Eval, VEP-eval, BRCA1 saturation editing or MaveDB.

    Written from the published layouts; not run on the real files.
    """
    from ntvep.commands.benchmark import label_benchmark

    set_up_log(quiet, verbose)
    label_benchmark(
        name,
        source,
        output,
        command=command_line(),
        reference=reference,
        subset=subset or (),
        force=force,
    )


@app.command(
    epilog="Example: `ntvep labels consequences gtex.parquet -o annotated.parquet --annotation "
    "genes.gtf.gz --annotation ccre.bed -r GRCh38.fa`"
)
def consequences(
    source: Annotated[Path, typer.Argument(metavar="LABELS", help="Labels, .parquet.")],
    output: Output,
    annotation: Annotated[
        list[Path],
        typer.Option(help="GTF (Ensembl, GENCODE), BED of regulatory elements, or one of each."),
    ],
    reference: Annotated[
        Path | None,
        typer.Option("--reference", "-r", help="FASTA: needed to tell missense from synonymous."),
    ] = None,
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Give a consequence, in Ensembl's terms, to labels that have none."""
    from ntvep.commands.consequences import add_consequences

    set_up_log(quiet, verbose)
    add_consequences(
        source,
        output,
        command=command_line(),
        annotation=annotation,
        reference=reference,
        force=force,
    )


@app.command(
    epilog="Example: `ntvep labels match clinvar.parquet -o matched.parquet --negatives 9 "
    "--annotation genes.gtf.gz`"
)
def match(
    source: Annotated[Path, typer.Argument(metavar="LABELS", help="Labels, .parquet.")],
    output: Output,
    negatives: Annotated[int, typer.Option(help="Negatives per positive.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    annotation: Annotated[
        Path | None, typer.Option(help="GTF or BED: also match on the distance to its features.")
    ] = None,
    distance: Annotated[
        str | None,
        typer.Option(
            help="What the distance is to: tss or exon of a GTF, interval of a BED.",
            show_default="the first",
        ),
    ] = None,
    frequency: Annotated[
        str | None,
        typer.Option(help="Feature that is an allele frequency or count: also match on it."),
    ] = None,
    near: Annotated[
        list[str] | None,
        typer.Option(help="Numeric feature: draw the negatives nearest in it; repeat."),
    ] = None,
    within: Annotated[
        float, typer.Option(help="With --near: the largest difference of ranks, as a share of all.")
    ] = 0.05,
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Draw negatives like the positives: same chromosome, consequence, distance, frequency."""
    from ntvep.commands.match import match as match_labels

    set_up_log(quiet, verbose)
    match_labels(
        source,
        output,
        command=command_line(),
        negatives=negatives,
        seed=seed,
        annotation=annotation,
        distance=distance,
        frequency=frequency,
        near=near or (),
        within=within,
        force=force,
    )
