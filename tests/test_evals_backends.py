"""One benchmark through several backends: the same completions where nothing is left to chance."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from distill.config import EvalConfig
from distill.errors import DistillError
from distill.evals.compare import compare_reports
from distill.evals.report import Report
from distill.evals.run import evaluate
from distill.generate import BackendOptions
from distill.models import load_model, load_tokenizer
from distill.records import Completion, Group, Problem, Prompt
from tests.replay_model import ModelTokens, Said
from tests.replay_server import Options, ReplayServer

NUM_PROBLEMS = 24


def config(**changes: object) -> EvalConfig:
    values = {"model": "tiny-student", "benchmarks": ("arithmetic",), "limit": NUM_PROBLEMS, "device": "cpu"}
    return EvalConfig.model_validate({**values, **changes})


@pytest.fixture(scope="module")
def by_hf() -> Report:
    [report] = evaluate(config())
    return report


def spoken_by_the_student() -> Callable[[str, int], Said]:
    """What the tiny student says to a prompt, one token after the other, each the likeliest."""
    model: Any = load_model("tiny-student", dtype="float32", device="cpu")
    tokenizer = load_tokenizer("tiny-student")

    def says(prompt: str, _: int) -> Said:
        ids = torch.tensor([tokenizer(prompt, add_special_tokens=False)["input_ids"]])
        whole = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=100)
        new = whole[0, ids.shape[1] :].tolist()
        assert new[-1] == tokenizer.eos_token_id
        return Said(str(tokenizer.decode(new[:-1], skip_special_tokens=False)))

    return says


def test_a_server_of_the_same_weights_gives_the_same_report(by_hf: Report) -> None:
    tokens = ModelTokens(load_tokenizer("tiny-student"))
    with ReplayServer(Options(model="served"), spoken_by_the_student(), tokens) as server:
        serving = {"base_urls": server.url, "tokenizer": "tiny-student"}
        [report] = evaluate(config(model="served", backend="server", serving=serving))
    assert [problem.text for problem in report.problems] == [problem.text for problem in by_hf.problems]
    assert [problem.num_tokens for problem in report.problems] == [problem.num_tokens for problem in by_hf.problems]
    comparison = compare_reports([by_hf, report])
    [difference] = [cell.difference for cell in comparison.rows[1].cells if cell is not None]
    assert difference is not None
    assert difference.same_completions == NUM_PROBLEMS
    same = f"wrote the same, word for word, on {NUM_PROBLEMS} of {NUM_PROBLEMS} problems"
    assert any(note.endswith(same) for note in comparison.notes)


def test_completions_that_differ_are_counted_and_the_first_is_named(by_hf: Report) -> None:
    [other] = evaluate(config(backend=f"{__name__}:Stuttering"))
    comparison = compare_reports([by_hf, other])
    [difference] = [cell.difference for cell in comparison.rows[1].cells if cell is not None]
    assert difference is not None
    assert difference.same_completions == 0
    first = f"on 0 of {NUM_PROBLEMS} problems; the first that differs answers '{by_hf.problems[0].id}'"
    assert any(note.endswith(first) for note in comparison.notes)


def test_where_chance_has_a_say_nothing_is_said_of_the_same_words(by_hf: Report) -> None:
    [sampled] = evaluate(config(sampling={"num_completions": 1, "temperature": 1.0}))
    comparison = compare_reports([by_hf, sampled])
    assert not any("word for word" in note for note in comparison.notes)


def test_what_a_server_is_asked_for_is_part_of_the_settings_and_where_it_stands_is_not(tmp_path: Path) -> None:
    def through(**options: Any) -> Report:
        with ReplayServer(Options(model="served")) as server:  # another port each time
            serving = {"base_urls": server.url, **options}
            [report] = evaluate(config(model="served", backend="server", serving=serving, limit=2), tmp_path)
        return report

    first = through()
    assert "base_urls" not in str(first.settings)
    assert through() == first
    with pytest.raises(DistillError, match=r"serving\.extra_body\.top_k was nothing, is 5"):
        through(extra_body={"top_k": 5})


def test_a_problem_that_a_backend_failed_on_is_not_stored_and_asked_again(tmp_path: Path) -> None:
    with pytest.raises(DistillError, match=r"1 of 3 problems of 'arithmetic:test' failed, 'arithmetic/.*': http 500"):
        evaluate(config(backend=f"{__name__}:Failing", limit=3), tmp_path)
    stored = tmp_path / "arithmetic-test" / "completions.jsonl"
    assert len(stored.read_bytes().splitlines()) == 2
    Failing.failures = 0
    [report] = evaluate(config(backend=f"{__name__}:Failing", limit=3), tmp_path)
    assert (report.num_problems, report.unanswered) == (3, 0)
    assert len(stored.read_bytes().splitlines()) == 3


class Stuttering:
    """Says the same to everything."""

    tokenizer = None
    tokenizer_fingerprint = ""
    entropy_kind = "none"
    notes = ()

    def __init__(self, options: BackendOptions) -> None:
        self.teacher = options.teacher.model

    def sample(self, items: Iterable[tuple[Problem, Prompt]], *_: object) -> Iterator[Group]:
        for problem, prompt in items:
            yield Group(problem, prompt, (Completion("well, well", num_tokens=2),), self.teacher)

    def close(self) -> None:
        """Nothing is open."""


class Failing(Stuttering):
    """Fails on the first problems."""

    failures = 1

    def sample(self, items: Iterable[tuple[Problem, Prompt]], *_: object) -> Iterator[Group]:
        for place, group in enumerate(super().sample(items)):
            failed = place < self.failures
            yield Group(group.problem, group.prompt, (), error="http 500") if failed else group
