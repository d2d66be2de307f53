"""What options mean for a model, and which of them it refuses; provenance of old and new files."""

from dataclasses import replace

import pytest

from ntvep.commands.options import Options
from ntvep.commands.ready import settings_for
from ntvep.description import Description
from ntvep.errors import ConfigError
from ntvep.objectives import SCORE_NAMES, defined_scores
from ntvep.settings import Settings, View, fitting, parse_layer, parse_scores, parse_views
from ntvep.tokenizers.base import base_tokenizer
from tests.toy import like_nt
from tests.toy_families import tokenizer

# 20 tokens, one of them <cls>: windows of up to 19 6-mers.
KMERS = like_nt(20)
LETTERS = {"A": 3, "C": 4, "G": 5, "T": 6, "N": 2}
# 64 tokens, two of them special; trained with 60 bases; windows are multiples of 4 bases.
BASES = Description(
    "toy",
    "masked",
    base_tokenizer(LETTERS, 8, mask=0, front=[1], back=[7]),
    "",
    2,
    64,
    48,
    60,
    step=4,
)


@pytest.mark.parametrize(
    ("views", "expected"), [("1", 1), (1, 1), ("2", 2), ("12", 12), (12, 12), ("all", 12)]
)
def test_views_of_six_mers(views, expected):
    assert parse_views(views, KMERS) == expected


@pytest.mark.parametrize("views", ["0", "3", "", "-1", "every", "8"])
def test_other_views_are_refused(views):
    with pytest.raises(ConfigError, match=rf"--views is {views}; expected 1, 2 or all \(12\)"):
        parse_views(views, KMERS)


def test_views_follow_the_stride_and_the_strands():
    fours = replace(KMERS, tokenizer=tokenizer("kmer"), step=4)
    assert [parse_views(v, fours) for v in ("1", "2", "8", "all")] == [1, 2, 8, 8]
    assert [parse_views(v, BASES) for v in ("1", "2", "all")] == [1, 2, 2]
    with pytest.raises(ConfigError, match=r"expected 1, 2 or all \(2, for this model\)"):
        parse_views("12", BASES)
    # Where both strands agree by construction, the second pass would say the same.
    both = replace(BASES, strands_agree=True)
    assert [parse_views(v, both) for v in ("1", "2", "all")] == [1, 1, 1]


def test_the_order_of_views():
    def views(number, stride):
        return Settings(views=number).views_of(stride)

    assert views(1, 6) == (View(0, False),)
    assert views(2, 6) == (View(0, False), View(0, True))
    strands = [(phase, reverse) for phase in range(4) for reverse in (False, True)]
    assert views(8, 4) == tuple(View(*view) for view in strands)
    assert [Settings(views=v).with_sd for v in (1, 2, 8, 12)] == [False, False, True, True]


def test_score_names():
    assert parse_scores("l1, llr") == ("llr", "l1")
    assert parse_scores(["dot"]) == ("dot",)
    assert parse_scores("all") == SCORE_NAMES
    assert parse_scores("all", KMERS) == tuple(n for n in SCORE_NAMES if n != "llr_site")
    assert parse_scores("all", BASES) == defined_scores("masked", "base")
    assert "llr_marginal" not in parse_scores("all", BASES)
    for names in ("", "llr,", "LLR", "llr_sd"):
        with pytest.raises(ConfigError, match="unknown score '"):
            parse_scores(names)
    with pytest.raises(ConfigError, match=r"unknown score \(none given\)"):
        parse_scores([])


def test_layers():
    assert [parse_layer(layer, 3) for layer in ("last", "0", 2, "3")] == [None, 0, 2, None]
    for layer in ("4", "-1", "first", "1.5", ""):
        with pytest.raises(ConfigError, match=r"layers 0 \(input embeddings\) to 3 \(last\)"):
            parse_layer(layer, 3)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"pool": "max"}, "--pool is 'max'; expected mean or mean_cls"),
        ({"softmax": "some"}, "--softmax is 'some'; expected all or acgt"),
        ({"max_allele_bases": 0}, "--max-allele-bases is 0; expected 1 or more"),
        ({"max_n_fraction": 1.5}, "--max-n-fraction is 1.5; expected 0 to 1"),
        ({"max_n_fraction": -0.1}, "--max-n-fraction is -0.1; expected 0 to 1"),
        ({"max_n_fraction": float("nan")}, "--max-n-fraction is nan; expected 0 to 1"),
        ({"scores": ("llr", "x")}, "unknown score 'x'"),
    ],
)
def test_what_no_model_can_be_asked(wrong, message):
    with pytest.raises(ConfigError, match=message):
        Settings(**wrong)


