"""variants, sequences -> scores, embeddings, log-probabilities: the Python API.

    import ntvep

    model = ntvep.load("demo")
    model.score("in.vcf.gz", reference="GRCh38.fa", scores="llr,cosine_distance")

Scores are for research, not for diagnosis.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np
import polars as pl
from jaxtyping import Float64, Int64

from ntvep import dna
from ntvep.commands.given import Variants, alleles_given, as_path, by_records
from ntvep.commands.inputs import judge_alleles, judge_assembly, opened_vcf
from ntvep.commands.options import OnBadRecord, Options
from ntvep.commands.places import places_of
from ntvep.commands.ready import Ready, ready_with, score_chunks
from ntvep.commands.scan import alleles_of
from ntvep.errors import ConfigError
from ntvep.io import vcf
from ntvep.io.fasta import FastaReference, open_reference
from ntvep.models.loaded import LoadedModel, load_model
from ntvep.objectives import Pool, Softmax
from ntvep.passes import Answers, Inputs, LanguageModel, Questions
from ntvep.pipeline import HasFloat32, Scored
from ntvep.settings import parse_layer
from ntvep.tokens import Tokens


class ScoreOptions(TypedDict, total=False):
    """Options of scoring: those of the command line, with underscores.

    See :class:`ntvep.Options` for what each means and its default.
    """

    scores: str | Sequence[str]
    window_bases: int | None
    window_tokens: int | None
    beyond_training: bool
    views: str | int
    anchor: int | None
    softmax: Softmax
    layer: str | int
    pool: Pool
    max_allele_bases: int
    max_n_fraction: float
    on_bad_record: OnBadRecord
    ref_mismatch_limit: float
    cache: str | Path | None
    known: str | Path | Sequence[str | Path]
    background: str | Path | None


def load(
    model: str | Path,
    *,
    device: str = "auto",
    precision: str = "auto",
    batch_size: int | None = None,
    deterministic: bool = False,
    threads: int | None = None,
) -> "Model":
    """Load a model once; it serves any number of calls, and of threads.

    Args:
        model: a checkpoint folder, a hub id that has been fetched (``ntvep model fetch ID``), or
            ``demo``. Nothing is downloaded.
        device: auto, cpu, cuda or mps.
        precision: of matrix products: auto, fp32, tf32, fp16, bf16 or mixed.
        batch_size: passes in a batch; None finds one.
        deterministic: on a GPU too, no bit of a score depends on what else is scored.
        threads: CPU threads, for the whole process; None leaves torch's choice.

    Raises:
        ModelError: the model is missing, damaged, or of no family that ntvep has.
        ConfigError: an option does not fit this machine or this model.
    """
    loaded = load_model(
        str(model),
        device=device,
        precision=precision,
        batch_size=batch_size,
        deterministic=deterministic,
        threads=threads,
    )
    return Model(loaded, deterministic)


def scan(
    model: "Model",
    region: str | Sequence[str],
    *,
    reference: str | Path,
    deletions: bool = False,
    quiet: bool = False,
    **options: Unpack[ScoreOptions],
) -> pl.DataFrame:
    """Score every SNV of one or more regions.

    Args:
        model: that scores.
        region: ``CONTIG:FIRST-LAST``, 1-based, both ends included; or several.
        reference: FASTA.
        deletions: also score each deletion of one base.
        quiet: no progress bar.
        **options: see :class:`~ntvep.api.ScoreOptions`.

    Returns:
        SCORES, as of :meth:`Model.score`, in the order of the genome.
    """
    genome = open_reference(Path(reference))
    places = places_of(genome, [region] if isinstance(region, str) else region)
    alleles = alleles_of(genome, places, deletions)
    return model._scored(genome, alleles, quiet, _options(options))


class Model:
    """A model that is ready to score; made by :func:`load`."""

    def __init__(self, loaded: LoadedModel, deterministic: bool = False) -> None:
        lock = threading.Lock()
        self._deterministic = deterministic
        self._loaded = LoadedModel(
            _OneAtATime(loaded.model, lock), loaded.description, loaded.identity, loaded.licence
        )

    def __repr__(self) -> str:
        """Which model it is, in a line."""
        which, model = self._loaded.identity, self._loaded.description
        return (
            f"ntvep.Model({which.model_id!r}, {model.objective}, {model.tokenizer.kind} tokens, "
            f"windows of {model.default_bases:,} bases, {which.precision} on {which.device})"
        )

    @property
    def name(self) -> str:
        """Hub id, or the folder's name."""
        return self._loaded.identity.model_id

    @property
    def licence(self) -> str:
        """Of the weights."""
        return self._loaded.licence

    def score(
        self,
        variants: Variants,
        *,
        reference: str | Path,
        quiet: bool = False,
        **options: Unpack[ScoreOptions],
    ) -> pl.DataFrame:
        """Score variants.

        Args:
            variants: the path of a VCF (plain, gzip, bgzip) or BCF; a polars or pandas data frame
                with the columns chrom, pos (1-based), ref and alt; a list of such tuples; or
                ``"chr22:20050000:A:G"``, alone or in a list. ALT may hold several alleles, joined
                by commas.
            reference: FASTA of the same assembly.
            quiet: no progress bar.
            **options: see :class:`~ntvep.api.ScoreOptions`; for example
                ``scores="llr,cosine_distance"``.

        Returns:
            SCORES: a row for each ALT allele, in the order of the input, with ``chrom``, ``pos``,
            ``ref``, ``alt``, ``status`` and its scores; those are null where the status is not
            ``ok``. ``ntvep/schema.py`` gives units. ``record`` and ``allele`` number the input.

        Raises:
            NtvepError: its text says what was found, where, what was expected and what to do.
        """
        genome, asked = open_reference(Path(reference)), _options(options)
        if (path := as_path(variants)) is not None:
            return self._score_vcf(path, genome, quiet, asked)
        alleles = alleles_given(variants)
        contigs = alleles["chrom"].unique(maintain_order=True).to_list()
        parts = alleles.iter_slices(1_000)
        judge_alleles("variants", contigs, alleles.height, parts, genome, asked.ref_mismatch_limit)
        return self._scored(genome, alleles, quiet, asked)

    def embeddings(
        self, sequences: Sequence[str], *, layer: str | int = "last", pool: Pool = "mean"
    ) -> Float64[np.ndarray, "sequence dim"]:
        """Mean hidden state of each sequence.

        Args:
            sequences: of A, C, G, T, N in either case; each as long as the model takes.
            layer: ``last``, or a number from 0 (input embeddings).
            pool: what is averaged: ``mean`` the nucleotide tokens (of a rate model, the bases that
                have an output), ``mean_cls`` also the special tokens before them.

        Returns:
            float64, a row for each sequence.
        """
        inputs = self._tokens(sequences)
        number = parse_layer(layer, self._loaded.description.layers)
        every = np.arange(len(inputs))
        return self._ask(inputs, pooled=every, layer=number, pool=pool).pooled

    def log_probs(
        self, sequences: Sequence[str], positions: Sequence[int]
    ) -> Float64[np.ndarray, "sequence 4"]:
        """Log-probabilities of A, C, G, T at one place of each sequence, nats.

        Of a masked model with the token there masked, summed over the k-mers that have the base
        there if its tokens are k-mers; of a causal model given the bases before it; of a rate model
        the log rates, which do not sum to one.

        Args:
            sequences: of A, C, G, T, N in either case; each as long as the model takes.
            positions: a 0-based place in each.

        Returns:
            float64, a row for each sequence, columns A, C, G, T.

        Raises:
            ConfigError: the model's tokens are of several lengths, or overlap; or a place is
                outside its sequence, or cannot be predicted.
        """
        model, tokenizer = self._loaded.description, self._loaded.description.tokenizer
        if tokenizer.kind not in ("base", "kmer"):
            raise ConfigError(
                "log_probs needs single-base or k-mer tokens; those of this model are "
                f"{tokenizer.kind}"
            )
        inputs = self._tokens(sequences)
        places = [
            _token_of(number, tokens, position, model.objective, tokenizer.stride)
            for number, (tokens, position) in enumerate(zip(inputs, positions, strict=True))
        ]
        numbers, at = np.arange(len(inputs)), np.array(places, np.int64)
        rows = np.stack((numbers, at), axis=1)
        edits = np.zeros((0, 3), np.int64)
        if model.objective == "masked":
            edits = np.concatenate((rows, np.full((len(rows), 1), tokenizer.mask)), axis=1)
        if tokenizer.kind == "base":
            ids = np.array(tokenizer.nucleotides, np.int64)
            asked = np.stack((np.repeat(numbers, 4), np.tile(ids, len(inputs))), axis=1)
            found = self._ask(inputs, edits, rows=rows, tokens=asked).tokens
            return found.reshape(-1, 4).astype(np.float64)
        offsets = np.array(positions) - [
            int(tokens.places.starts[i]) for tokens, i in zip(inputs, places, strict=True)
        ]
        given = np.zeros((len(inputs), 3), np.int64)
        given[:, 0] = numbers
        if model.objective == "causal":
            for number, (tokens, i) in enumerate(zip(inputs, places, strict=True)):
                offset = int(offsets[number])
                given[number, 1:] = offset, tokenizer.prefix(int(tokens.ids[i]), offset)
        bases = self._ask(inputs, edits, rows=rows, bases=given).bases[numbers, offsets]
        total: Float64[np.ndarray, "sequence 1"] = np.exp(bases).sum(axis=1, keepdims=True)
        normalised: Float64[np.ndarray, "sequence 4"] = bases - np.log(total)
        return normalised

    def _tokens(self, sequences: Sequence[str]) -> list[Tokens]:
        """Tokens of sequences that the model can read."""
        model, made = self._loaded.description, []
        if isinstance(sequences, str):
            raise ConfigError("one string was given; expected a list of sequences")
        for number, sequence in enumerate(sequences):
            tokens = model.tokenizer.encode(dna.encode(sequence))
            if not max(1, model.field) <= len(tokens.ids) <= model.max_tokens:
                raise ConfigError(
                    f"sequence {number}: {len(sequence)} bases are {len(tokens.ids)} tokens; this "
                    f"model takes {max(1, model.field)} to {model.max_tokens}"
                )
            made.append(tokens)
        return made

    def _ask(
        self,
        sequences: Sequence[Tokens],
        edits: Int64[np.ndarray, "edit 3"] | None = None,
        **asked: Any,
    ) -> Answers:
        """Ask the model of each sequence what is named, and nothing else."""
        widths = {"rows": 2, "tokens": 2, "bases": 3, "hidden": 2, "likelihood": 2}
        nothing = {name: np.zeros((0, width), np.int64) for name, width in widths.items()}
        flat = dict.fromkeys(("entropy", "pooled"), np.zeros(0, np.int64))
        none = np.full(len(sequences), -1)
        edits = np.zeros((0, 3), np.int64) if edits is None else edits
        inputs = Inputs(tuple(sequences), np.arange(len(sequences)), edits, none, none * 0)
        return self._loaded.model.answer(Questions(inputs, **{**nothing, **flat, **asked}))

    def _score_vcf(
        self, path: Path, genome: FastaReference, quiet: bool, options: Options
    ) -> pl.DataFrame:
        with opened_vcf(path, options.on_bad_record) as inspection:
            judge_assembly(inspection, genome, options.ref_mismatch_limit)
            made = self._ready(genome, options)
            read = partial(vcf.read_chunks, inspection)
            return _collected(made, read, inspection.records, quiet)

    def _scored(
        self, genome: FastaReference, alleles: pl.DataFrame, quiet: bool, options: Options
    ) -> pl.DataFrame:
        made = self._ready(genome, options)
        records = alleles["record"].n_unique()
        return _collected(made, partial(by_records, alleles), records, quiet)

    def _ready(self, genome: FastaReference, options: Options) -> Ready:
        return ready_with(self._loaded, genome, options)


