"""embedrouter secrets: the keys that seal providers' credentials."""

import msgspec
import typer

from embedrouter.cli.common import ConfigOption, DatabaseUrlOption, DataDirOption, JsonOption, note, say, show, told
from embedrouter.cli.store import found, writing

app = typer.Typer(help="The keys that seal providers' credentials: rotate them, check them.", no_args_is_help=True)


class Rotated(msgspec.Struct, frozen=True):
    """What `rotate` did. Keys are told by their ids."""

    key: str
    resealed: int
    dropped: list[str]
    source: str


class FindingShown(msgspec.Struct, frozen=True):
    """A credential that does not open."""

    id: str
    provider: str
    key: str
    reason: str


class Checked(msgspec.Struct, frozen=True):
    """What `check` found."""

    clean: bool
    credentials: int
    findings: list[FindingShown]


@app.command()
def rotate(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Seal every credential with a new key. Running servers go on; may be interrupted and run again."""
    with told():
        from embedrouter.accounts.rotation import rotate
        from embedrouter.accounts.sealing import Sealer

        with writing(config, data_dir, database_url) as store:
            sealer = Sealer.of(store.opened.settings)
            done = rotate(store.opened.database, store.writer, sealer)
            shown = Rotated(done.key, done.resealed, list(done.dropped), sealer.source)
            in_file = sealer.path is not None
        show(shown, as_json, lambda: _print(shown, in_file=in_file))


@app.command()
def check(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Open every credential, and name those that do not open. Status 1: there are some. Changes nothing."""
    with told():
        from embedrouter.accounts.rotation import check
        from embedrouter.accounts.sealing import Sealer

        with found(config, data_dir, database_url) as store:
            done = store.read(check, Sealer.of(store.settings))
        shown = Checked(not done.findings, done.credentials, [FindingShown(*one) for one in done.findings])
        show(shown, as_json, lambda: _tell(shown))
    if not shown.clean:
        raise typer.Exit(1)


def _print(shown: Rotated, *, in_file: bool) -> None:
    say(f"{shown.key} seals now; {shown.resealed:,} credential(s) were sealed anew")
    if shown.dropped and not in_file:
        say(f"these can be taken out of {shown.source}: {', '.join(shown.dropped)}")
    note("a backup of the database that is older needs the old keys" if shown.dropped else "back this key up")


def _tell(shown: Checked) -> None:
    for one in shown.findings:
        say(one.reason)
    if shown.clean:
        say(f"clean: {shown.credentials:,} credential(s) open")
    else:
        note(f"{len(shown.findings)} of {shown.credentials:,} do not open")
