r"""The tests of a programming problem, read from its gold answer in the forms that the field uses.

    {"function": "add", "cases": [{"args": [1, 2], "returns": 3}]}            calls of a function
    {"cases": [{"stdin": "1 2\n", "stdout": "3\n"}]}                           a program
    {"asserts": "assert add(1, 2) == 3\n..."}, or the bare statements         statements
    {"test": "def check(candidate): ...", "entry_point": "add"}               HumanEval
    {"test_list": ["assert ..."], "test_setup_code": "", "test_imports": []}   MBPP
    {"inputs": [...], "outputs": [...], "fn_name": "add"}                      APPS, TACO, PRIME, verl
    [{"input": "...", "output": "...", "testtype": "stdin"}]                   LiveCodeBench, DeepCoder
    {"language": "python", "test_cases": [{"input", "output", "fn_name", "type"}]}   open-r1, SYNTHETIC-1

What a test expects stays on this side. An assertion that compares with a constant becomes an expression
to be evaluated there and a value to be compared here; only what is none of these (a loop, a tolerance of
its own) is run there as it stands, and only there does the program sit in its own judgement.
"""

from __future__ import annotations

import ast
import builtins
import json
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from distill.verifiers.code.code_values import Tolerance

MAX_GOLD_CHARACTERS = 64 << 20
MAX_ASSERTS_CHARACTERS = 1 << 20  # the parser of Python takes a hundred times the memory of its text
FUNCTION_KEYS = ("function", "fn_name", "func_name", "entry_point", "function_name")
CASE_KEYS = ("cases", "test_cases", "tests", "unit_tests", "asserts", "test_list")
CALL_TYPES = {"function_call", "functional", "call"}
COLLECTIONS = {"set": set, "frozenset": frozenset, "list": list, "tuple": tuple, "float": float}

DEFINITION = re.compile(r"^[ \t]*(?:(?:async )?def[ \t]|class[ \t]|(?=\w+[ \t]*=))[ \t]*(?P<name>\w+)", re.MULTILINE)

