"""model name -> what it is: ``ntvep model info``, ``check`` and ``fetch``."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from ntvep import dna
from ntvep.commands.options import Options
from ntvep.commands.ready import settings_for
from ntvep.dna import Dna
from ntvep.errors import ModelError
from ntvep.models.checkpoint import read_checkpoint
from ntvep.models.fetch import fetch
from ntvep.models.hub import licence, locate
from ntvep.models.loaded import load_model
from ntvep.pipeline import ScoringContext, score_alleles
from ntvep.schema import ALLELES, Status
from ntvep.windows import Span

# A measurement takes about so long, once the model is warm, ...
_SECONDS = 10.0
# ... and no more variants than these.
_MOST_MEASURED = 1_024


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
        "tokenizer": f"{tokenizer.kind}, {len(tokenizer.terms)} ids",
        "layers": f"{checkpoint.encoder.layers}, width {checkpoint.encoder.dim}",
        "parameters": f"{checkpoint.parameters:,}",
        "default window": f"{description.default_bases:,} bases"
        + (unit if tokenizer.kind == "kmer" else ""),
        "trained window": f"up to {description.trained_bases:,} bases",
        "longest input": f"{description.max_tokens:,} tokens, special ones included",
        "authors' score": family.authors,
        "weights sha256": checkpoint.weights_sha256,
        "licence": licence(source),
        "licence as published": family.licence,
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
        (row, 1, "random", pos + 1, ref, "ACGT"["ACGT".index(ref) - 1], Status.OK)
        for row, pos in enumerate(places.tolist())
        for ref in [str(letters[pos])]
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


def model_check(model: str) -> str:
    """Compare our numbers for a checkpoint with those of transformers' own implementation.

    Raises:
        ModelError: they differ by more than float32 explains.
    """
    # Here and not above: transformers takes seconds to import, and only this command needs it.
    from ntvep.models.second_opinion import compare

    source = locate(model)
    found = compare(source.folder)
    verdict = (
        f"{source.model_id}: largest difference of a logit {found.logits:.1e}, token ids "
        f"{'equal' if found.ids_equal else 'differ'}"
    )
    if not found.agrees:
        raise ModelError(
            f"{verdict}; expected the numbers of transformers. Do not use this checkpoint's scores"
        )
    return f"{verdict}: agrees with transformers"


def model_fetch(model: str, revision: str | None) -> str:
    """Put a model in place; see :func:`ntvep.models.fetch.fetch`."""
    source = fetch(model, revision)
    return (
        f"{source.model_id} at {source.revision or 'no revision'}: {source.folder}\n"
        f"licence: {licence(source)}"
    )
