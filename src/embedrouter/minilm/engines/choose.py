"""Which engine and precision run on this machine, and why."""

from typing import Literal

from embedrouter.errors import SettingsError
from embedrouter.minilm import cpu
from embedrouter.minilm.engines.base import Engine, Precision
from embedrouter.minilm.weights import Weights


def choose_precision(wanted: Literal["auto", "float32", "bfloat16"]) -> tuple[Precision, str]:
    """The precision to compute in and the reason in one line."""
    if wanted != "auto":
        return wanted, f"{wanted} was asked for"
    fast = cpu.computes_bfloat16()
    if fast:
        return "bfloat16", f"this CPU has {fast}"
    return "float32", "this CPU has neither AMX-BF16 nor AVX512-BF16"


def make_engine(
    weights: Weights,
    engine: Literal["auto", "openvino"] = "auto",
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
    threads: int = 0,
) -> Engine:
    """Build the engine. threads: 0 for as many as the process may use. Raises SettingsError."""
    if threads < 0:
        raise SettingsError("threads must be 0 (all available) or more")
    if engine not in ("auto", "openvino"):
        raise SettingsError(f'there is no engine "{engine}"; known: auto, openvino')
    if precision not in ("auto", "float32", "bfloat16"):
        raise SettingsError(f'there is no precision "{precision}"; known: auto, float32, bfloat16')
    chosen, reason = choose_precision(precision)
    from embedrouter.minilm.engines.openvino import OpenVinoEngine

    return OpenVinoEngine(weights, chosen, threads or cpu.available_cores(), f"OpenVINO in {chosen}: {reason}")
