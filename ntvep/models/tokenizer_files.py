"""tokenizer's files of a checkpoint -> vocabulary, special tokens, and how text is segmented.

``tokenizer.json`` is read by the ``tokenizers`` library itself. transformers' AutoTokenizer is not
used: of a file whose ``tokenizer_class`` is absent or is one of several classes, its release 5
rebuilds the normalizer, the pre-tokenizer and the specials by that class' own rules, and the same
file gives other ids without a warning.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Library

from ntvep.errors import ModelError
from ntvep.models.folder import parse_json, read_text
from ntvep.tokenizers.base import Base, base_tokenizer
from ntvep.tokenizers.bpe import Bpe, Segment, bpe_tokenizer

_AGAIN = "fetch the model again with: ntvep model fetch ID"
# Every base beside every other, and a run of each: what any vocabulary of DNA can spell.
_PROBE = "ACGTTGCATCAGGATCCTAAGCCCGGGGGTTTTTTAAAAACCCCCAGTCGA"


@dataclass(frozen=True)
class TokenizerFile:
    """What a ``tokenizer.json`` says.

    Attributes:
        path: the file.
        sha256: of its bytes.
        tokens: spelling of each id; "" for an id that has none.
        front, back: ids before and after the bases of every input.
        segment: text -> ids without these, and the place of each.
    """

    path: Path
    sha256: str
    tokens: tuple[str, ...]
    front: tuple[int, ...]
    back: tuple[int, ...]
    segment: Segment

    def id_of(self, token: str) -> int:
        """The id of a token that must be there.

        Raises:
            ModelError: it is not.
        """
        try:
            return self.tokens.index(token)
        except ValueError as error:
            raise ModelError(
                f"{self.path}: no {token} among its {len(self.tokens)} tokens; expected the "
                f"tokenizer that was published with the model: {_AGAIN}"
            ) from error


def read_tokenizer_json(path: Path) -> TokenizerFile:
    """Read a ``tokenizer.json``.

    Raises:
        ModelError: it is missing, damaged, draws at random (BPE dropout), or cannot spell DNA.
    """
    text = read_text(path)
    try:
        library = Library.from_str(text)
    # The library knows of no class of its own.
    except Exception as error:
        raise ModelError(f"{path}: not a whole tokenizer.json ({error}); {_AGAIN}") from error
    if getattr(library.model, "dropout", None):
        raise ModelError(
            f"{path}: it drops merges at random (dropout {library.model.dropout}); expected a "
            f"tokenizer as it is used after training: {_AGAIN}"
        )
    # Some files were saved with the length of their authors' last training run.
    library.no_truncation()
    library.no_padding()
    tokens = _by_id(path, library.get_vocab(with_added_tokens=True))
    inner = library.encode(_PROBE, add_special_tokens=False).ids
    whole = library.encode(_PROBE).ids
    before = next((i for i in range(len(whole)) if whole[i : i + len(inner)] == inner), None)
    if not inner or before is None or "".join(tokens[i] for i in inner) != _PROBE:
        raise ModelError(
            f"{path}: {_PROBE[:8]}... becomes {' '.join(tokens[i] for i in inner[:4])} ...; "
            "expected a vocabulary that spells upper-case DNA letter by letter. Models of other "
            "alphabets cannot be run; see: ntvep model list"
        )
    front, back = tuple(whole[:before]), tuple(whole[before + len(inner) :])
    return TokenizerFile(path, file_sha256(path), tokens, front, back, _segmenter(path, library))


def _segmenter(path: Path, library: Library) -> Segment:
    def segment(text: str) -> tuple[list[int], list[tuple[int, int]]]:
        encoding = library.encode(text, add_special_tokens=False)
        return encoding.ids, tile(path, text, encoding.offsets)

    return segment


def tile(path: Path, text: str, offsets: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The stretch of the text that each token covers, without gaps.

    A run of N that a normalizer makes one token (GENA-LM: ten or more) is reported at one of its
    places only; the run's other Ns go to it too. Nothing but N may be left out.

    Raises:
        ModelError: two tokens cover the same place, or a letter other than N has no token.
    """
    tiles = []
    end = 0
    for start, stop in offsets:
        if start < end or stop <= start or (start > end and set(text[end:start]) != {"N"}):
            break
        tiles.append((end, stop))
        end = stop
    if len(tiles) < len(offsets) or set(text[end:]) - {"N"}:
        raise ModelError(
            f"{path}: the tokens of {text[max(0, end - 10) : end + 20]} do not tile it "
            f"(offsets {offsets[len(tiles) : len(tiles) + 3]}, expected one from {end} on), so "
            f"the tokens of a variant are unknown; see: ntvep model list"
        )
    if end < len(text):
        if not tiles or text[tiles[-1][0] : tiles[-1][1]].strip("N"):
            raise ModelError(
                f"{path}: the last {len(text) - end} N of a sequence have no token, so they cannot "
                "be placed; see: ntvep model list"
            )
        tiles[-1] = (tiles[-1][0], len(text))
    return tiles


