"""model name -> what it is: ``ntvep model list``, ``info``, ``check`` and ``fetch``."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from ntvep import dna, windows
from ntvep.commands.options import Options
from ntvep.commands.ready import settings_for
from ntvep.dna import Dna
from ntvep.errors import ModelError
from ntvep.models.checkpoint import read_checkpoint
from ntvep.models.fetch import fetch
from ntvep.models.folder import weight_files, weights_sha256
from ntvep.models.hub import Source, licence, locate, read_record
from ntvep.models.loaded import load_model
from ntvep.models.recorded import Recorded, deviation, finite, recorded, revisions
from ntvep.models.registry import FAMILIES
from ntvep.pipeline import ScoringContext, score_alleles
from ntvep.schema import ALLELES, Status
from ntvep.tokens import Tokenizer
from ntvep.windows import Span

# A measurement takes about so long, once the model is warm, ...
_SECONDS = 10.0
# ... and no more variants than these.
_MOST_MEASURED = 1_024


def model_list() -> list[str]:
    """The families that ntvep scores, as lines of a table, each followed by its hub ids."""
    heads = ("family", "objective", "tokens", "default window, bases", "licence")
    rows = [
        (family.title, family.objective, family.tokens, family.window, family.licence)
        for family in FAMILIES
    ]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]

    def line(cells: tuple[str, ...]) -> str:
        return "  ".join(cell.ljust(n) for cell, n in zip(cells, widths, strict=True)).rstrip()

    lines = [line(heads)]
    for family, row in zip(FAMILIES, rows, strict=True):
        lines += [line(row), *(f"    {model}" for model in family.models)]
    return lines


def model_info(model: str) -> dict[str, str]:
    """What a checkpoint is and says of itself, ready to print."""
    source = locate(model)
    checkpoint = read_checkpoint(source.folder)
    family, description = checkpoint.family, checkpoint.description
    tokenizer = description.tokenizer
    unit = f" ({description.default_bases // tokenizer.stride} tokens)"
    return {
        "model": source.model_id,
        "family": family.title,
        "folder": str(source.folder),
        "revision": source.revision or "unknown",
        "objective": description.objective,
        "tokenizer": f"{_words(tokenizer)}, {len(tokenizer.terms)} ids",
        "layers": f"{checkpoint.encoder.layers}, width {checkpoint.encoder.dim}",
        "parameters": f"{checkpoint.parameters:,}",
        "default window": f"{description.default_bases:,} bases"
        + (unit if tokenizer.kind == "kmer" else ""),
        "trained window": f"up to {description.trained_bases:,} bases",
        "longest input": f"{description.max_tokens:,} tokens, special ones included",
        "authors' score": family.authors,
        "weights sha256": checkpoint.weights_sha256,
        "licence": licence(source),
        "family's licence": f"{family.licence} (of its published models)",
    }


@dataclass(frozen=True)
class _RandomSequence:
    """A contig of random bases, the same each time."""

    bases: Dna

    def spans(self, chrom: str) -> Sequence[Span]:
        """All of it."""
        return (Span(0, len(self.bases)),)

    def fetch(self, chrom: str, start: int, stop: int) -> Dna:
        """Bases of a stretch."""
        return self.bases[start:stop]


def model_pace(model: str, device: str = "auto", precision: str = "auto") -> dict[str, str]:
    """Measure how long 1,000 SNVs take: llr, the default window and views, random sequence.

    The SNVs lie so far apart that they share no pass, as in a list of single variants.

    Args:
        model: as in :func:`ntvep.commands.score.score_file`.
        device: where to compute.
        precision: of matrix products.
    """
    loaded = load_model(model, device=device, precision=precision)
    settings = settings_for(loaded.description, Options(scores="llr"))
    step = max(settings.window_bases, loaded.description.field)
    letters = np.random.default_rng(0).choice(list("ACGT"), step * 8)
    genome = _RandomSequence(dna.encode("".join(letters)))
    context = ScoringContext(genome, loaded.model, loaded.description, settings)
    places = np.linspace(2 * step, 6 * step, _MOST_MEASURED).astype(int)
    rows = [
        (row, 1, "random", windows.pos_of(at), ref, "ACGT"["ACGT".index(ref) - 1], Status.OK)
        for row, at in enumerate(places.tolist())
        for ref in [str(letters[at])]
    ]
    schema = {column.name: column.dtype for column in ALLELES}
    alleles = pl.DataFrame(rows, schema=schema, orient="row")
    # The first pass also finds the batch and compiles.
    score_alleles(alleles[:1], context)
    count, taken = 1, 0.0
    while taken < _SECONDS / 2 and count < _MOST_MEASURED:
        count = min(_MOST_MEASURED, 2 * count)
        spread = alleles.gather_every(_MOST_MEASURED // count)[:count]
        began = time.monotonic()
        score_alleles(spread, context)
        taken = time.monotonic() - began
    where = f"{loaded.identity.precision} on {loaded.identity.device}"
    return {
        "1,000 variants": f"{1000 * taken / count:.3g} s (llr, {settings.views} views, windows of "
        f"{settings.window_bases:,} bases, {where}; {count} SNVs of random sequence measured)"
    }


def _words(tokenizer: Tokenizer) -> str:
    """The kind of a tokenizer, for people."""
    return {
        "kmer": f"{tokenizer.stride}-mers",
        "base": "bases",
        "overlapping": f"overlapping {tokenizer.coverage}-mers",
        "bpe": "byte pairs",
    }[tokenizer.kind]


def model_check(model: str) -> str:
    """Compare our numbers for a checkpoint with numbers that are not ours.

    With the outputs that its authors recorded, if it is a checkpoint that has some; otherwise with
    those of transformers' own class, if it has one. Weights that were fetched have to be those that
    were fetched, in any family.

    Raises:
        ModelError: they differ by more than float32 explains, or are not numbers; or the weights
            are not those that were fetched.
    """
    source = locate(model)
    _refuse_changed_weights(source)
    record = recorded(source.model_id, source.revision)
    if record is not None:
        return _check_record(source, record)
    # Here and not above: transformers takes seconds to import.
    from ntvep.models.second_opinion import compare

    found = compare(source.folder)
    if found is None:
        return _check_alone(source)
    ids = {True: "equal", False: "differ", None: "not compared: transformers has no tokenizer"}
    verdict = (
        f"{source.model_id}: largest difference of a logit {found.logits:.1e}, token ids "
        f"{ids[found.ids_equal]}"
    )
    if not found.agrees:
        raise ModelError(
            f"{verdict}; expected the numbers of transformers. Do not use scores of this checkpoint"
        )
    return f"{verdict}: agrees with transformers"


def _refuse_changed_weights(source: Source) -> None:
    """Compare the weights with the digest that was recorded when they were fetched, if any was."""
    fetched = read_record(source.folder).get("weights_sha256")
    if fetched is not None and (found := weights_sha256(weight_files(source.folder))) != fetched:
        raise ModelError(
            f"{source.model_id}: the weights in {source.folder} have sha256 {found:.12}, but the "
            f"fetched ones had {fetched!s:.12}; remove the folder and fetch the model again with: "
            "ntvep model fetch ID"
        )


def _check_record(source: Source, record: Recorded) -> str:
    """The verdict on a checkpoint whose authors recorded outputs of these weights."""
    checkpoint = read_checkpoint(source.folder)
    off = deviation(record, checkpoint.description, checkpoint.encoder)
    verdict = (
        f"{source.model_id} at {record.revision[:8]}: largest difference from the outputs that its "
        f"authors recorded {off:.2g} of their tolerance"
    )
    # Not "off > 1", which a NaN is not.
    if not off <= 1:
        raise ModelError(
            f"{verdict}; expected at most 1. These are not the published weights: fetch the model "
            f"again with: ntvep model fetch {record.model} --revision {record.revision}"
        )
    return f"{verdict}: agrees with the published model"


def _check_alone(source: Source) -> str:
    """What can be said of a checkpoint that nothing is there to compare with."""
    checkpoint = read_checkpoint(source.folder)
    if not finite(checkpoint.description, checkpoint.encoder):
        raise ModelError(
            f"{source.model_id}: its logits of a random sequence are not all finite; do not use "
            "this checkpoint's scores. Fetch it again with: ntvep model fetch ID"
        )
    title, other = checkpoint.family.title, revisions(source.model_id)
    recordings = (
        f"its authors' outputs are recorded only for revision {other[0]}"
        if other
        else ("no outputs of these weights are recorded here")
    )
    return (
        f"{source.model_id}: all its tensors are used and its logits are finite, but there is no "
        f"second opinion on it here: transformers has no class of its own for {title}, and "
        f"{recordings}. ntvep's network for this family is tested against the authors' code with "
        "small random weights"
    )


def model_fetch(model: str, revision: str | None) -> str:
    """Put a model in place; see :func:`ntvep.models.fetch.fetch`."""
    source = fetch(model, revision)
    return (
        f"{source.model_id} at {source.revision or 'no revision'}: {source.folder}\n"
        f"licence: {licence(source)}"
    )
