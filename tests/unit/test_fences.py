"""What import-linter cannot see: a pure core takes time, seed and data as arguments only.

import-linter keeps clocks, logs, threads and servers out of the cores by their imports. Some
impurities need no import of their own: numpy's global generator, `datetime.now`, `open`, `print`.
"""

import ast
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
CORES = (
    "openvrc/detectors",
    "openvrc/traffic",
    "openvrc/fusion",
    "edge/admit",
    "edge/aggregate",
    "cloud/alerting",
    "cloud/engine",
    "cloud/notify/routing",
    "simulator/physics",
    "simulator/roadside",
    "simulator/energy",
)
IMPURE_CALLS = {"open", "print", "input"}
CLOCK_METHODS = {"now", "utcnow", "today"}
FILE_METHODS = {"read_text", "write_text", "read_bytes", "write_bytes", "unlink", "mkdir"}
SEEDED = {"Generator", "default_rng", "SeedSequence"}


def core_files() -> list[Path]:
    """Every module of every core; a core may be a package or one module."""
    files = [f for core in CORES for f in sorted((PROJECT / core).rglob("*.py"))]
    return files + [f for core in CORES if (f := PROJECT / f"{core}.py").exists()]


def impurities(source: str) -> list[str]:
    """Each impure expression with its line."""
    found = []
    for node in ast.walk(ast.parse(source)):
        name = _impurity(node)
        if name:
            found.append(f"line {getattr(node, 'lineno', 0)}: {name}")
    return found


def _impurity(node: ast.AST) -> str | None:
    match node:
        case ast.Call(func=ast.Name(id=name)) if name in IMPURE_CALLS:
            return f"{name}()"
        case ast.Call(func=ast.Attribute(attr=name)) if name in CLOCK_METHODS | FILE_METHODS:
            return f".{name}()"
        case ast.Call(func=ast.Attribute(attr="default_rng"), args=[], keywords=[]):
            return "default_rng() without a seed"
        case ast.Attribute(value=ast.Attribute(attr="random"), attr=name) if name not in SEEDED:
            return f"random.{name}"
        case ast.Attribute(value=ast.Name(id="os"), attr="environ" | "getenv" as name):
            return f"os.{name}"
        case ast.Global():
            return "global"
    return None


@pytest.mark.parametrize("path", core_files(), ids=lambda path: str(path.relative_to(PROJECT)))
def test_a_pure_core_reads_no_clock_file_or_global_randomness(path: Path) -> None:
    assert impurities(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "print(1)",
        "text = open('limits.toml')",
        "text = path.read_text()",
        "at = datetime.now(UTC)",
        "noise = np.random.normal(size=3)",
        "noise = np.random.default_rng().normal()",
        "np.random.seed(1)",
        "zone = os.environ['VRC_ZONE']",
        "def f():\n    global state\n    state = 1",
    ],
)
def test_the_fence_finds_an_impurity(source: str) -> None:
    assert impurities(source)


@pytest.mark.parametrize(
    "source",
    [
        "rng = np.random.default_rng(seed)",
        "def f(rng: np.random.Generator) -> None: ...",
        "speed_mps = np.hypot(x, y)",
    ],
)
def test_the_fence_lets_pure_code_through(source: str) -> None:
    assert impurities(source) == []
