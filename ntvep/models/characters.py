"""checkpoint folder -> the tokenizer of single letters that HyenaDNA and Caduceus share.

Its vocabulary is only in the authors' code: seven special tokens, then A, C, G, T, N. A folder may
hold a ``tokenizer_config.json``, which names the special tokens' ids; they are compared.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from ntvep.errors import ModelError
from ntvep.models.folder import parse_json, read_text
from ntvep.tokenizers.base import Base, base_tokenizer

CHARACTERS = (
    "[CLS]", "[SEP]", "[BOS]", "[MASK]", "[PAD]", "[RESERVED]", "[UNK]", "A", "C", "G", "T", "N",
)  # fmt: skip
CHARACTERS_SHA256 = hashlib.sha256("\n".join(CHARACTERS).encode()).hexdigest()


def character_tokenizer(folder: Path, vocab_size: int, *, masks: bool) -> Base:
    """The tokenizer, without the [SEP] that the authors' own appends: it would end every window.

    Args:
        folder: of the checkpoint.
        vocab_size: rows of the embedding; those after the twelve letters are padding.
        masks: whether the model has learned a mask.

    Raises:
        ModelError: the folder's files speak of another vocabulary.
    """
    path = folder / "tokenizer_config.json"
    if path.exists():
        _compare(path, parse_json(path, read_text(path)))
    if vocab_size < len(CHARACTERS):
        raise ModelError(
            f"{folder / 'config.json'}: {vocab_size} tokens, expected at least "
            f"{len(CHARACTERS)} ({', '.join(CHARACTERS)}); fetch the model again"
        )
    ids = {letter: CHARACTERS.index(letter) for letter in "ACGTN"}
    return base_tokenizer(ids, vocab_size, mask=CHARACTERS.index("[MASK]") if masks else None)


def _compare(path: Path, config: object) -> None:
    named = config.get("added_tokens_decoder", {}) if isinstance(config, Mapping) else None
    if not isinstance(named, Mapping):
        raise ModelError(f"{path}: expected a JSON object; fetch the model again")
    for number, token in named.items():
        content = token.get("content") if isinstance(token, Mapping) else token
        known = dict(zip(map(str, range(len(CHARACTERS))), CHARACTERS, strict=True))
        if known.get(str(number)) != content:
            raise ModelError(
                f"{path}: token {number} is {content!r:.40}, expected "
                f"{known.get(str(number), 'no such id')!r}: the folder holds another tokenizer; "
                "fetch the model again with: ntvep model fetch ID"
            )
