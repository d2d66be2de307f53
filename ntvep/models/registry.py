"""config.json -> the family that it belongs to: the list of families, in the order of trying."""

from pathlib import Path

from ntvep.errors import ModelError
from ntvep.models.caduceus import CADUCEUS
from ntvep.models.carbon import CARBON
from ntvep.models.dnabert import DNABERT
from ntvep.models.dnabert2 import DNABERT2
from ntvep.models.evo2 import EVO2
from ntvep.models.family import Config, Family
from ntvep.models.gena import GENA
from ntvep.models.generator import GENERATOR
from ntvep.models.gpn import GPN
from ntvep.models.hyenadna import HYENADNA
from ntvep.models.marin_dna import MARIN_DNA
from ntvep.models.moderngena import MODERNGENA
from ntvep.models.mutbert import MUTBERT
from ntvep.models.nt import NT
from ntvep.models.ntv3 import NTV3
from ntvep.models.phylogpn import PHYLOGPN
from ntvep.models.stock import STOCK

# The last one takes whatever transformers has a class for.
FAMILIES: tuple[Family, ...] = (
    NT,
    GPN,
    PHYLOGPN,
    DNABERT,
    DNABERT2,
    GENA,
    MODERNGENA,
    MUTBERT,
    HYENADNA,
    CADUCEUS,
    NTV3,
    EVO2,
    MARIN_DNA,
    GENERATOR,
    CARBON,
    STOCK,
)


def family_of(folder: Path, config: Config) -> Family:
    """The first family that recognises a config.json.

    Raises:
        ModelError: none does; says what the folder is and what ntvep scores.
    """
    for family in FAMILIES:
        if family.recognises(config):
            return family
    is_a = config.get("architectures") or config.get("model_type") or "no known architecture"
    known = ", ".join(family.title for family in FAMILIES)
    code = " (its auto_map names custom code, which ntvep never runs)"
    raise ModelError(
        f"{folder}: config.json says {is_a!r:.80}{code if 'auto_map' in config else ''}; ntvep "
        f"scores checkpoints of these families: {known}. See them with: ntvep model list"
    )
