"""embedrouter doctor: whether the books agree and the database is whole."""

from typing import TYPE_CHECKING

import msgspec
import typer

from embedrouter.cli.common import (
    ConfigOption,
    DatabaseUrlOption,
    DataDirOption,
    JsonOption,
    moment,
    note,
    say,
    show,
    told,
)
from embedrouter.cli.store import Opened, found
from embedrouter.errors import StoreError

if TYPE_CHECKING:
    from embedrouter.ledger.comparing import Finding


class FindingShown(msgspec.Struct, frozen=True):
    """One disagreement, with the row."""

    check: str
    row: str
    expected: str
    found: str


class Report(msgspec.Struct, frozen=True):
    """What the doctor says: `findings` are wrong; `warnings` are not, yet."""

    database: str
    clean: bool
    generations: int
    ledger_entries: int
    findings: list[FindingShown]
    warnings: list[str]


def doctor(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Prove that ledger, balances, generations and usage agree, or name the rows. Status 1: something is wrong."""
    with told():
        with found(config, data_dir, database_url) as store:
            report = _examine(store)
        show(report, as_json, lambda: _print(report))
    if not report.clean:
        raise typer.Exit(1)


def _examine(store: Opened) -> Report:
    from embedrouter.errors import StoreUnavailableError
    from embedrouter.ledger.comparing import MOST, Finding
    from embedrouter.ledger.doctor import examine, orphans, silent
    from embedrouter.store.health import damages, warnings
    from embedrouter.store.migrate import check

    database = store.database
    findings: list[Finding] = []
    counted = (0, 0)
    told_of = warnings(database)
    try:
        check(database)
    except StoreError as error:
        findings.append(Finding("schema", database.name, "whole and of this program's version", error.message))
        return _report(database.name, counted, findings, told_of)
    damaged = store.read(damages)
    findings += [Finding("file", str(database.path), "whole", damage) for damage in damaged]
    try:
        diagnosis = store.read(examine)
        gone = database.read_now(lambda connection: silent(connection, database.now(connection)))
        lost = store.read(orphans)
    except StoreUnavailableError:
        if not damaged:
            raise
        told_of.append("the books could not be read for the damage: restore a backup")
        return _report(database.name, counted, findings, told_of)
    findings += diagnosis.findings
    findings += _sealed(store)
    if len(diagnosis.findings) >= MOST:
        told_of.append(f"of each check at most {MOST} findings are told: there may be more")
    told_of += [
        f"the process {one.pid} on {one.host} ended without signing off ({moment(one.seen_at)}) and holds money of "
        f"{one.holds} requests: the next server that runs lets it go"
        for one in gone
    ]
    told_of += [f"the hold {one} belongs to no known process: delete it when no server runs" for one in lost]
    return _report(database.name, (diagnosis.generations, diagnosis.ledger_entries), findings, told_of)


def _sealed(store: Opened) -> "list[Finding]":
    """Credentials that no key of ours opens."""
    from embedrouter.accounts.rotation import check
    from embedrouter.accounts.sealing import Sealer
    from embedrouter.ledger.comparing import Finding

    found = store.read(check, Sealer.of(store.settings)).findings
    return [Finding("sealed", f"credential {one.id}", "opened by a key we have", one.reason) for one in found]


def _report(name: str, counted: tuple[int, int], findings: "list[Finding]", warnings: list[str]) -> Report:
    return Report(name, not findings, *counted, [FindingShown(*one) for one in findings], warnings)


def _print(report: Report) -> None:
    for one in report.findings:
        say(f"{one.check}: {one.row} should be {one.expected}, is {one.found}")
    for warning in report.warnings:
        note(f"warning: {warning}")
    if report.clean:
        say(
            f"clean: {report.generations:,} generations and {report.ledger_entries:,} ledger entries agree with "
            f"balances and usage"
        )
    else:
        note(f"{len(report.findings)} finding(s)")
