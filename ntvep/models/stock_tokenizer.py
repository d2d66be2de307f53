"""tokenizer.json or vocab.txt -> what kind of tokenizer it is, found by trying it out.

``tokenizer.json`` is read by the library tokenizers itself: transformers' AutoTokenizer rebuilds
the parts of several classes and ignores those of the file, without a warning. A kind of tokenizer
is taken for granted only where ntvep's own gives the ids of the file, on sequences with Ns and of
lengths that are not a multiple of anything.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tokenizers

from ntvep import dna
from ntvep.errors import ModelError
from ntvep.models.folder import parse_json, read_text
from ntvep.tokenizers.base import base_tokenizer
from ntvep.tokenizers.bpe import Bpe, Segment
from ntvep.tokenizers.kmer import kmers, whole_kmer_tokenizer
from ntvep.tokens import Tokenizer

# Lengths of the sequences that a tokenizer is tried on.
_LENGTHS = (600, 600, 600, 599, 307)
# With Ns in them: single, in runs, at both ends.
_WITH_N = ("N", "NNNNNN", "ACGTNACGT", "NNACGTACGTNNNNNNNTTGCAN", "ACGTACNNNNNNNNNNNNNNNNNNACG")
_AGAIN = "fetch the model again with: ntvep model fetch ID"
_MASKS = ("[MASK]", "<mask>")


@dataclass(frozen=True)
class TokenizerFile:
    """A tokenizer, and what was found out about it.

    Attributes:
        tokenizer: ntvep's own of the kind found.
        sha256: of the file.
        ids: id of each token of the file.
        bases_per_token: of random sequence.
    """

    tokenizer: Tokenizer
    sha256: str
    ids: Mapping[str, int]
    bases_per_token: float


class _Around(NamedTuple):
    """Special tokens: the mask, and those before and after every sequence."""

    mask: int | None
    front: tuple[int, ...]
    back: tuple[int, ...]


def read_tokenizer(folder: Path, width: int, *, masked: bool) -> TokenizerFile:
    """The tokenizer of a checkpoint folder.

    Args:
        folder: of the checkpoint.
        width: number of ids that the model has, from config.json.
        masked: whether the model needs a mask.

    Raises:
        ModelError: there is none, it does not belong to this model, or ntvep has nothing like it.
    """
    settings = _settings(folder)
    path = folder / "tokenizer.json"
    if path.exists():
        text = read_text(path)
        parse_json(path, text)
        found = _from_json(path, text, settings, width, masked)
    elif (folder / "vocab.txt").exists():
        path = folder / "vocab.txt"
        found = _from_list(path, settings, width, masked)
    else:
        raise ModelError(
            f"{folder}: no tokenizer.json and no vocab.txt, so token ids are unknown; {_AGAIN}"
        )
    _refuse_mixed(path, found.ids, settings)
    return found


def read_vocabulary(path: Path) -> tuple[str, ...]:
    """The token strings of a vocab.txt; a token's place is its id.

    One token per line, or a token and its id.

    Raises:
        ModelError: the ids of the second format are not 0, 1, 2 ..., each once.
    """
    lines = read_text(path, f", so token ids are unknown; {_AGAIN}").splitlines()
    pairs = [line.split() for line in lines if line.strip()]
    if not all(len(pair) == 2 and re.fullmatch("[0-9]{1,9}", pair[1]) for pair in pairs):
        return tuple(lines)
    by_id = {int(pair[1]): pair[0] for pair in pairs}
    if sorted(by_id) != list(range(len(pairs))):
        raise ModelError(
            f"{path}: {len(pairs)} tokens, whose ids are not 0 to {len(pairs) - 1}, each once; "
            f"{_AGAIN}"
        )
    return tuple(by_id[i] for i in range(len(pairs)))


def _settings(folder: Path) -> Mapping[str, Any]:
    path = folder / "tokenizer_config.json"
    if not path.exists():
        return {}
    settings = parse_json(path, read_text(path))
    if not isinstance(settings, dict):
        raise ModelError(f"{path}: expected a JSON object; {_AGAIN}")
    return settings


def _named(settings: Mapping[str, Any], key: str) -> str | None:
    """The string of a special token, by its name in tokenizer_config.json."""
    token = settings.get(key)
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) else None


def _refuse_mixed(path: Path, ids: Mapping[str, int], settings: Mapping[str, Any]) -> None:
    """tokenizer_config.json lists special tokens by id: they have to be those of the other file."""
    listed = settings.get("added_tokens_decoder")
    for key, token in (listed if isinstance(listed, dict) else {}).items():
        content = token.get("content") if isinstance(token, dict) else None
        if isinstance(content, str) and str(ids.get(content)) != key:
            raise ModelError(
                f"{path}: {content!r:.40} is token {ids.get(content)}, but tokenizer_config.json "
                f"says {key:.20}; the folder mixes two tokenizers; {_AGAIN}"
            )


def _mask(
    path: Path, ids: Mapping[str, int], settings: Mapping[str, Any], masked: bool
) -> int | None:
    if not masked:
        return None
    for token in (_named(settings, "mask_token"), *_MASKS):
        if token is not None and token in ids:
            return ids[token]
    raise ModelError(
        f"{path}: the model is a masked language model, but its tokenizer has none of the tokens "
        f"{', '.join(_MASKS)} and tokenizer_config.json names no mask_token; {_AGAIN}"
    )


def _refuse_beyond(path: Path, ids: Mapping[str, int], width: int) -> None:
    """Ids that an input can hold must have rows in the model."""
    token, most = max(ids.items(), key=lambda item: item[1])
    if most >= width:
        raise ModelError(
            f"{path}: token {token!r:.40} has the id {most}, but the model's vocab_size is "
            f"{width}: this tokenizer belongs to another model; {_AGAIN}"
        )


def _from_list(path: Path, settings: Mapping[str, Any], width: int, masked: bool) -> TokenizerFile:
    """A vocabulary without rules: single bases can have but one."""
    tokens = read_vocabulary(path)
    ids = {token: number for number, token in enumerate(tokens)}
    if len(ids) != len(tokens):
        twice = next(token for number, token in enumerate(tokens) if ids[token] != number)
        raise ModelError(f"{path}: token {twice!r:.40} occurs twice; {_AGAIN}")
    if several := next((t for t in tokens if re.fullmatch("[ACGTN]{2,}", t)), None):
        raise ModelError(
            f"{path}: it holds tokens of several bases (first: {several:.40}), and no file says "
            "how sequence is cut into them; ntvep reads such a model only with a tokenizer.json, "
            "or as one of its own families. See them with: ntvep model list"
        )
    unknown = _named(settings, "unk_token")
    spelled = {letter: ids.get(letter, ids.get(letter.lower())) for letter in dna.LETTERS}
    if spelled["N"] is None and unknown is not None:
        spelled["N"] = ids.get(unknown)
    if missing := [letter for letter, number in spelled.items() if number is None]:
        raise ModelError(
            f"{path}: no token for {', '.join(missing)}; expected one for each of A, C, G, T and N "
            "(or an unk_token in tokenizer_config.json)"
        )
    letters = {letter: number for letter, number in spelled.items() if number is not None}
    front, back = _around(settings, ids, masked)
    _refuse_beyond(path, {**letters, **{tokens[i]: i for i in (*front, *back)}}, width)
    mask = _mask(path, ids, settings, masked)
    tokenizer = base_tokenizer(letters, width, mask=mask, front=front, back=back)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return TokenizerFile(tokenizer, digest, ids, 1.0)


def _around(
    settings: Mapping[str, Any], ids: Mapping[str, int], masked: bool
) -> tuple[list[int], list[int]]:
    """Special tokens before and after: BERT's of a masked model; a BOS where it is asked for."""
    if masked:
        front = (_named(settings, "cls_token") or "[CLS]",)
        back = (_named(settings, "sep_token") or "[SEP]",)
    else:
        first = _named(settings, "bos_token") if settings.get("add_bos_token") is True else None
        front, back = (first or "",), ("",)
    return [ids[t] for t in front if t in ids], [ids[t] for t in back if t in ids]


