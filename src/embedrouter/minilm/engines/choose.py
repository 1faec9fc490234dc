"""Which engine and precision run on this machine, and why."""

from typing import Literal, NamedTuple, get_args

from embedrouter.errors import SettingsError
from embedrouter.minilm import cpu
from embedrouter.minilm.engines import native
from embedrouter.minilm.engines.base import Engine, Precision
from embedrouter.minilm.weights import Weights
from embedrouter.settings import EngineName, NativePath
from embedrouter.settings import Precision as WantedPrecision


class Choice(NamedTuple):
    """What will run."""

    engine: Literal["native", "openvino"]
    precision: Precision
    path: str  # the native engine's instruction path; empty for OpenVINO
    reason: str  # for people

    def __str__(self) -> str:
        return f"{self.engine} in {self.precision}" + (f" by {self.path}" if self.path else "") + f": {self.reason}"


def choose(engine: EngineName = "auto", precision: WantedPrecision = "auto", path: NativePath = "auto") -> Choice:
    """Decide for this machine. Raises SettingsError for what there is not, or what cannot run here."""
    for given, known in ((engine, EngineName), (precision, WantedPrecision), (path, NativePath)):
        if given not in get_args(known):
            raise SettingsError(f'"{given}" is not known here; known: {", ".join(get_args(known))}')
    if path != "auto":
        return _forced(engine, precision, path)
    if engine == "openvino" or precision == "float32":
        return _openvino(engine, precision, None)
    wanted: Precision = "bfloat16" if precision == "auto" else precision
    found = next((one for one in native.available() if native.PATHS[one] == wanted), None)
    if found is not None:
        asked = "" if precision == "auto" else f"; {precision} was asked for"
        return Choice("native", wanted, found, f"this CPU has {found.upper()}{asked}")
    why = native.missing(wanted)
    if engine == "native" or wanted == "int8":
        raise SettingsError(f"the native engine cannot compute {wanted} here: {why}")
    return _openvino(engine, precision, why)


def make_engine(
    weights: Weights,
    engine: EngineName = "auto",
    precision: WantedPrecision = "auto",
    threads: int = 0,
    path: NativePath = "auto",
) -> Engine:
    """Build the engine. threads: 0 for as many as the process may use. Raises SettingsError."""
    if threads < 0:
        raise SettingsError("threads must be 0 (all available) or more")
    choice = choose(engine, precision, path)
    threads = threads or cpu.available_cores()
    if choice.path:
        return native.NativeEngine(weights, choice.path, threads, str(choice))
    from embedrouter.minilm.engines.openvino import OpenVinoEngine

    return OpenVinoEngine(weights, choice.precision, threads, str(choice))


def _forced(engine: EngineName, precision: WantedPrecision, path: str) -> Choice:
    if engine == "openvino":
        raise SettingsError(f'the path "{path}" is the native engine\'s; engine is openvino')
    if precision not in ("auto", native.PATHS[path]):
        raise SettingsError(f'the path "{path}" computes {native.PATHS[path]}; precision is {precision}')
    if path not in native.available():
        why = "" if native.available() else f": {native.missing(native.PATHS[path])}"
        raise SettingsError(f'this machine cannot run the path "{path}"{why}')
    return Choice("native", native.PATHS[path], path, f"{path} was asked for")


def _openvino(engine: EngineName, precision: WantedPrecision, why_not_native: str | None) -> Choice:
    if precision == "int8":
        raise SettingsError("precision int8 is the native engine's; engine is openvino")
    if engine == "native":
        raise SettingsError("the native engine computes bfloat16 and int8; precision is float32")
    fast = cpu.computes_bfloat16()
    chosen: Precision = precision if precision != "auto" else "bfloat16" if fast else "float32"
    if precision != "auto":
        reason = f"{precision} was asked for"
    elif fast:
        reason = f"this CPU has {fast}"
    else:
        reason = "this CPU has neither AMX-BF16 nor AVX512-BF16"
    if engine == "openvino":
        reason += "; openvino was asked for"
    elif why_not_native and why_not_native not in reason:
        reason += f"; {why_not_native}"
    return Choice("openvino", chosen, "", reason)
