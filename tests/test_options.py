"""Every option of the commands that score arrives where it belongs, and nothing else changes."""

import inspect
import logging
import sys
from importlib import import_module
from pathlib import Path

import pytest
import typer

from ntvep import cli
from ntvep.commands.options import Options
from ntvep.commands.shards import Shards
from ntvep.commands.show import Beside
from ntvep.commands.verify import Verification

# Option -> what is typed behind it, and what of the call it changes. A flag has nothing behind it.
SHARED = {
    "--verbose": ((), {"log": logging.DEBUG}),
}
SCORING = {
    "--scores": (("llr,l1",), {"scores": "llr,l1"}),
    "--window-bases": (("96",), {"window_bases": 96}),
    "--window-tokens": (("17",), {"window_tokens": 17}),
    "--beyond-training": ((), {"beyond_training": True}),
    "--views": (("all",), {"views": "all"}),
    "--anchor": (("12",), {"anchor": 12}),
    "--max-n-fraction": (("0.25",), {"max_n_fraction": 0.25}),
    "--force": ((), {"force": True}),
}
RUNNING = {
    "--softmax": (("acgt",), {"softmax": "acgt"}),
    "--layer": (("3",), {"layer": "3"}),
    "--pool": (("mean_cls",), {"pool": "mean_cls"}),
    "--device": (("mps",), {"device": "mps"}),
    "--precision": (("bf16",), {"precision": "bf16"}),
    "--batch-size": (("9",), {"batch_size": 9}),
    "--deterministic": ((), {"deterministic": True}),
    "--threads": (("3",), {"threads": 3}),
    "--cache": (("known",), {"cache": Path("known")}),
    "--fingerprint": (("abc",), {"fingerprint": "abc"}),
    "--quiet": ((), {"quiet": True, "log": logging.WARNING}),
}
INPUT = {
    "--max-allele-bases": (("11",), {"max_allele_bases": 11}),
    "--on-bad-record": (("skip",), {"on_bad_record": "skip"}),
    "--ref-mismatch-limit": (("0.5",), {"ref_mismatch_limit": 0.5}),
}
TABLE = {"--table": (("t.parquet",), {"table": Path("t.parquet")})}
NAMED = ("--reference", "r.fa", "--model", "m")
KNOWN = {"--known": (("a.store,b.store",), {"known": (Path("a.store"), Path("b.store"))})}
BACKGROUND = {"--background": (("b.parquet",), {"background": Path("b.parquet")})}
# Words of a command -> what it calls, what it must be given, its options.
COMMANDS = {
    ("score",): (
        "ntvep.commands.score.score_file",
        ("in.vcf", *NAMED, "--output", "o.vcf"),
        SHARED
        | SCORING
        | RUNNING
        | INPUT
        | TABLE
        | BACKGROUND
        | KNOWN
        | {
            "--refuse-annotated": ((), {"refuse_annotated": True}),
            "--strict": ((), {"strict": True}),
            "--regions": (("c:1-9",), {"regions": ["c:1-9"]}),
            "--pass-only": ((), {"pass_only": True}),
            "--tag": (("A",), {"tag": "A"}),
            "--show-ref": ((), {"show_ref": True}),
        },
    ),
    ("scan",): (
        "ntvep.commands.scan.scan_regions",
        ("--region", "c:1-9", *NAMED, "--output", "o.vcf"),
        SHARED
        | SCORING
        | RUNNING
        | TABLE
        | BACKGROUND
        | {
            "--deletions": ((), {"deletions": True}),
            "--bed": (("in.bed",), {"bed": Path("in.bed")}),
            "--shards": (("7",), {"shards": Shards(7)}),
            # It needs the other.
            "--shard": (("3", "--shards", "7"), {"shards": Shards(7, 3)}),
            # It stands instead of a region: tests/test_shards.py.
            "--genome": None,
        },
    ),
    ("background", "draw"): (
        "ntvep.commands.background.draw_background",
        (*NAMED, "--output", "o.parquet"),
        # The one score that is drawn is not chosen.
        {name: case for name, case in (SHARED | SCORING | RUNNING).items() if name != "--scores"}
        | KNOWN
        | {
            "--region": (("c:1-9",), {"regions": ["c:1-9"]}),
            "--bed": (("in.bed",), {"bed": Path("in.bed")}),
            "--indel-bases": (("7",), {"indel_bases": 7}),
            "--per-context": (("7",), {"per_context": 7}),
            "--seed": (("5",), {"seed": 5}),
        },
    ),
    ("variants",): (
        "ntvep.commands.variants.list_variants",
        ("in.vcf", "--reference", "r.fa"),
        SHARED
        | SCORING
        | INPUT
        | {
            "--model": (("m",), {"model": "m"}),
            "--output": (("o.tsv",), {"output": Path("o.tsv")}),
            "--quiet": ((), {"log": logging.WARNING}),
        },
    ),
    ("show",): (
        "ntvep.commands.show.show_variants",
        ("chr1:5:A:C", *NAMED),
        SHARED
        | SCORING
        | {
            name: case
            for name, case in RUNNING.items()
            if name not in ("--batch-size", "--deterministic", "--fingerprint")
        }
        | BACKGROUND
        | {
            "--quiet": ((), {"log": logging.WARNING}),
            "--output": (("o.html",), {"output": Path("o.html")}),
            "--max-allele-bases": (("11",), {"max_allele_bases": 11}),
            "--labels": (("l.vcf",), {"beside": Beside(labels=[Path("l.vcf")])}),
            "--against": (("a.bw",), {"beside": Beside(against=["a.bw"])}),
            "--genes": (("g.bed",), {"beside": Beside(genes=Path("g.bed"))}),
        },
    ),
    ("verify",): (
        "ntvep.commands.verify.verify",
        ("out.vcf", *NAMED),
        SHARED
        | {
            "--sample": (("7",), {"sample": 7}),
            "--seed": (("5",), {"seed": 5}),
            "--tolerance": (("0.5",), {"tolerance": 0.5}),
            "--tag": (("A",), {"tag": "A"}),
            "--device": (("cpu",), {"device": "cpu"}),
            "--precision": (("bf16",), {"precision": "bf16"}),
            "--quiet": ((), {"log": logging.WARNING}),
        },
    ),
}
# What a command must be given, and where that goes.
GIVEN = {
    ("score",): {
        "source": Path("in.vcf"),
        "reference": Path("r.fa"),
        "model": "m",
        "output": Path("o.vcf"),
    },
    ("scan",): {
        "regions": ["c:1-9"],
        "reference": Path("r.fa"),
        "model": "m",
        "output": Path("o.vcf"),
    },
    ("background", "draw"): {
        "reference": Path("r.fa"),
        "model": "m",
        "output": Path("o.parquet"),
        "scores": "all",
    },
    ("variants",): {"source": Path("in.vcf"), "reference": Path("r.fa"), "model": None},
    ("show",): {
        "variants": ["chr1:5:A:C"],
        "reference": Path("r.fa"),
        "model": "m",
        "output": None,
    },
    ("verify",): {"source": Path("out.vcf"), "reference": Path("r.fa"), "model": "m"},
}
CASES = [
    pytest.param(words, option, id=" ".join((*words, option)))
    for words, (_, _, options) in COMMANDS.items()
    for option, case in options.items()
    if case is not None
]