def _from_json(
    path: Path, text: str, settings: Mapping[str, Any], width: int, masked: bool
) -> TokenizerFile:
    try:
        read = tokenizers.Tokenizer.from_str(text)
    except Exception as error:
        # The library raises nothing narrower.
        raise ModelError(
            f"{path}: the library tokenizers cannot read it ({error!s:.200}); {_AGAIN}"
        ) from error
    if getattr(read.model, "dropout", None):
        raise ModelError(
            f"{path}: it drops merges at random (dropout {read.model.dropout}), which is only "
            f"done in training; {_AGAIN}"
        )
    # A file may ask for both.
    read.no_truncation()
    read.no_padding()
    ids: dict[str, int] = read.get_vocab(with_added_tokens=True)
    mask = _mask(path, ids, settings, masked)
    cut = partial(_cut, read, path, _case(read, path))
    front, back = _specials(read, path, cut)
    random = _random_sequences()
    per_token = sum(map(len, random)) / sum(len(cut(s, front, back)[0]) for s in random)
    tried = [*random, *_WITH_N]
    around = _Around(mask, front, back)
    segment: Segment = partial(_segment, cut, front, back)
    used = {*front, *back, *(i for s in tried for i in segment(s)[0])}
    _refuse_beyond(path, {str(read.id_to_token(i)): i for i in used}, width)
    tokenizer = None
    for candidate in (_as_base, _as_kmers):
        made = candidate(segment, width, around)
        if made is not None and all(_agree(made, segment, s) for s in tried):
            tokenizer = made
            break
    tokenizer = tokenizer or _as_bpe(path, segment, ids, width, around)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return TokenizerFile(tokenizer, digest, ids, per_token)


