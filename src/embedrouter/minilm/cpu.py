"""What this process may use of the machine: cores by cgroup and affinity, instruction sets, the CPU's name."""

import math
import os
import platform
from functools import cache
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_CGROUP = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def available_cores(cgroup: Path = _CGROUP, membership: Path = _MEMBERSHIP) -> int:
    """Cores this process may keep busy: the affinity mask, cut by its cgroups' CPU quotas; at least 1."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for group in _groups(cgroup, membership) if (quota := _quota(group)) is not None]
    return max(1, min([affinity, *map(math.ceil, quotas)]))


def _groups(cgroup: Path, membership: Path) -> list[Path]:
    """The folders of this process's cgroup (v2) and of all above it; a limit of any of them holds."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        lines = []
    own = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
    parts = [part for part in own.split("/") if part]
    return [cgroup.joinpath(*parts[:depth]) for depth in range(len(parts) + 1)]


def _quota(group: Path) -> float | None:
    """Cores one cgroup (v2, else v1) allows, or None for no limit."""
    try:
        limit, period = (group / "cpu.max").read_text().split()
        return None if limit == "max" else int(limit) / int(period)
    except (OSError, ValueError):
        pass
    try:
        limit_us = int((group / "cpu/cpu.cfs_quota_us").read_text())
        return None if limit_us <= 0 else limit_us / int((group / "cpu/cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return None


@cache
def flags() -> frozenset[str]:
    """The kernel's names of the CPU's instruction sets (`avx512_bf16`, `amx_bf16`, ...); empty where unknown."""
    for line in _lines():
        if line.startswith(("flags", "Features")):
            return frozenset(line.partition(":")[2].split())
    return frozenset()


@cache
def name() -> str:
    """The CPU's own name, for people."""
    for line in _lines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def computes_bfloat16() -> str | None:
    """The instruction set that makes bfloat16 fast here, or None."""
    for flag, label in (("amx_bf16", "AMX-BF16"), ("avx512_bf16", "AVX512-BF16")):
        if flag in flags():
            return label
    return None


def _lines() -> list[str]:
    try:
        return _CPUINFO.read_text().splitlines()
    except OSError:
        return []
