"""fetched checkpoint -> is it the published one: outputs that its authors recorded, and ours.

The numbers are of the real weights, in float32 on a CPU: songlab-cal/gpn (MIT licence, Copyright
(c) Gonzalo Benegas, see NOTICE), tests/fixtures/published_model_baseline.json at commit 7553aa44,
made with torch 2.13.0 and transformers 5.15.0. The authors' own tolerance is 1e-4, absolute and
relative.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from ntvep import dna
from ntvep.description import Description
from ntvep.models.family import Encoder

TOLERANCE = 1e-4

Rates = tuple[float, float, float, float]


@dataclass(frozen=True)
class Recorded:
    """What a published checkpoint makes of one sequence.

    Attributes:
        model: its id on the hub.
        revision: its commit.
        before, behind: places beyond the contig's ends on each side of the sequence.
        bases: the sequence.
        masked: the base that is masked, counted from 0; None where none is.
        first: first base whose outputs are recorded.
        logits: of A, C, G, T at this base and those after it.
    """

    model: str
    revision: str
    bases: str
    logits: tuple[Rates, ...]
    masked: int | None = None
    first: int = 0
    before: int = 0
    behind: int = 0


_BRASSICALES = (
    "CGGGTTAAAAATCTAGTTGTTATTATTAAAGGAAATAAAATATCCTCATAAAACAATTTGTTGTAATCTATCTTTGGGCTAATGTTCT"
    "TATCCTACAAGACGAACCCTGACCGTATTCGTCGTAGAAAAAAAATTGCTTCGATCCCATCATTGAGTTCAATAATCGGCGCACAAAG"
    "GCCGATTCATAAAAACTCTAGGCCCATTAAAGTAAAGCCCATTCTCAACCCTATCCAGTCTCCCTGTATATATATATTTACGACACCA"
    "ACCCAGCGTTGATATTTAATTTTCTTCAGTCAGAGATTTCGAAACCCTAGTCGATTTCGAGATCCAACTAACTCTGCTCCTTATCTCA"
    "GGTAAAATTCTCGCTCGAGAACTCAATTGCTTATCCAAAGTTCCAACTGAAGATGCTTTCCTACTGAATCTTAGGTTAATGTTTTGGA"
    "TTTGGAATCTTACCCGAAATTTCTCTGCAGCTTGTTGAATTTGCGAAGTATGGGAGACGCTAGAGACAACGAAGCCTACGAGGAGGAG"
    "CTCTTGGACTATGAAGAAGAAGACGAGAAGGTCCCAGATTCTGGAAACAAAGTTAACGGCGAAGCTGTGAAAAAGTGAGTTTTATGGT"
    "TTCCTCGATATGTTTCATGTATACTACTGTGTGTTTAAATTTGTCGATTCTTAGATTACTACTTGATAACAAGTAGCAGTATGT"
)

RECORDED = (
    Recorded(
        model="songlab/gpn-brassicales",
        revision="eb9c35d0d18571abe84390d22e74f2b21d319ce3",
        bases=_BRASSICALES,
        logits=(
            (4.850902557373047, -2.3440771102905273, -1.7025179862976074, -1.5116081237792969),
        ),
        masked=489,
        first=489,
    ),
    Recorded(
        model="songlab/PhyloGPN",
        revision="3556db4c469e67d25f0f7a0a6653b48be3eebf51",
        bases="TATAAA",
        logits=(
            (1.657668948173523, 1.1715941429138184, -0.17919513583183289, 4.094409465789795),
            (4.017791748046875, 0.46372413635253906, 1.1368529796600342, 1.2592138051986694),
            (1.0111850500106812, 0.9405909180641174, -0.048990264534950256, 3.8542890548706055),
            (3.950594902038574, 0.4236193895339966, 0.872953474521637, 1.416642665863037),
            (3.710705280303955, 0.8936814069747925, 0.36088457703590393, 1.8472843170166016),
            (3.6846303939819336, 0.7399911284446716, 0.7772029638290405, 1.458865761756897),
        ),
        before=240,
        behind=240,
    ),
)


def recorded(model: str, revision: str | None) -> Recorded | None:
    """What is recorded of a checkpoint, if it is.

    Args:
        model: its id on the hub.
        revision: the full commit that was fetched; another one may have other weights.
    """
    return next((r for r in RECORDED if (r.model, r.revision) == (model, revision)), None)


def revisions(model: str) -> tuple[str, ...]:
    """The commits of a model on the hub of which something is recorded."""
    return tuple(r.revision for r in RECORDED if r.model == model)


def finite(description: Description, encoder: Encoder) -> bool:
    """Whether an encoder on the CPU makes numbers of a random sequence of a short window."""
    bases = max(64, description.field, description.step)
    codes = np.random.default_rng(0).integers(0, 4, bases // description.step * description.step)
    ids = description.tokenizer.encode(codes.astype(np.uint8)).ids.astype(np.int64)
    with torch.inference_mode():
        last = encoder.hidden(torch.from_numpy(ids)[None])[1][0]
        return bool(torch.isfinite(encoder.logits(last)).all())


def outputs(
    wanted: Recorded, description: Description, encoder: Encoder
) -> Float[np.ndarray, "base 4"]:
    """What an encoder on the CPU makes of the sequence: logits of A, C, G, T, as recorded.

    Raises:
        ValueError: the model has no mask, or no tokens of single bases.
    """
    tokenizer = description.tokenizer
    if tokenizer.nucleotides is None or (wanted.masked is not None and tokenizer.mask is None):
        raise ValueError(f"{description.family} has no single bases, or no mask")
    outside = [np.full(n, dna.BEYOND, np.uint8) for n in (wanted.before, wanted.behind)]
    ids = tokenizer.encode(np.concatenate((outside[0], dna.encode(wanted.bases), outside[1]))).ids
    ids = ids.astype(np.int64)
    front = len(tokenizer.front)
    if wanted.masked is not None:
        ids[front + wanted.before + wanted.masked] = tokenizer.mask
    first = front + wanted.before + wanted.first - encoder.margin
    with torch.inference_mode():
        last = encoder.hidden(torch.from_numpy(ids)[None])[1][0]
        logits = encoder.logits(last[first : first + len(wanted.logits)])
    # The outputs of a rate model are only the four bases.
    if description.objective != "rates":
        logits = logits[:, list(tokenizer.nucleotides)]
    found: Float[np.ndarray, "base 4"] = logits.double().numpy()
    return found


def deviation(wanted: Recorded, description: Description, encoder: Encoder) -> float:
    """Largest difference from what is recorded, in tolerances: up to 1 is agreement.

    The tolerance of a number x is ``1e-4 + 1e-4 |x|``.
    """
    expected = np.array(wanted.logits)
    found = outputs(wanted, description, encoder)
    return float((np.abs(found - expected) / (TOLERANCE + TOLERANCE * np.abs(expected))).max())
