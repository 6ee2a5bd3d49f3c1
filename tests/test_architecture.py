"""The house stays a house: imports only go down, nothing grows without bound, `--help` loads nothing heavy."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from distill import registry
from tests.loading import loaded_modules

PACKAGE = Path(__file__).parents[1] / "distill"
FILES = sorted(PACKAGE.rglob("*.py"))
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_PARAMETERS = 7

FLOORS = {
    0: {"errors", "records", "registry", "files", "fingerprints", "printable"},
    1: {"schema", "verifiers", "packing", "config", "recipe", "cards", "problems", "prompts", "text_metrics"}
    | {"models", "arithmetic", "advantages", "options", "first_recipe", "page"},
    2: {"generate"},
    3: {"curate", "train", "evals", "publish", "doctor"},
    4: {"terminal"},
    5: {"cli", "commands", "__main__"},
}
FLOOR_OF = {room: floor for floor, rooms in FLOORS.items() for room in rooms}
SEPARATE = {"curate", "train", "evals"}  # a dataset is all that passes between them
HEAVY = {"torch", "transformers", "datasets", "peft", "sympy", "math_verify", "pyarrow", "numpy", "pydantic", "yaml"}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> Iterator[tuple[str, int]]:
    """Every room of ours that a file imports at run time, with the line."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    only_types = {
        node
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if node in only_types:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "distill":
            names = [f"distill.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        for name in names:
            if name.startswith("distill."):
                yield name.split(".")[1], node.lineno


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_is_small_and_imports_only_from_rooms_below(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= MAX_FILE_LINES, f"{path} has more than {MAX_FILE_LINES} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < MAX_FUNCTION_LINES, (
                f"{path}:{node.lineno} {node.name} is long"
            )
            parameters = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            own = [name for name in parameters if name not in {"self", "cls"}]
            assert len(own) <= MAX_PARAMETERS or room_of(path) == "commands", (
                f"{path}:{node.lineno} {node.name} takes {own}"
            )
    room = room_of(path)
    if room == "__init__":
        return
    for imported, line in imports_of(path):
        if imported in {room, "__version__"}:
            continue
        assert FLOOR_OF[imported] <= FLOOR_OF[room], f"{path}:{line} imports '{imported}' from a floor above"
        assert not {room, imported} <= SEPARATE, f"{path}:{line}: '{room}' and '{imported}' never import each other"


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['distill', '--help']\n"
        "from distill.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"loaded = sorted({HEAVY!r} & set(sys.modules)); assert not loaded, loaded"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "curate" in result.stdout


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = loaded_modules("import distill")
    assert "distill" in loaded
    assert HEAVY & loaded == set()


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, parts in registry.REGISTRY.items() for name in parts]
)
def test_every_registered_part_loads_and_says_what_it_is(kind: str, name: str) -> None:
    assert (inspect.getdoc(registry.load(kind, name)) or "").strip()


def calls_of_distill_error(path: Path) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "DistillError":
            yield node


def test_every_users_error_says_what_to_do_next() -> None:
    calls = [(path, call) for path in FILES for call in calls_of_distill_error(path)]
    without = [f"{path}:{call.lineno}" for path, call in calls if "hint" not in {word.arg for word in call.keywords}]
    assert len(calls) > 50
    assert without == []


def test_generated_docs_are_current() -> None:
    script = PACKAGE.parent / "scripts" / "build_docs.py"
    result = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
