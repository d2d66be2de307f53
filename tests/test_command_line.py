"""What the command line shows and how fast: help, version, completion."""

import resource
import subprocess
import sys

import ntvep
from tests.conftest import ROOT

SCRIPT = "import sys; from ntvep.cli import main; main()"


def ntvep_command(*words, **environment):
    """The command in a process of its own, as the shell starts it."""
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "COLUMNS": "110", **environment},
    )


def test_version():
    done = ntvep_command("--version")
    assert (done.returncode, done.stdout) == (0, f"ntvep {ntvep.__version__}\n")


def test_help_is_short_too():
    assert ntvep_command("score", "-h").stdout == ntvep_command("score", "--help").stdout
    assert "Usage: ntvep score" in ntvep_command("score", "-h").stdout


def test_no_help_names_the_type_of_a_flag():
    for words in ((), ("score",), ("labels", "clinvar"), ("model", "fetch")):
        text = ntvep_command(*words, "--help").stdout
        assert "--help" in text
        assert "bool" not in text, words
        # What takes a value still says what.
    assert "<path>" in ntvep_command("score", "--help").stdout


def test_completion():
    script = ntvep_command(
        "--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1"
    )
    assert "_NTVEP_COMPLETE=complete_bash" in script.stdout
    done = ntvep_command(
        _NTVEP_COMPLETE="complete_bash", COMP_WORDS="ntvep score --prec", COMP_CWORD="2"
    )
    assert done.stdout.split() == ["--precision"], done


def test_help_imports_nothing_heavy():
    """A tenth of a second, not five: no numbers, no tables, no model."""
    said = "import sys, atexit; atexit.register(lambda: print(*sys.modules, file=sys.stderr))"
    code = f"{said}\n{SCRIPT}"
    done = subprocess.run(
        [sys.executable, "-c", code, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    heavy = {"numpy", "polars", "torch", "pyarrow", "pysam", "jaxtyping", "importlib.metadata"}
    assert not heavy & {*done.stderr.split()}


def test_help_takes_less_than_a_third_of_a_second():
    """Processor time, the least of five: other work on the machine does not count."""
    times = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert ntvep_command("--help").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(times) < 0.33, times


def test_a_nucleotide_transformer_is_loaded_without_transformers():
    """``ntvep score`` is at its model soon: that library takes longer to import than torch."""
    code = (
        "import sys, ntvep.commands.typed; from ntvep.models.loaded import load_model;"
        "load_model('demo', device='cpu'); print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "torch" in done.stdout.split()
    assert "transformers" not in done.stdout.split()
