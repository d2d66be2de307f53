"""names of other people's scores -> which way each counts as more deleterious.

Fixed by what their authors publish, never chosen on labels. A name that is not known has no
direction, and is asked for: one that is guessed turns an AUROC of 1 into 0.
"""

import re
from collections.abc import Mapping, Sequence

from ntvep.errors import ConfigError

SIGNS = {"higher": 1, "lower": -1}
"""What is typed -> +1 if higher counts as more deleterious, -1 if lower does."""

# Words of a name, in lower case, letters and digits, without what separates them. The first
# line that holds decides.
_KNOWN: tuple[tuple[str, int], ...] = (
    # dbNSFP turns every score into a rank that rises with damage.
    (r"rankscore", 1),
    # An absolute value has no sign: larger means a larger effect.
    (r"\babs|absllr", 1),
    # Log-likelihood ratios of ALT: less likely is worse (Benegas et al. 2025; Ye et al. 2025).
    (r"\bgpn ?(msa|star)", -1),
    # Probability of being tolerated (Ng and Henikoff 2003).
    (r"\bsift", -1),
    (r"\bcadd|\bphred\b|\brawscore\b", 1),
    (r"\brevel\b", 1),
    (r"\balpha ?missense|\bam pathogenicity\b", 1),
    (r"\bpoly ?phen|\bpph2", 1),
    (r"\bphylo ?p\d*(way)?\b|\bphylo ?p", 1),
    (r"\bphast ?cons", 1),
    (r"\bgerp", 1),
    # Common alleles are tolerated: AF, MAF, AF_EXAC, gnomADe_AF, FAF95, AF_popmax, AC.
    (r"\b(m|f|e|g)?af\d*\b|\ballele (frequency|freq|count)\b|\bac\b|\bpopmax\b", -1),
    # The rarer a mutation is without selection, the more is it suspected.
    (r"\bmutation rate\b|\broulette", -1),
    # What is near a gene's start or an exon matters more.
    (r"\bdistance$", -1),
)


def known_direction(name: str) -> int | None:
    """+1 if higher counts as more deleterious, -1 if lower does, None for a name not known.

    In any spelling: ``AF_EXAC``, ``gnomad-af``, ``CADD_phred``, ``phyloP100way``, ``GPN-MSA``.
    """
    words = re.sub(r"[^a-z0-9]+", " ", name.lower()).strip()
    return next((sign for pattern, sign in _KNOWN if re.search(pattern, words)), None)


def parse_directions(texts: Sequence[str], option: str = "--direction") -> dict[str, int]:
    """Names -> signs, of what was typed as ``NAME:lower`` or ``NAME:higher``.

    Args:
        texts: as typed.
        option: where, for messages.

    Raises:
        ConfigError: another form, or a name with both directions.
    """
    said: dict[str, int] = {}
    for text in texts:
        name, colon, word = text.rpartition(":")
        if not (name and colon and word in SIGNS):
            raise ConfigError(f"{option} {text}: expected NAME:lower or NAME:higher")
        if said.setdefault(name, SIGNS[word]) != SIGNS[word]:
            raise ConfigError(f"{option} {name}: was said to be lower and higher; expected one")
    return said


def direction(name: str, said: Mapping[str, int], option: str) -> int:
    """The sign of a score or feature: what was said of it, else what is known.

    Args:
        name: of a score or feature.
        said: see :func:`parse_directions`.
        option: what to type to say it, without the direction, for the message.

    Raises:
        ConfigError: nothing was said, and the name is not known.
    """
    sign = said.get(name) or known_direction(name)
    if sign is None:
        raise ConfigError(
            f"{name}: is lower or higher more deleterious? It is none of the known names (CADD, "
            "REVEL, AlphaMissense, SIFT, PolyPhen, phyloP, GERP, GPN-Star, GPN-MSA, allele "
            f"frequencies, distances); type {option}:lower or {option}:higher"
        )
    return sign