@pytest.fixture
def called(monkeypatch):
    """``called(words, *more)`` runs a command and gives what its function was called with.

    By the names of its parameters, with each field of Options on its own.
    """

    def call(words, *more):
        target, given, _ = COMMANDS[words]
        room, name = target.rsplit(".", 1)
        function = getattr(import_module(room), name)
        seen = {}

        def record(*args, **kwargs):
            bound = inspect.signature(function).bind(*args, **kwargs)
            bound.apply_defaults()
            seen.update(bound.arguments, log=logging.getLogger("ntvep").level)
            return Verification(0, 0, 0.0, ())

        with monkeypatch.context() as patch:
            patch.setattr(target, record)
            patch.setattr(sys, "argv", ["ntvep", *words, *given, *more])
            with pytest.raises(SystemExit) as left:
                cli.main()
        assert left.value.code == 0
        options = seen.pop("options", None)
        if options is not None:
            assert type(options) is Options
            # A command that makes its own records has regions of its own.
            assert vars(options).keys() & seen.keys() <= {"regions"}
            seen = vars(options) | seen
        # What was typed is part of the provenance.
        seen.pop("command", None)
        return seen

    return call


@pytest.mark.parametrize(("words", "option"), CASES)
def test_an_option_arrives_and_changes_nothing_else(called, words, option):
    typed, expected = COMMANDS[words][2][option]
    usual, found = called(words), called(words, option, *typed)
    assert found == usual | expected
    # What is typed is not what stands there without it.
    assert all(usual[name] != value for name, value in expected.items())


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_what_must_be_given_arrives(called, words):
    found = called(words)
    assert {name: found[name] for name in GIVEN[words]} == GIVEN[words]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_no_option_is_left_out_here(words):
    command = typer.main.get_command(cli.app)
    for word in words:
        command = command.commands[word]
    there = {max(p.opts, key=len) for p in command.params if p.param_type_name == "option"}
    _, given, options = COMMANDS[words]
    assert there - {"--help"} == {word for word in given if word[:2] == "--"} | set(options)


@pytest.mark.parametrize(
    "words", [words for words in COMMANDS if words != ("verify",)], ids=" ".join
)
def test_the_defaults_are_those_of_options(called, words):
    """``verify`` takes no Options: precision is by default that of the output."""
    found, usual = called(words), vars(Options())
    # A command that makes its own records has regions of its own.
    usual = {name: usual[name] for name in usual if name != "regions" or words == ("score",)}
    assert usual.keys() <= found.keys()
    assert {name: found[name] for name in usual} == usual