def read_vocabulary_lines(path: Path) -> tuple[str, ...]:
    """The tokens of a ``vocab.txt``: one a line, the first is id 0.

    Raises:
        ModelError: the file is missing or no text.
    """
    return tuple(read_text(path).splitlines())


def read_vocabulary_json(path: Path) -> tuple[str, ...]:
    """The tokens of a ``vocab.json``, which maps each to its id.

    Raises:
        ModelError: the file is missing, damaged, or gives an id twice.
    """
    return _by_id(path, parse_json(path, read_text(path)))


def file_sha256(path: Path) -> str:
    """sha256 of the bytes of a file that has been read."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_byte_pairs(path: Path, vocab_size: int) -> tuple[TokenizerFile, Bpe | Base]:
    """The tokenizer of a masked model with a ``tokenizer.json``.

    A vocabulary without merges is one of single bases, and is used as such.

    Args:
        path: the file.
        vocab_size: logits of the model. There may be more than tokens (rows that pad the matrix).

    Raises:
        ModelError: see :func:`read_tokenizer_json`; an id has no logit; there is no ``[MASK]``.
    """
    file = read_tokenizer_json(path)
    check_ids(path, file.tokens, vocab_size)
    mask = file.id_of("[MASK]")
    spelled = {token: number for number, token in enumerate(file.tokens)}
    if all(len(token) == 1 for token in file.tokens if token and not token.strip("ACGT")):
        (unknown,) = file.segment("N")[0]
        letters = {letter: spelled[letter] for letter in "ACGT"} | {"N": unknown}
        return file, base_tokenizer(
            letters, vocab_size, mask=mask, front=file.front, back=file.back
        )
    return file, bpe_tokenizer(
        file.segment, file.tokens, vocab_size, mask=mask, front=file.front, back=file.back
    )


def check_ids(path: Path, tokens: Sequence[str], width: int) -> None:
    """Refuse a vocabulary with ids beyond the model's logits.

    Raises:
        ModelError: there are such.
    """
    if len(tokens) > width:
        raise ModelError(
            f"{path}: its last token, {tokens[-1][:20]!r}, is id {len(tokens) - 1}, but "
            f"config.json says vocab_size {width}, so the model has no logit for it; the folder "
            f"mixes two checkpoints: {_AGAIN}"
        )


def check_spelling(path: Path, tokens: Sequence[str], expected: Mapping[int, str]) -> None:
    """Refuse a vocabulary whose known ids have other tokens, for instance in another order.

    Raises:
        ModelError: an id is not the token that it was in training.
    """
    for number, token in expected.items():
        found = tokens[number] if number < len(tokens) else None
        if found != token:
            raise ModelError(
                f"{path}: id {number} is {found!r:.30}, but the model was trained with {token!r} "
                f"there; expected the tokenizer that was published with it: {_AGAIN}"
            )


def _by_id(path: Path, ids: Any) -> tuple[str, ...]:
    if not isinstance(ids, dict) or not ids or not all(type(i) is int for i in ids.values()):
        raise ModelError(f"{path}: expected a JSON object of tokens and their ids; {_AGAIN}")
    most = 4 * len(ids) + 1_000
    if min(ids.values()) < 0 or max(ids.values()) > most or len(set(ids.values())) < len(ids):
        raise ModelError(
            f"{path}: ids from {min(ids.values())} to {max(ids.values())} for {len(ids)} tokens; "
            f"expected each token to have an id of its own, and few gaps; {_AGAIN}"
        )
    tokens = [""] * (max(ids.values()) + 1)
    for token, number in ids.items():
        tokens[number] = token
    return tuple(tokens)
