import os
from pathlib import Path

import pytest

from embedrouter.minilm import cpu

NOWHERE = Path("/nowhere")
AFFINITY = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cgroup_v2(root: Path, text: str) -> Path:
    (root / "cpu.max").write_text(text)
    return root


def cgroup_v1(root: Path, quota: str, period: str = "100000\n") -> Path:
    (root / "cpu").mkdir()
    (root / "cpu/cpu.cfs_quota_us").write_text(quota)
    (root / "cpu/cpu.cfs_period_us").write_text(period)
    return root


@pytest.mark.parametrize(
    ("text", "cores"),
    [("100000 100000\n", 1), ("150000 100000\n", 2), ("10000 100000\n", 1), ("25000 50000\n", 1)],
)
def test_a_v2_quota_bounds_the_cores_and_is_rounded_up(tmp_path: Path, text: str, cores: int) -> None:
    assert cpu.available_cores(cgroup_v2(tmp_path, text), NOWHERE) == min(AFFINITY, cores)


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("100000\n", 1), ("110000\n", 2), ("1000\n", 1)],
)
def test_a_v1_quota_bounds_the_cores_and_is_rounded_up(tmp_path: Path, quota: str, cores: int) -> None:
    assert cpu.available_cores(cgroup_v1(tmp_path, quota), NOWHERE) == min(AFFINITY, cores)


def test_a_quota_above_the_affinity_gives_the_affinity(tmp_path: Path) -> None:
    assert cpu.available_cores(cgroup_v2(tmp_path, "100000000 100000\n"), NOWHERE) == AFFINITY


@pytest.mark.parametrize("text", ["max 100000\n", "", "nonsense\n", "a b\n"])
def test_without_a_v2_limit_the_affinity_counts(tmp_path: Path, text: str) -> None:
    assert cpu.available_cores(cgroup_v2(tmp_path, text), NOWHERE) == AFFINITY


@pytest.mark.parametrize("quota", ["-1\n", "0\n", "", "x"])
def test_without_a_v1_limit_the_affinity_counts(tmp_path: Path, quota: str) -> None:
    assert cpu.available_cores(cgroup_v1(tmp_path, quota), NOWHERE) == AFFINITY


def test_without_cgroups_the_affinity_counts(tmp_path: Path) -> None:
    assert cpu.available_cores(tmp_path, NOWHERE) == AFFINITY


def test_v2_decides_where_both_exist(tmp_path: Path) -> None:
    cgroup_v1(tmp_path, "-1\n")
    assert cpu.available_cores(cgroup_v2(tmp_path, "100000 100000\n"), NOWHERE) == 1


@pytest.mark.parametrize(
    ("line", "label"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16 amx_bf16 amx_tile", "AMX-BF16"),
        ("flags\t\t: fpu avx512f avx512_bf16", "AVX512-BF16"),
        ("flags\t\t: fpu avx2 avx512f", None),
        ("Features\t: fp asimd bf16", None),
        ("", None),
    ],
)
def test_bfloat16_is_chosen_by_the_cpus_flags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, label: str | None
) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nmodel name\t: A CPU @ 2 GHz: fast\n{line}\n")
    monkeypatch.setattr(cpu, "_CPUINFO", tmp_path / "cpuinfo")
    cpu.flags.cache_clear()
    cpu.name.cache_clear()
    try:
        assert cpu.computes_bfloat16() == label
        assert cpu.name() == "A CPU @ 2 GHz: fast"
    finally:
        cpu.flags.cache_clear()
        cpu.name.cache_clear()


def test_the_limit_of_a_group_above_holds(tmp_path: Path) -> None:
    group = tmp_path / "system.slice" / "embedrouter.service"
    group.mkdir(parents=True)
    (group / "cpu.max").write_text("max 100000\n")
    (tmp_path / "system.slice" / "cpu.max").write_text("100000 100000\n")
    membership = tmp_path / "membership"
    membership.write_text("0::/system.slice/embedrouter.service\n")
    assert cpu.available_cores(tmp_path, membership) == 1