@pytest.mark.parametrize(
    ("model", "asked", "message"),
    [
        (
            KMERS,
            {"window_bases": 0},
            "a window of 0 bases is not a multiple of 6.*--window-bases 6",
        ),
        (KMERS, {"window_bases": 4}, "not a multiple of 6, as this model needs.*--window-bases 6"),
        (KMERS, {"window_bases": 50}, "the nearest are --window-bases 48 or 54"),
        (KMERS, {"window_bases": 120}, r"it takes up to 114 bases \(20 tokens, 1 of them special"),
        (BASES, {"window_bases": 50}, "not a multiple of 4, as this model needs.*48 or 52"),
        (BASES, {"window_bases": 64}, r"it takes up to 62 bases \(64 tokens, 2 of them special"),
        # 3 tokens of the 7 begin with the changed base's; on the last base of its own, 6 * 4 - 5.
        (
            KMERS,
            {"window_bases": 42},
            "leaves room for 19 changed bases.*use --max-allele-bases 19",
        ),
        (
            BASES,
            {"window_bases": 20},
            "leaves room for 10 changed bases, but --max-allele-bases is",
        ),
        (
            KMERS,
            {"softmax": "acgt"},
            "--softmax acgt: this model does not have single-base tokens",
        ),
        (KMERS, {"anchor": 9}, "--anchor is 9; expected a multiple of 6 up to 37, half of the"),
        (KMERS, {"anchor": 42}, "--anchor is 42; expected a multiple of 6 up to 37"),
        (KMERS, {"anchor": 0}, "--anchor is 0; expected a multiple of 6"),
        (KMERS, {"anchor": -6}, "--anchor is -6; expected a multiple of 6"),
        (
            replace(BASES, tokenizer=base_tokenizer(LETTERS, 8, mask=0)),
            {"pool": "mean_cls", "window_bases": 60},
            "--pool mean_cls: this model has no special token before the bases",
        ),
    ],
)
def test_what_a_model_cannot_be_asked(model, asked, message):
    settings = Settings(**{"window_bases": 114, "max_allele_bases": 20} | asked)
    with pytest.raises(ConfigError, match=message):
        fitting(settings, model)


def test_what_fits_comes_back_as_it_is():
    for model, asked in (
        (KMERS, {"window_bases": 114, "anchor": 36}),
        (KMERS, {"window_bases": 48, "pool": "mean_cls"}),
        (BASES, {"window_bases": 60, "softmax": "acgt", "pool": "mean_cls", "anchor": 10}),
    ):
        settings = Settings(**{"max_allele_bases": 19} | asked)
        assert fitting(settings, model) is settings


def test_longer_than_it_was_trained_with():
    long = replace(BASES, max_tokens=200)
    settings = Settings(window_bases=100, max_allele_bases=20)
    with pytest.raises(ConfigError, match="longer than the 60 that this model was trained with"):
        fitting(settings, long)
    assert fitting(settings, long, beyond_training=True) is settings
    # How many tokens a byte-pair encoding makes of a window is not known before.
    pairs = replace(long, tokenizer=tokenizer("bpe"), max_tokens=20, step=1)
    assert fitting(settings, pairs, beyond_training=True) is settings


def test_windows_in_bases_or_in_kmers():
    def bases(model, **asked):
        return settings_for(model, Options(max_allele_bases=10, **asked)).window_bases

    assert bases(KMERS) == 114
    assert bases(KMERS, window_tokens=8) == bases(KMERS, window_bases=48) == 48
    assert bases(BASES) == 48
    with pytest.raises(ConfigError, match="have the same meaning; give one of them"):
        bases(KMERS, window_tokens=8, window_bases=48)
    with pytest.raises(ConfigError, match="this model has no k-mers; give --window-bases"):
        bases(BASES, window_tokens=8)
    for tokens in (0, 20):
        with pytest.raises(ConfigError, match=f"--window-tokens is {tokens}; .* takes 1 to 19"):
            bases(KMERS, window_tokens=tokens)
    with pytest.raises(ConfigError, match="a window of 0 bases"):
        bases(KMERS, window_bases=0)


def test_the_models_own_step_is_no_anchor():
    """It moves no window, so it must not make another fingerprint."""
    options = Options(max_allele_bases=10, anchor=6)
    assert settings_for(KMERS, options) == settings_for(KMERS, Options(max_allele_bases=10))
    assert settings_for(KMERS, replace(options, anchor=12)).anchor == 12


def test_to_dict_and_back():
    plain = Settings(("llr", "l1"), 96, 12, 3, "mean_cls", max_n_fraction=0.25)
    assert plain.to_dict() == {
        "scores": ["llr", "l1"],
        "window_bases": 96,
        "views": 12,
        "layer": 3,
        "pool": "mean_cls",
        "max_allele_bases": 50,
        "max_n_fraction": 0.25,
    }
    for settings in (plain, replace(plain, softmax="acgt", anchor=12)):
        assert Settings.from_dict(settings.to_dict()) == settings


def test_what_the_first_release_wrote():
    """It counted windows in 6-mers, and had the limit of the model among the settings."""
    old = {
        "scores": ["llr"],
        "window_tokens": 16,
        "max_tokens": 300,
        "views": 2,
        "layer": None,
        "pool": "mean",
        "max_allele_bases": 20,
        "max_n_fraction": 0.1,
    }
    assert Settings.from_dict(old) == Settings(("llr",), 96, max_allele_bases=20)
