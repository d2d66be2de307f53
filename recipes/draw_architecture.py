"""first lines of docstrings, imports, layers -> the tables of docs/architecture.md.

    python recipes/draw_architecture.py

Run it after a module is added, moved or described anew; tests/test_architecture.py compares.
"""

import ast
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ntvep"
PAGE = ROOT / "docs" / "architecture.md"
BEGIN = "<!-- made by recipes/draw_architecture.py from here -->\n"
END = "<!-- to here -->\n"


def modules() -> list[str]:
    """Dotted names of all modules; a package is called by its own name."""
    paths = sorted(PACKAGE.rglob("*.py"))
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]
    return sorted(name.removesuffix(".__init__") for name in names)


def tree(module: str) -> ast.Module:
    """Syntax tree of a module."""
    path = ROOT.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(file.read_text())


def first_line(module: str) -> str:
    """What a module says of itself, for a cell of a Markdown table."""
    text = (ast.get_docstring(tree(module)) or "").split("\n", 1)[0]
    return text.replace("``", "`").replace("|", "\\|").rstrip(".")


def imports(module: str) -> set[str]:
    """Modules of ntvep that a module imports, at its head, when it is called, or for its types."""
    known, found = set(modules()), set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found & known - {"ntvep", module}


def room(module: str) -> str:
    """The file or folder of the package that a module is in."""
    return module.split(".")[1] if "." in module else "__init__"


def layers() -> list[str]:
    """Rooms as the contract of pyproject.toml has them, from the top down."""
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    contracts = {one["name"]: one for one in tool["importlinter"]["contracts"]}
    lines = contracts["Who may import whom"]["layers"]
    return ["__init__", *(name.strip() for line in lines for name in line.split("|"))]


def rooms() -> list[str]:
    """The table of rooms: what each does, and which it imports."""
    rows = ["| room | what it does | imports |", "|---|---|---|"]
    order = layers()
    for name in order:
        inside = [module for module in modules() if room(module) == name]
        used = {room(found) for module in inside for found in imports(module)} - {name}
        head = "ntvep" if name == "__init__" else f"ntvep.{name}"
        shown = f"`{name}/`" if (PACKAGE / name).is_dir() else f"`{name}.py`"
        names = ", ".join(f"`{one}`" for one in sorted(used, key=order.index))
        rows.append(f"| {shown} | {first_line(head)} | {names} |")
    return rows


def inside(name: str) -> list[str]:
    """The table of one folder's modules."""
    rows = [f"### `{name}/`", "", "| module | what it does |", "|---|---|"]
    prefix = f"ntvep.{name}."
    found = [module for module in modules() if module.startswith(prefix)]
    rows += [f"| `{one.removeprefix(prefix)}` | {first_line(one)} |" for one in found]
    return rows


def drawn() -> str:
    """All tables."""
    folders = [name for name in layers() if (PACKAGE / name).is_dir()]
    tables = [rooms(), *map(inside, folders)]
    return "\n\n".join("\n".join(rows) for rows in tables) + "\n"


def main() -> None:
    """Put the tables between their two marks."""
    head, rest = PAGE.read_text().split(BEGIN)
    PAGE.write_text(head + BEGIN + "\n" + drawn() + "\n" + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