Kind = Literal["value", "literal", "output", "check", "setup"]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to ask of the sandbox, and what is expected."""

    message: dict[str, Any]
    kind: Kind
    """'value' and 'literal' are compared with JSON and with Python data, 'output' with a text; 'check' need only
    end, as a test, and 'setup' as none."""
    expected: tuple[Any, ...] = ()
    """Any of these will do."""
    tolerance: Tolerance | None = None


@dataclass(frozen=True, slots=True)
class TestSet:
    """All tests of one problem."""

    __test__ = False  # no class of tests, whatever pytest makes of the name

    steps: tuple[Step, ...]
    function: str = ""
    program: bool = False
    preamble: str = ""
    """What the problem's own text defines before the submission, as HumanEval's prompts do."""
    names: frozenset[str] = frozenset()
    """Functions and classes that the tests use."""

    def is_defined_in(self, source: str) -> bool:
        """True where the source defines one of the names, or a class ``Solution``."""
        return any(found["name"] in {*self.names, "Solution"} for found in DEFINITION.finditer(source))

    @property
    def num_tests(self) -> int:
        """How many of the steps are tests."""
        return sum(step.kind != "setup" for step in self.steps)


class TestsUnreadError(Exception):
    """A gold holds no tests that could be run."""

    __test__ = False


@lru_cache(maxsize=64)
def read_tests(gold: str) -> TestSet:
    """Read a gold answer.

    Raises:
        TestsUnreadError: it is in none of these forms, or needs what a sandbox has not.

    >>> tests = read_tests('{"function": "add", "cases": [{"args": [1, 2], "returns": 3}]}')
    >>> tests.function, tests.num_tests, tests.steps[0].message, tests.steps[0].expected
    ('add', 1, {'arguments': [1, 2], 'named': {}}, (3,))
    >>> read_tests("assert add(1, 2) == 3").steps[0].message
    {'expression': 'add(1, 2)'}
    """
    if len(gold) > MAX_GOLD_CHARACTERS:
        raise TestsUnreadError("too_long")
    try:
        tests = _tests_of(_data(gold))
    except (ValueError, RecursionError, MemoryError, SyntaxError, TypeError, AttributeError, KeyError):
        raise TestsUnreadError("gold_unparsed") from None
    if not tests.num_tests:
        raise TestsUnreadError("gold_unparsed")
    return tests


def _data(gold: str) -> Any:
    """The JSON value; statements as they stand are taken as asserts, and JSON inside of a JSON string is opened."""
    try:
        data = json.loads(gold)
    except ValueError:
        return {"asserts": gold}
    if isinstance(data, str):
        return _data(data)
    return data


def _tests_of(data: Any) -> TestSet:
    if isinstance(data, list):
        data = {"cases": data}
    if str(data.get("language") or "python").lower() not in {"python", "python3", "py"}:
        raise ValueError("not Python")
    function = _function_of(data)
    tolerance = data.get("tolerance")
    if tolerance is not None:
        tolerance = (float(tolerance), float(tolerance))
    if "inputs" in data and "outputs" in data:
        pairs = zip(data["inputs"], data["outputs"], strict=True)
        cases: Any = [{"input": given, "output": wanted} for given, wanted in pairs]
    elif isinstance(data.get("test"), str):
        steps = tuple(_steps(_check_body(data["test"], function), tolerance))
        return TestSet(steps, preamble=_preamble(data.get("prompt") or ""), names=frozenset({function}))
    else:
        cases = next((data[key] for key in CASE_KEYS if data.get(key)), [])
    if isinstance(cases, str):
        cases = [cases]
    if cases and all(isinstance(case, str) for case in cases):
        setup = [*(data.get("test_imports") or []), data.get("test_setup_code") or data.get("setup") or ""]
        statements = _parsed("\n".join([*setup, *cases]))
        return TestSet(tuple(_steps(statements, tolerance)), names=_names_used(statements))
    return _case_tests(cases, function, tolerance)


def _function_of(data: dict[str, Any]) -> str:
    metadata = data.get("metadata") or {}
    if isinstance(metadata, str):
        metadata = json.loads(metadata)
    return next((str(place[key]) for place in (data, metadata) for key in FUNCTION_KEYS if place.get(key)), "")


def _case_tests(cases: list[dict[str, Any]], function: str, tolerance: Tolerance | None) -> TestSet:
    """Tests that are inputs and outputs, all of a function or all of a program."""
    functions = {name for case in cases if (name := _function_of(case))} or ({function} if function else set())
    kinds = {case.get("type") or case.get("testtype") or "" for case in cases}
    has_calls = any(case.keys() & {"args", "kwargs", "returns"} for case in cases)
    is_call = has_calls or bool(kinds & CALL_TYPES) or (bool(functions) and kinds == {""})
    if not is_call:
        return TestSet(tuple(_program_step(case, tolerance) for case in cases), program=True)
    if len(functions) != 1 or (kinds & CALL_TYPES and kinds - CALL_TYPES):
        raise ValueError("more than one kind of test")
    steps = tuple(_call_step(case, tolerance) for case in cases)
    return TestSet(steps, function=next(iter(functions)), names=frozenset(functions))


def _program_step(case: dict[str, Any], tolerance: Tolerance | None) -> Step:
    given = case["stdin"] if "stdin" in case else case["input"]
    wanted = case["stdout"] if "stdout" in case else case["output"]
    return Step({"stdin": _lines(given)}, "output", (_lines(wanted),), tolerance)


def _lines(text: Any) -> str:
    if isinstance(text, list):
        return "\n".join(_lines(line) for line in text)
    if not isinstance(text, str | int | float):
        raise TypeError(type(text).__name__)
    return str(text)


def _call_step(case: dict[str, Any], tolerance: Tolerance | None) -> Step:
    named: Any = case.get("kwargs") or {}
    if "args" in case or "kwargs" in case:
        arguments = case.get("args") or []
        wanted = case["returns"] if "returns" in case else case["output"]
        return _call(arguments, named, (wanted,), tolerance)
    arguments, wanted = case["input"], case["output"]
    if isinstance(arguments, str):  # LiveCodeBench: every argument is JSON on a line of its own
        arguments = [json.loads(line) for line in arguments.split("\n") if line.strip()]
    if isinstance(arguments, dict):
        arguments, named = [], arguments
    if isinstance(wanted, str) and isinstance(case["input"], str):
        return _call(arguments, named, (json.loads(wanted),), tolerance)
    # APPS wraps what is returned in a list, but not everywhere
    unwrapped = tuple(wanted) if isinstance(wanted, list) and len(wanted) == 1 else ()
    return _call(arguments, named, (wanted, *unwrapped), tolerance)


def _call(arguments: Any, named: Any, expected: tuple[Any, ...], tolerance: Tolerance | None) -> Step:
    if not isinstance(arguments, list) or not isinstance(named, dict):
        raise TypeError("arguments")
    return Step({"arguments": arguments, "named": named}, "value", expected, tolerance)


def _parsed(source: str) -> list[ast.stmt]:
    if len(source) > MAX_ASSERTS_CHARACTERS:
        raise ValueError("too long")
    statements = ast.parse(source).body
    for node in (node for statement in statements for node in ast.walk(statement)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        if any(name.partition(".")[0] not in sys.stdlib_module_names for name in names):
            raise ValueError("needs a package")
    return statements


def _names_used(statements: list[ast.stmt]) -> frozenset[str]:
    """The names that assertions use, as far as Python does not know them itself."""
    nodes = [node for part in statements if isinstance(part, ast.Assert) for node in ast.walk(part)]
    return frozenset(node.id for node in nodes if isinstance(node, ast.Name) and not hasattr(builtins, node.id))


def _preamble(prompt: str) -> str:
    """A prompt that ends with a function's head and docstring, as code that runs; '' where it is none."""
    for source in (prompt, f"{prompt}\n    pass\n"):
        try:
            ast.parse(source)
        except SyntaxError:
            continue
        return source
    return ""


