"""docs/cli.md, made from the commands themselves: `python tests/cli/manual.py > docs/cli.md`."""

import re
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import typer

from embedrouter.cli import app

_HEAD = """# The command line

Every command and option, made from the program itself. `embedrouter` is installed with the package; after `make serve`
it is in `.venv/bin`. What `serve` can be told beyond its flags is in [configuration.md](configuration.md); how the
commands behave beside a running server is in [operations.md](operations.md).
"""
_KINDS = {"str": "TEXT", "int": "NUMBER", "float": "NUMBER", "Path": "PATH"}


def manual() -> str:
    """The page: each command with its arguments and options."""
    return _HEAD + "".join(_command(typer.main.get_command(app), "embedrouter"))


def _command(command: Any, path: str) -> Iterator[str]:
    deep = path.count(" ")
    help_text = _sentence(command.help)
    if commands := getattr(command, "commands", None):
        if deep:
            yield f"\n## {path}\n{help_text}\n"
        for name in commands:
            yield from _command(commands[name], f"{path} {name}")
        return
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option" and not one.hidden]
    usage = " ".join((path, *map(_argument, arguments), *(["[OPTIONS]"] if options else [])))
    yield f"\n{'#' * (deep + 1)} {path}\n{help_text}\n\n```sh\n{usage}\n```\n"
    rows = [f"| `{_argument(one)}` | {_cell(one.help)} |\n" for one in arguments if one.help]
    rows += [_row(one) for one in options]
    if rows:
        yield "\n| option | meaning |\n|---|---|\n" + "".join(rows)


def _argument(one: Any) -> str:
    name = (one.metavar or one.name).strip("[].").upper() + ("..." if one.nargs == -1 else "")
    return name if one.required else f"[{name}]"


def _row(one: Any) -> str:
    names = ", ".join((*one.opts, *one.secondary_opts))
    value = "" if one.is_flag else f" {one.metavar or _kind(one.type_descriptor.annotation)}"
    required = " Required." if one.required else ""
    default = one.show_default if isinstance(one.show_default, str) else one.default
    plain = isinstance(default, str | int | float) and not isinstance(default, bool) and default != ""
    shown = f" Default: {default}." if plain else ""
    return f"| `{_escaped(names + value)}` | {_cell(one.help)}{required}{shown} |\n"


def _kind(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return "|".join(sorted(map(str, get_args(annotation))))  # typing keeps one order for equal ones
    return _KINDS.get(getattr(annotation, "__name__", ""), "TEXT")


def _cell(text: str | None) -> str:
    return _escaped(_sentence(text))


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def _sentence(text: str | None) -> str:
    """On one line; what is dimmed on a terminal is the variable of the same name."""
    return (
        " ".join(re.sub(r"\[dim\](\w+)\[/dim\]", r"`\1`", text or "").split()).replace("[", "\\[").replace("<", "\\<")
    )


if __name__ == "__main__":
    print(manual(), end="")