@dataclass(frozen=True)
class _OneAtATime:
    """A model that several threads may ask."""

    model: LanguageModel
    lock: threading.Lock

    def answer(
        self, questions: Questions, on_passes: Callable[[int], None] | None = None
    ) -> Answers:
        """Wait for the others, then answer."""
        with self.lock:
            return self.model.answer(questions, on_passes)

    def in_float32(self) -> LanguageModel | None:
        """For what overflows; it too is asked one at a time."""
        full = self.model.in_float32() if isinstance(self.model, HasFloat32) else None
        return full and _OneAtATime(full, self.lock)


def _collected(
    made: Ready, read: Callable[[Iterable[int]], Iterator[Any]], records: int, quiet: bool
) -> pl.DataFrame:
    parts = [pl.DataFrame(schema={column.name: column.dtype for column in made.columns})]

    def use(_: object, scored: Scored) -> None:
        parts.append(scored.scores)

    score_chunks(read, records, made, use, quiet)
    return pl.concat(parts)


def _options(given: ScoreOptions) -> Options:
    """Options of one call; a wrong name is answered as Python does."""
    asked: dict[str, Any] = {**given}
    for name in ("cache", "background"):
        if asked.get(name) is not None:
            asked[name] = Path(asked[name])
    if "known" in asked:
        one_or_more = asked["known"]
        stores = [one_or_more] if isinstance(one_or_more, str | Path) else one_or_more
        asked["known"] = tuple(map(Path, stores))
    unknown = sorted(set(asked) - set(ScoreOptions.__annotations__))
    if unknown:
        raise TypeError(
            f"score() got an unexpected keyword argument {unknown[0]!r}; expected one of "
            f"{', '.join(ScoreOptions.__annotations__)}"
        )
    return Options(**asked)


def _token_of(number: int, tokens: Tokens, position: int, objective: str, stride: int) -> int:
    """Index of the token that holds a base."""
    if not 0 <= position < tokens.bases:
        raise ConfigError(
            f"sequence {number}: position {position}; expected 0 to {tokens.bases - 1}"
        )
    inside = (tokens.places.starts <= position) & (position < tokens.places.stops)
    place = int(np.flatnonzero(inside)[0])
    if tokens.places.stops[place] - tokens.places.starts[place] != stride:
        raise ConfigError(
            f"sequence {number}: position {position} is not in a whole token of {stride} bases, "
            "because of a nearby N or the end of the sequence"
        )
    if objective == "causal" and place == 0:
        raise ConfigError(
            f"sequence {number}: no base precedes position {position}, so this causal model does "
            "not predict it; give a sequence that begins earlier"
        )
    return place
