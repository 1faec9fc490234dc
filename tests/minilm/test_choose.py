"""Which engine runs where, and what is said about it. The CPU is made up; that engines compute is tested elsewhere."""

from typing import Any

import pytest

from embedrouter.errors import SettingsError
from embedrouter.minilm import cpu
from embedrouter.minilm.engines import native
from embedrouter.minilm.engines.choose import choose, make_engine
from embedrouter.minilm.weights import Weights

AMX = ("amx-bf16", "avx512-bf16", "avx512-fp32", "amx-int8", "vnni-int8")
ZEN4 = ("avx512-bf16", "avx512-fp32", "vnni-int8")
SKYLAKE = ("avx512-fp32",)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    def pretend(*paths: str, flags: tuple[str, ...] | None = None) -> None:
        if flags is None:
            flags = tuple({"amx-bf16": "amx_bf16", "avx512-bf16": "avx512_bf16"}.get(path, path) for path in paths)
        monkeypatch.setattr(native, "available", lambda: paths)
        monkeypatch.setattr(cpu, "flags", lambda: frozenset(flags))

    return pretend


@pytest.mark.parametrize(
    ("paths", "wanted", "expected"),
    [
        (AMX, {}, ("native", "bfloat16", "amx-bf16")),
        (ZEN4, {}, ("native", "bfloat16", "avx512-bf16")),
        (SKYLAKE, {}, ("native", "float32", "avx512-fp32")),
        (AMX, {"precision": "bfloat16"}, ("native", "bfloat16", "amx-bf16")),
        (AMX, {"precision": "int8"}, ("native", "int8", "amx-int8")),
        (ZEN4, {"precision": "int8"}, ("native", "int8", "vnni-int8")),
        (ZEN4, {"precision": "int8", "engine": "native"}, ("native", "int8", "vnni-int8")),
        (ZEN4, {"precision": "float32"}, ("native", "float32", "avx512-fp32")),
        (ZEN4, {"engine": "openvino"}, ("openvino", "bfloat16", "")),
        (SKYLAKE, {"engine": "openvino"}, ("openvino", "float32", "")),
        (ZEN4, {"engine": "openvino", "precision": "float32"}, ("openvino", "float32", "")),
        (SKYLAKE, {"precision": "bfloat16"}, ("openvino", "bfloat16", "")),
        (AMX, {"path": "avx512-bf16"}, ("native", "bfloat16", "avx512-bf16")),
        (AMX, {"path": "vnni-int8"}, ("native", "int8", "vnni-int8")),
        ((), {}, ("openvino", "float32", "")),
        ((), {"precision": "bfloat16"}, ("openvino", "bfloat16", "")),
    ],
)
def test_the_fastest_that_the_machine_has(
    machine: Any, paths: tuple[str, ...], wanted: dict[str, Any], expected: tuple[str, str, str]
) -> None:
    machine(*paths)
    choice = choose(**wanted)
    assert (choice.engine, choice.precision, choice.path) == expected
    assert choice.precision in str(choice)
    for word in wanted.values():
        assert word in str(choice)


def test_without_the_native_engine_a_cpu_with_bfloat16_uses_it_in_openvino_and_says_why(machine: Any) -> None:
    machine(flags=("avx512_bf16",))
    choice = choose()
    assert (choice.engine, choice.precision) == ("openvino", "bfloat16")
    assert native.missing("bfloat16") in choice.reason


@pytest.mark.parametrize(
    ("paths", "wanted", "named"),
    [
        ((), {"engine": "native"}, "native engine cannot compute float32 here"),
        (SKYLAKE, {"engine": "native", "precision": "bfloat16"}, "AVX512-BF16, which this CPU lacks"),
        ((), {"precision": "int8"}, "cannot compute int8 here"),
        (ZEN4, {"engine": "openvino", "precision": "int8"}, "int8"),
        (ZEN4, {"path": "amx-bf16"}, "cannot run the path"),
        (ZEN4, {"path": "avx512-bf16", "engine": "openvino"}, "openvino"),
        (ZEN4, {"path": "avx512-bf16", "precision": "int8"}, "computes bfloat16"),
        (ZEN4, {"engine": "torch"}, "known: auto, native, openvino"),
        (ZEN4, {"precision": "int3"}, "int3"),
        (ZEN4, {"path": "mmx"}, "mmx"),
    ],
)
def test_what_cannot_be_is_refused(machine: Any, paths: tuple[str, ...], wanted: dict[str, Any], named: str) -> None:
    machine(*paths)
    with pytest.raises(SettingsError, match=named):
        choose(**wanted)


def test_a_negative_number_of_threads_is_refused(weights: Weights) -> None:
    with pytest.raises(SettingsError, match="threads"):
        make_engine(weights, threads=-1)
