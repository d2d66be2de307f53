"""The command line's own --help -> the page "Commands" of the site."""

from ntvep.cli import _command

PAGE = "docs/site/commands"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _row(parameter) -> str:
    """One line of a command's table."""
    names = ", ".join(f"`{one}`" for one in [*parameter.opts, *parameter.secondary_opts])
    if parameter.param_type_name == "argument":
        names = f"`{parameter.metavar or parameter.name.upper()}`"
    default = parameter.show_default if isinstance(parameter.show_default, str) else None
    if default is None and parameter.default not in (None, False, "", (), []):
        default = f"`{getattr(parameter.default, 'value', parameter.default)}`"
    if parameter.required:
        default = "required"
    return f"| {names} | {_cell(parameter.help or '')} | {default or ''} |"


def _pages(name: str, command):
    """Markdown of a command and of those below it."""
    yield f"## {name}\n"
    yield f"{command.help or ''}\n"
    below = getattr(command, "commands", {})
    shown = [one for one in command.params if not getattr(one, "hidden", False)]
    shown = [one for one in shown if one.name != "help"]
    if shown and not below:
        yield "| argument or option | meaning | default |\n|---|---|---|"
        yield from map(_row, shown)
        yield ""
    if command.epilog:
        yield f"{command.epilog}\n"
    for each, one in below.items():
        yield from _pages(f"{name} {each}", one)


def _add_commands(app, docname, source) -> None:
    if docname == PAGE:
        for name, command in _command().commands.items():
            source[0] += "\n".join(_pages(f"ntvep {name}", command)) + "\n"


def setup(app) -> dict[str, bool]:
    """Connect it."""
    app.connect("source-read", _add_commands)
    return {"parallel_read_safe": True}
