"""The AMX paths on a CPU without AMX, by tests/native/amx_emulator.cpp, at about 10 ms a token.

Where the CPU has AMX, test_native.py runs the real thing. Under the sanitizers this sees more than AMX itself would let
them see: the emulator moves tiles by memcpy, which they check.
"""

import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from embedrouter.minilm.engines import native
from embedrouter.minilm.engines.native import NativeEngine
from embedrouter.minilm.tokenizer import Tokenizer
from embedrouter.minilm.weights import Weights
from embedrouter.minilm.windows import Ids, LongInput, Vectors, plan
from native_module import substituted

from .golden import golden
from .test_native import COSINE

_NATIVE = Path(__file__).parent.parent / "native"
_SHORT = 12  # golden texts
_NEIGHBOURS = {"amx-bf16": "avx512-bf16", "amx-int8": "vnni-int8"}  # the same arithmetic, by other instructions

_OTHER_SYSTEM = (platform.system(), platform.machine()) != ("Linux", "x86_64")
_NO_BF16 = "avx512-bf16" not in native.available()

pytestmark = [
    pytest.mark.skipif(_OTHER_SYSTEM, reason="the emulator is for Linux on x86-64"),
    pytest.mark.skipif(_NO_BF16, reason=f"AMX is used beside AVX512-BF16: {native.missing('bfloat16')}"),
    pytest.mark.skipif("amx-bf16" in native.available(), reason="this CPU has AMX: test_native.py runs the real thing"),
    pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++ here to build the emulator with"),
]


class Emulated(NamedTuple):
    """What one path made of the sequences."""

    path: str
    together: Vectors  # of all sequences, in one call
    shared: Vectors  # of all but the last, by two threads
    alone: Vectors  # of the sequences `apart`
    instructions: int


class Inputs(NamedTuple):
    sequences: list[Ids]  # ids of edge lengths, then golden texts; the longest last
    texts: list[int]  # which golden texts
    apart: list[int]  # short sequences


def _build(library: Path, *options: str) -> None:
    command = ["g++", "-O2", "-std=c++20", "-pthread", *options, "-o", str(library)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("emulator") / "libamx_emulator.so"
    _build(library, "-fPIC", "-shared", str(_NATIVE / "amx_emulator.cpp"))
    return library


@pytest.fixture(scope="module")
def inputs(weights: Weights) -> Inputs:
    tokens = golden().tokens
    # Short ones of all kinds, and the first of the longest that the reference does not cut.
    short = sorted((i for i in range(len(tokens)) if tokens[i] <= 9), key=lambda i: (tokens[i] % 4, i))[:_SHORT]
    texts = [*short, tokens.index(256)]
    contents = Tokenizer(weights.tokenizer).contents([golden().texts[i] for i in texts], 256)
    sequences = [plan(content.ids, LongInput.TRUNCATE, 0).sequences[0] for content in contents]
    edges = [np.arange(1000, 1000 + length, dtype=np.int32) for length in (1, 15, 17, 33)]
    return Inputs([*edges, *sequences], texts, [0, 1, 2, 3, 4, 11])


@pytest.fixture(scope="module", params=list(_NEIGHBOURS))
def emulated(
    request: pytest.FixtureRequest,
    emulator: Path,
    weights: Weights,
    inputs: Inputs,
    tmp_path_factory: pytest.TempPathFactory,
) -> Emulated:
    folder = tmp_path_factory.mktemp("emulated")
    np.savez(
        folder / "given.npz",
        ids=np.concatenate(inputs.sequences),
        lengths=[len(sequence) for sequence in inputs.sequences],
        apart=inputs.apart,
    )
    files = (str(folder / "given.npz"), str(folder / "written.npz"))
    command = [sys.executable, str(_NATIVE / "emulated.py"), str(emulator), str(weights.folder), request.param, *files]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, f"{done.returncode}: {done.stderr}"
    with np.load(files[1]) as arrays:
        found = (arrays["together"], arrays["shared"], arrays["alone"])
        return Emulated(request.param, *found, int(arrays["instructions"]))


def cosines(left: Vectors, right: Vectors) -> Vectors:
    products: Vectors = np.einsum("nd,nd->n", left, right)
    return products


def test_the_emulator_does_what_intels_manual_says(emulator: Path) -> None:
    if substituted():
        pytest.skip(reason="the sanitizers test the engine, not the emulator, which raises faults on purpose")
    if subprocess.run(
        ["g++", "-mamx-tile", "-mamx-bf16", "-mamx-int8", "-xc++", "-fsyntax-only", "/dev/null"], check=False
    ).returncode:
        pytest.skip(reason="this g++ does not know AMX")
    program = emulator.with_name("test_amx_emulator")
    flags = ("-mamx-tile", "-mamx-bf16", "-mamx-int8")
    _build(program, *flags, str(_NATIVE / "test_amx_emulator.cpp"), str(emulator), f"-Wl,-rpath,{emulator.parent}")
    done = subprocess.run([str(program)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "All good" in done.stdout


def test_golden_vectors_by_amx_are_near_the_reference(emulated: Emulated, inputs: Inputs) -> None:
    assert emulated.instructions > 0
    found, reference = emulated.together[-len(inputs.texts) :], golden().seq256[inputs.texts]
    np.testing.assert_allclose(np.linalg.norm(found.astype(np.float64), axis=1), 1, rtol=0, atol=1e-6)
    similar = cosines(found, reference)
    assert similar.min() >= COSINE[native.PATHS[emulated.path]], golden().names[inputs.texts[int(similar.argmin())]]


def test_a_vector_by_amx_does_not_depend_on_its_batch(emulated: Emulated, inputs: Inputs) -> None:
    assert len({len(inputs.sequences[i]) for i in inputs.apart}) > 4
    np.testing.assert_array_equal(emulated.alone, emulated.together[inputs.apart])


def test_a_vector_by_amx_does_not_depend_on_the_threads(emulated: Emulated) -> None:
    np.testing.assert_array_equal(emulated.together[:-1], emulated.shared)


def test_amx_makes_nearly_the_vectors_that_avx512_makes(emulated: Emulated, inputs: Inputs, weights: Weights) -> None:
    """Sums of bfloat16 differ in order and rounding; those of int8 do not, but their attention is in bfloat16."""
    neighbour = _NEIGHBOURS[emulated.path]
    if neighbour not in native.available():
        pytest.skip(reason=f"this CPU does not have {neighbour} to compare with")
    expected = NativeEngine(weights, neighbour, 1, "a test").embed(inputs.sequences)
    least = 0.9999 if native.PATHS[emulated.path] == "bfloat16" else 0.995
    assert cosines(emulated.together, expected).min() >= least