def _check_body(source: str, function: str) -> list[ast.stmt]:
    """HumanEval's ``check(candidate)``: its statements themselves, so that each assertion is a test of its own."""
    if not function.isidentifier():
        raise ValueError("no entry point")
    statements = _parsed(source)
    checks = [node for node in statements if isinstance(node, ast.FunctionDef) and node.name == "check"]
    if len(checks) != 1 or len(checks[0].args.args) != 1:
        raise ValueError("no check(candidate)")
    check = checks[0]
    before = [node for node in statements if node is not check and not _is_call_of(node, "check")]
    if any(isinstance(node, ast.Return | ast.Yield | ast.Global | ast.Nonlocal) for node in ast.walk(check)):
        call = ast.parse(f"check({function})").body[0]
        return [*before, ast.If(ast.Constant(True), [check, call], [])]  # as one test
    return [*before, *ast.parse(f"{check.args.args[0].arg} = {function}").body, *check.body]


def _is_call_of(node: ast.stmt, name: str) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == name


def _steps(statements: Iterable[ast.stmt], tolerance: Tolerance | None) -> Iterator[Step]:
    for statement in statements:
        if isinstance(statement, ast.Assert):
            for condition in _conditions(statement.test):
                step = _comparison(condition, tolerance)
                if step is not None:
                    yield step
                elif not isinstance(condition, ast.Constant):  # 'assert True' only says hello
                    yield Step({"statements": f"assert {ast.unparse(condition)}"}, "check")
        else:
            is_definition = isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            is_test = not is_definition and any(isinstance(node, ast.Assert) for node in ast.walk(statement))
            source = ast.unparse(ast.fix_missing_locations(statement))
            yield Step({"statements": source}, "check" if is_test else "setup")


def _conditions(test: ast.expr) -> list[ast.expr]:
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
        return [condition for value in test.values for condition in _conditions(value)]
    return [test]


def _comparison(test: ast.expr, tolerance: Tolerance | None) -> Step | None:
    """An assertion that compares with a constant, as an expression and what it must be; None for any other."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return _literal(test.operand, False, tolerance, wrap="bool")
    if isinstance(test, ast.Call):
        return _is_close(test) or _literal(test, True, tolerance, wrap="bool")
    if not isinstance(test, ast.Compare) or len(test.ops) != 1:
        return None
    left, operator, right = test.left, test.ops[0], test.comparators[0]
    if isinstance(operator, ast.Lt | ast.LtE):
        return _within(left, right)
    if not isinstance(operator, ast.Eq | ast.Is):
        return None
    for side, other in ((left, right), (right, left)):
        try:
            return _literal(side, _constant(other), tolerance)
        except ValueError:
            continue
    return None


def _literal(node: ast.expr, expected: Any, tolerance: Tolerance | None, wrap: str = "") -> Step:
    source = ast.unparse(node)
    return Step({"expression": f"{wrap}({source})" if wrap else source}, "literal", (expected,), tolerance)


def _within(left: ast.expr, right: ast.expr) -> Step | None:
    """``abs(f(x) - 2.5) < 1e-6``."""
    if not (isinstance(left, ast.Call) and ast.unparse(left.func) in {"abs", "math.fabs"} and len(left.args) == 1):
        return None
    difference = left.args[0]
    if not (isinstance(difference, ast.BinOp) and isinstance(difference.op, ast.Sub)):
        return None
    for side, other in ((difference.left, difference.right), (difference.right, difference.left)):
        try:
            return _literal(side, _number(other), (0.0, _number(right)))
        except ValueError:
            continue
    return None


def _is_close(call: ast.Call) -> Step | None:
    """``math.isclose(f(x), 2.5, rel_tol=1e-6)``."""
    if ast.unparse(call.func) not in {"math.isclose", "isclose", "cmath.isclose"} or len(call.args) != 2:
        return None
    try:
        bounds = {keyword.arg: _number(keyword.value) for keyword in call.keywords}
        tolerance = (bounds.get("rel_tol", 1e-9), bounds.get("abs_tol", 0.0))
        return _literal(call.args[0], _number(call.args[1]), tolerance)
    except ValueError:
        return None


def _number(node: ast.expr) -> float:
    value = _constant(node)
    if not isinstance(value, int | float):
        raise ValueError("no number")
    return float(value)


def _constant(node: ast.expr) -> Any:
    """The value of a constant expression.

    Raises:
        ValueError: it is none.
    """
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in COLLECTIONS:
        if node.keywords or len(node.args) > 1:
            raise ValueError("no constant")
        try:
            return COLLECTIONS[node.func.id](*[_constant(argument) for argument in node.args])
        except TypeError:
            raise ValueError("no constant") from None
    return ast.literal_eval(node)