def _random_sequences() -> list[str]:
    """Random DNA, the same every time."""
    random = np.random.default_rng(20261121)
    return [dna.decode(random.integers(0, 4, n).astype(np.uint8)) for n in _LENGTHS]


def _case(read: tokenizers.Tokenizer, path: Path) -> Callable[[str], str]:
    """How letters have to be written: some vocabularies only have lower-case letters."""
    for spelling in (str.upper, str.lower):
        found = [
            tuple(read.encode(spelling(letter * 60), add_special_tokens=False).ids)
            for letter in "ACGT"
        ]
        if len(set(found)) == 4:
            return spelling
    raise ModelError(
        f"{path}: A, C, G and T are not four different tokens in upper or lower case; this is not "
        f"a DNA tokenizer; {_AGAIN}"
    )


def _specials(
    read: tokenizers.Tokenizer, path: Path, cut: Callable[..., Any]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Ids before and after every sequence."""
    found = set()
    for sequence in _random_sequences():
        encoding = cut(sequence)
        # The mask of special tokens leaves out a word-boundary mark, which spells no base either.
        bare = [
            bool(special) or not re.search("[A-Za-z]", read.id_to_token(i) or "")
            for i, special in zip(encoding.ids, encoding.special_tokens_mask, strict=True)
        ]
        first = bare.index(False) if False in bare else len(bare)
        last = bare[::-1].index(False) if False in bare else 0
        ids = tuple(encoding.ids)
        found.add((ids[:first], ids[len(ids) - last :]))
    if len(found) != 1:
        raise ModelError(
            f"{path}: the special tokens around a sequence depend on the sequence "
            f"({sorted(found)!r:.120}); ntvep needs the same ones around every window"
        )
    return found.pop()


def _cut(
    read: tokenizers.Tokenizer,
    path: Path,
    spelling: Callable[[str], str],
    sequence: str,
    front: tuple[int, ...] | None = None,
    back: tuple[int, ...] = (),
) -> Any:
    """The file's encoding of a sequence, or, if the special tokens are known, ids and offsets."""
    encoding = read.encode(spelling(sequence), add_special_tokens=True)
    if front is None:
        return encoding
    ids, offsets = encoding.ids, encoding.offsets
    last = len(ids) - len(back)
    if tuple(ids[: len(front)]) != front or tuple(ids[last:]) != back:
        raise ModelError(
            f"{path}: a sequence of {len(sequence)} bases has different special tokens around it; "
            "ntvep needs the same ones around every window"
        )
    ids, offsets = ids[len(front) : last], offsets[len(front) : last]
    edges = [0, *(stop for _, stop in offsets)]
    starts = [start for start, _ in offsets]
    # Where a run of N becomes one token the library gives it only the place of the last N.
    for edge, start in zip(edges, starts, strict=False):
        if start < edge or not set(sequence[edge:start]) <= {"N"}:
            break
    else:
        if edges[-1] == len(sequence):
            return ids, list(pairwise(edges))
    raise ModelError(
        f"{path}: the tokens of a sequence of {len(sequence)} bases do not follow each other "
        "without a gap, so variants cannot be found among them; ntvep does not score with this "
        "tokenizer"
    )


def _segment(
    cut: Callable[..., Any], front: tuple[int, ...], back: tuple[int, ...], sequence: str
) -> tuple[Sequence[int], Sequence[tuple[int, int]]]:
    ids, offsets = cut(sequence, front, back)
    return ids, offsets


def _as_base(segment: Segment, width: int, around: _Around) -> Tokenizer | None:
    """A tokenizer of single bases with the file's ids, if it may be one."""
    spelled = {letter: segment(letter)[0] for letter in dna.LETTERS}
    if any(len(ids) != 1 for ids in spelled.values()):
        return None
    ids = {letter: found[0] for letter, found in spelled.items()}
    if len({ids[letter] for letter in "ACGT"}) < 4:
        # A file of k-mers knows no single letter.
        return None
    return base_tokenizer(ids, width, mask=around.mask, front=around.front, back=around.back)


def _as_kmers(segment: Segment, width: int, around: _Around) -> Tokenizer | None:
    """A tokenizer of k-mers that do not overlap, with one unknown token, if it may be one."""
    sequence = _random_sequences()[0]
    k = segment(sequence)[1][0][1]
    if not 2 <= k <= 8 or around.back or around.mask is not None:
        return None
    spelled = [segment(kmer)[0] for kmer in kmers(k)]
    unknown = segment("N" * k)[0]
    if any(len(ids) != 1 for ids in (*spelled, unknown)):
        return None
    return whole_kmer_tokenizer(
        [ids[0] for ids in spelled], unknown[0], width, k=k, front=around.front
    )


def _as_bpe(
    path: Path, segment: Segment, ids: Mapping[str, int], width: int, around: _Around
) -> Tokenizer:
    """A tokenizer whose tokens have many lengths: the file itself cuts."""
    spelled = {t: i for t, i in ids.items() if re.fullmatch("[▁Ġ]?[ACGTNacgtn]+", t)}
    _refuse_beyond(path, spelled, width)
    terms = np.zeros(width, bool)
    terms[[i for t, i in spelled.items() if re.fullmatch("[▁Ġ]?[ACGTacgt]+", t)]] = True
    return Bpe(segment, around.mask, around.front, around.back, terms)


def _agree(tokenizer: Tokenizer, segment: Segment, sequence: str) -> bool:
    """Whether ntvep's own tokenizer cuts a sequence as the file does."""
    ids, offsets = segment(sequence)
    tokens = tokenizer.encode(dna.encode(sequence))
    inner = slice(len(tokenizer.front), len(tokens.ids) - len(tokenizer.back))
    places = zip(tokens.places.starts[inner], tokens.places.stops[inner], strict=True)
    expected = [*tokenizer.front, *ids, *tokenizer.back]
    return expected == tokens.ids.tolist() and list(offsets) == [
        (int(start), int(stop)) for start, stop in places
    ]
