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
    wanted, why = _precision(precision)
    if engine == "openvino":
        if wanted == "int8":
            raise SettingsError("precision int8 is the native engine's; engine is openvino")
        return Choice("openvino", wanted, "", f"{why}; openvino was asked for")
    found = next((one for one in native.available() if native.PATHS[one] == wanted), None)
    if found is not None:
        return Choice("native", wanted, found, why)
    missing = native.missing(wanted)
    if engine == "native" or wanted == "int8":
        raise SettingsError(f"the native engine cannot compute {wanted} here: {missing}")
    return Choice("openvino", wanted, "", f"{why}; {missing}")


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
        here = ", ".join(native.available())
        why = f"it can run {here}" if here else native.missing(native.PATHS[path])
        raise SettingsError(f'this machine cannot run the path "{path}": {why}')
    return Choice("native", native.PATHS[path], path, f"{path} was asked for")


def _precision(wanted: WantedPrecision) -> tuple[Precision, str]:
    """The precision to compute in, and why."""
    if wanted != "auto":
        return wanted, f"{wanted} was asked for"
    fast = cpu.computes_bfloat16()
    if fast:
        return "bfloat16", f"this CPU has {fast}"
    return "float32", "this CPU has neither AMX-BF16 nor AVX512-BF16"
