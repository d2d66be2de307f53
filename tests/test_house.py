"""House rules that a machine can read: the size of functions, no family in the core."""

import ast
import re

import pytest

from ntvep.models.registry import FAMILIES
from tests.conftest import ROOT

PACKAGE = ROOT / "ntvep"
MODULES = sorted(PACKAGE.rglob("*.py"))
# A parameter of these is an option of a command.
OPTIONS = {PACKAGE / "cli", PACKAGE / "commands"}
# Shapes are not checked: the first refuses wrong input in words of its own, which tests read; to
# the others a whole number is a float, which beartype denies.
UNCHECKED = {"ntvep.api", "ntvep.evaluate.matching", "ntvep.evaluate.scan_picture"}
# Pictures: a place, a size and a colour for each mark.
PICTURES = {PACKAGE / "evaluate" / "figures.py", PACKAGE / "evaluate" / "scan_picture.py"}


def functions(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_functions_fit_on_a_screen(path):
    many = path.parent in OPTIONS or path in PICTURES
    for node in functions(path):
        body = node.body[1:] if ast.get_docstring(node) else node.body
        lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
        assert lines <= 60 or path.parent == PACKAGE / "cli", (node.name, lines)
        named = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        own = [argument for argument in named if argument.arg not in ("self", "cls")]
        assert many or len(own) <= 6, (node.name, len(own))


def test_only_models_and_tokenizers_name_a_family_or_a_special_token():
    named = "|".join(re.escape(family.name) for family in FAMILIES if family.name != "nt")
    words = re.compile(rf"[\"'](?:{named})[\"']|<cls>|<mask>|\[MASK\]|\[CLS\]|\bK = 6\b")
    inside = ("models", "tokenizers", "demo")
    for path in MODULES:
        if path.relative_to(PACKAGE).parts[0] not in inside:
            found = words.findall(path.read_text())
            assert not found, (path, found)


def test_shapes_are_checked_wherever_a_module_states_them(pytestconfig):
    (given,) = {
        word for word in pytestconfig.getini("addopts") if word.startswith("--jaxtyping-packages=")
    }
    checked = given.partition("=")[2].split(",")
    for path in MODULES:
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        states = re.search(r"^from jaxtyping import", path.read_text(), re.MULTILINE)
        inside = any(name == one or name.startswith(f"{one}.") for one in checked)
        assert inside or not states or name in UNCHECKED, name
