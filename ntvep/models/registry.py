"""config.json -> the family that it belongs to: the list of families, in the order of trying."""

from pathlib import Path

from ntvep.errors import ModelError
from ntvep.models.family import Config, Family
from ntvep.models.gpn import GPN
from ntvep.models.nt import NT
from ntvep.models.phylogpn import PHYLOGPN

FAMILIES: tuple[Family, ...] = (NT, GPN, PHYLOGPN)


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
    raise ModelError(
        f"{folder}: config.json says {is_a!r:.80}; ntvep scores checkpoints of these families: "
        f"{known}. See them with: ntvep model list"
    )
