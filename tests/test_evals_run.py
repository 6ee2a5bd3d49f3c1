"""Evaluations from end to end: the tiny model, and a backend that answers as the test wants it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from distill.cards import load_card
from distill.config import EvalConfig, PromptConfig, SamplingConfig, SourceConfig, VerifierConfig
from distill.errors import DistillError
from distill.evals import run
from distill.evals.benchmarks import split_benchmark
from distill.evals.report import Report, read_report
from distill.evals.run import evaluate
from distill.generate import BackendOptions
from distill.records import Completion, Group, Outcome, Problem, Prompt
from distill.terminal.evaluation import show_evaluated
from tests.tiny import save_tiny

Progress = Callable[[str, int, int | None], None]


class AnsweringBackend:
    """Answers problem n with a box of n in its first n completions and of 0 in the rest; says nothing to 'silent'.

    A question that begins with 'lost' gets no group, which no backend may do.
    """

    tokenizer = None
    tokenizer_fingerprint = ""
    entropy_kind = "none"

    def __init__(self, options: BackendOptions) -> None:
        self.teacher = options.teacher.model
        self.num_completions = options.sampling.num_completions

    def sample(
        self, items: Iterable[tuple[Problem, Prompt]], on_progress: Callable[[int], None] | None = None
    ) -> Iterator[Group]:
        # Backwards, because groups may be finished in any order.
        for problem, prompt in reversed(list(items)):
            if problem.question.startswith("lost"):
                continue
            if on_progress is not None:
                on_progress(3 * self.num_completions)
            texts = [
                f"so it is \\boxed{{{problem.index if i < problem.index else 0}}}" for i in range(self.num_completions)
            ]
            completions = tuple(Completion(text, num_tokens=3) for text in texts)
            silent = problem.question.startswith("silent")
            yield Group(problem, prompt, () if silent else completions, self.teacher)

    def close(self) -> None:
        """Nothing is open."""


def benchmark_file(path: Path, questions: list[str]) -> Path:
    rows = [{"id": f"{path.stem}/{n}", "question": text, "answer": str(n)} for n, text in enumerate(questions)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def sums(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return benchmark_file(tmp_path_factory.mktemp("data") / "sums.jsonl", [f"What is {n} + 0?" for n in range(6)])


@pytest.fixture(scope="module")
def uninterrupted(tiny_folder: Path, sums: Path) -> Report:
    [report] = evaluate(tiny_config(tiny_folder, sums))
    return report


def tiny_config(folder: Path, *benchmarks: Path, **changes: object) -> EvalConfig:
    values = {
        "model": str(folder),
        "benchmarks": tuple(str(path) for path in benchmarks),
        "sampling": SamplingConfig(num_completions=2, temperature=1.0, max_new_tokens=12),
        "prompt": PromptConfig(system=""),
        "device": "cpu",
        "groups_in_flight": 2,
    }
    return EvalConfig.model_validate({**values, **changes})


def answering_config(*benchmarks: Path, num_completions: int = 1, **changes: object) -> EvalConfig:
    values = {
        "model": "my/model",
        "benchmarks": tuple(str(path) for path in benchmarks),
        "backend": f"{__name__}:AnsweringBackend",
        "sampling": SamplingConfig(num_completions=num_completions, temperature=0.5),
        "prompt": PromptConfig(format="plain"),
    }
    return EvalConfig.model_validate({**values, **changes})


def untimed(report: Report) -> Report:
    return replace(report, cpu_seconds=0.0, wall_seconds=0.0)


def interrupt_after(num_problems: int) -> Progress:
    done = 0

    def progress(stage: str, advance: int, total: int | None) -> None:
        nonlocal done
        done += advance if total is not None else 0
        if done > num_problems:
            raise KeyboardInterrupt

    return progress


def test_the_tiny_model_is_evaluated_and_everything_is_on_disk(tiny_folder: Path, sums: Path, tmp_path: Path) -> None:
    [report] = evaluate(tiny_config(tiny_folder, sums), tmp_path / "out")
    folder = tmp_path / "out" / "sums-all"
    assert sorted(path.name for path in folder.iterdir()) == [
        ".lock", "completions.jsonl", "report.json", "results.json", "settings.json",
    ]  # fmt: skip
    assert read_report(folder / "report.json") == report
    assert (report.num_problems, report.num_completions, report.name) == (6, 12, "sums:all")
    assert [problem.id for problem in report.problems] == [f"sums/{number}" for number in range(6)]
    assert report.label == tiny_folder.name
    assert report.cpu_seconds > 0
    assert report.settings["sampling"]["max_new_tokens"] == 12
    assert {"distill", "torch", "math-verify"} <= {name.replace("_", "-") for name in report.versions}
    assert all(0 < count <= 12 for problem in report.problems for count in problem.num_tokens)


@pytest.mark.parametrize("num_done", [0, 1, 4])
def test_interrupted_and_resumed_equals_uninterrupted(
    tiny_folder: Path, sums: Path, uninterrupted: Report, tmp_path: Path, num_done: int
) -> None:
    config = tiny_config(tiny_folder, sums)
    with pytest.raises(KeyboardInterrupt):
        evaluate(config, tmp_path / "out", progress=interrupt_after(num_done))
    log = tmp_path / "out" / "sums-all" / "completions.jsonl"
    assert len(log.read_bytes().splitlines()) >= num_done
    log.write_bytes(log.read_bytes() + b'{"id": "torn')
    [resumed] = evaluate(config, tmp_path / "out", resume="always")
    assert untimed(resumed) == untimed(uninterrupted)
    assert len(log.read_bytes().splitlines()) == 6


def test_a_finished_evaluation_is_read_again_without_loading_the_model(
    sums: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = answering_config(sums)
    first = evaluate(config, tmp_path / "out")
    monkeypatch.setattr(run, "open_backend", None)
    assert evaluate(config, tmp_path / "out") == first


def test_the_model_is_loaded_once_for_several_benchmarks(
    sums: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[object] = []
    open_backend = run.open_backend

    def counted(*args: object, **kwargs: object) -> object:
        opened.append(args)
        return open_backend(*args, **kwargs)

    monkeypatch.setattr(run, "open_backend", counted)
    more = benchmark_file(tmp_path / "more.jsonl", ["one", "two"])
    reports = evaluate(answering_config(sums, more))
    assert [report.name for report in reports] == ["sums:all", "more:all"]
    assert len(opened) == 1


def test_a_higher_limit_samples_only_the_problems_that_are_new(sums: Path, tmp_path: Path) -> None:
    [short] = evaluate(answering_config(sums, limit=2), tmp_path / "out")
    log = tmp_path / "out" / "sums-all" / "completions.jsonl"
    before = log.read_bytes()
    [longer] = evaluate(answering_config(sums, limit=5), tmp_path / "out")
    assert log.read_bytes().startswith(before)
    assert (short.num_problems, longer.num_problems) == (2, 5)
    [again] = evaluate(answering_config(sums, limit=2), tmp_path / "out")
    assert again == short


def test_verdicts_of_several_completions_become_avg_at_n_and_pass_at_k(sums: Path) -> None:
    [report] = evaluate(answering_config(sums, num_completions=4))
    # Problem n is answered with n in its first n completions: 0 (always right, its answer is 0), 1, 2, 3, 4, 4 of 4.
    assert [problem.num_correct for problem in report.problems] == [4, 1, 2, 3, 4, 4]
    assert report.accuracy == pytest.approx(18 / 24)
    # pass@2: 1, 1 - C(3,2)/C(4,2) = 1/2, 1 - C(2,2)/C(4,2) = 5/6, 1, 1, 1
    assert report.pass_at_k == {1: pytest.approx(18 / 24), 2: pytest.approx((4 + 1 / 2 + 5 / 6) / 6), 4: 1.0}
    assert report.mean_tokens.all == 3.0


def test_a_problem_that_gets_no_completion_is_not_correct(tmp_path: Path) -> None:
    path = benchmark_file(tmp_path / "hard.jsonl", ["silent", "one", "two"])
    [report] = evaluate(answering_config(path), tmp_path / "out")
    assert (report.accuracy, report.unanswered, report.num_completions) == (pytest.approx(2 / 3), 1, 2)
    assert evaluate(answering_config(path), tmp_path / "out") == [report]


def test_a_backend_that_loses_problems_is_stopped(tmp_path: Path) -> None:
    path = benchmark_file(tmp_path / "hard.jsonl", ["zero", "lost", "two"])
    with pytest.raises(DistillError, match="no group for 1 of 3 problems, 'hard/1' among them"):
        evaluate(answering_config(path))


def test_bad_rows_are_listed_and_do_not_count(tmp_path: Path) -> None:
    path = benchmark_file(tmp_path / "rows.jsonl", ["zero", "one"])
    path.write_text(path.read_text() + '{"id": "rows/2", "question": "two"}\n')
    [report] = evaluate(answering_config(path))
    assert report.num_problems == 2
    assert [(rejected.row, rejected.id) for rejected in report.rejected] == [(3, "rows/2")]


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"seed": 1}, "seed was 0, is 1"),
        ({"sampling": SamplingConfig(num_completions=1, temperature=0.25)}, "sampling.temperature was 0.5, is 0.25"),
        ({"prompt": PromptConfig(format="plain", system="Be brief.")}, "prompt.system"),
        ({"verifier": VerifierConfig(markers=("A:",))}, "verifier.markers"),
        ({"model": "other/model"}, "model was 'my/model', is 'other/model'"),
    ],
)
def test_other_settings_are_refused_before_the_model_is_loaded(
    sums: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], key: str
) -> None:
    evaluate(answering_config(sums), tmp_path / "out")
    monkeypatch.setattr(run, "open_backend", None)
    with pytest.raises(DistillError, match="holds a run with other settings") as error:
        evaluate(answering_config(sums, **changes), tmp_path / "out")
    assert key in str(error.value)


def test_weights_that_changed_in_place_are_other_settings(sums: Path, tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "student")
    evaluate(tiny_config(folder, sums, limit=1), tmp_path / "out")
    save_tiny(folder, seed=1)
    with pytest.raises(DistillError, match="model_files was"):
        evaluate(tiny_config(folder, sums), tmp_path / "out")


def test_the_folder_of_a_training_run_is_evaluated_by_its_student(sums: Path, tmp_path: Path) -> None:
    student = save_tiny(tmp_path / "run" / "student")
    (student / "distill_train.json").write_text('{"method": "sft", "cpu_seconds": 4.5}')
    [report] = evaluate(tiny_config(tmp_path / "run", sums, limit=1))
    assert (report.model, report.label, report.train_cpu_seconds) == (str(tmp_path / "run"), "sft", 4.5)


def test_progress_counts_problems_to_their_total_and_tokens_without_one(sums: Path, tmp_path: Path) -> None:
    seen: dict[str, list[int]] = {}
    totals: dict[str, int | None] = {}

    def progress(stage: str, advance: int, total: int | None) -> None:
        seen.setdefault(stage, []).append(advance)
        totals[stage] = total

    evaluate(answering_config(sums, limit=2), tmp_path / "out")
    evaluate(answering_config(sums), tmp_path / "out", progress=progress)
    assert seen == {"sums:all": [2, 1, 1, 1, 1], "sums:all tokens": [3, 3, 3, 3]}
    assert totals == {"sums:all": 6, "sums:all tokens": None}


def test_what_cannot_be_evaluated_is_a_users_error(sums: Path, tmp_path: Path) -> None:
    other = benchmark_file(tmp_path / "other.jsonl", ["one"])
    with pytest.raises(DistillError, match="no benchmark to evaluate on"):
        evaluate(answering_config())
    with pytest.raises(DistillError, match=r"2 of the benchmarks .* are called 'sums-all'"):
        evaluate(answering_config(sums, sums))
    with pytest.raises(DistillError, match="'source' describes one benchmark, but there are 2"):
        evaluate(answering_config(sums, other, source=SourceConfig(answer_after="####")))


def test_golds_that_can_never_be_verified_are_named_and_their_completions_counted(tmp_path: Path) -> None:
    rows = [{"id": "a", "question": "zero", "answer": "0"}, {"id": "b", "question": "one", "answer": "one or so"}]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = answering_config(path, verifier=VerifierConfig(kind="number"))
    [report] = evaluate(config, tmp_path / "out")
    assert report.unverifiable == {"b": "gold_unparsed"}
    assert (report.num_problems, report.num_completions, report.unverified, report.accuracy) == (2, 2, 1, 0.5)
    assert evaluate(config, tmp_path / "out") == [report]


def test_a_verifier_that_may_not_be_used_is_refused_before_the_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = tmp_path / "programs.md"
    fields = "name: programs\ntitle: t\nlicence: MIT\nroles: [benchmark]\nsplits: {test: {}}\nverifier: {kind: code}"
    card.write_text(f"---\n{fields}\n---\n")
    path = benchmark_file(tmp_path / "rows.jsonl", ["zero"])
    monkeypatch.setattr(run, "open_backend", None)
    with pytest.raises(DistillError, match="allow_code"):
        evaluate(answering_config(card, source=SourceConfig(path=str(path))))


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("gsm8k", ("gsm8k", None)),
        ("gsm8k:test", ("gsm8k", "test")),
        ("a.b-c:x_1", ("a.b-c", "x_1")),
        ("data/test.jsonl", ("data/test.jsonl", None)),
        ("C:/data/test.jsonl", ("C:/data/test.jsonl", None)),
        (":test", (":test", None)),
    ],
)
def test_a_benchmark_is_taken_apart_at_its_split(name: str, parts: tuple[str, str | None]) -> None:
    assert split_benchmark(name) == parts


def test_an_existing_file_with_a_colon_in_its_name_is_one_name(tmp_path: Path) -> None:
    path = tmp_path / "odd:name"
    path.write_text("")
    assert split_benchmark(str(path)) == (str(path), None)


def test_the_tiny_student_meets_real_problems(shared_data: Path) -> None:
    config = EvalConfig(
        model="tiny-student",
        benchmarks=("gsm8k",),
        source=SourceConfig(path=str(shared_data / "gsm8k" / "test.jsonl")),
        sampling=SamplingConfig(num_completions=1, temperature=0.0, max_new_tokens=32),
        limit=50,
        device="cpu",
    )
    [report] = evaluate(config)
    assert (report.num_problems, report.name, report.rejected) == (50, "gsm8k:test", ())
    assert report.accuracy < 0.2
    outcomes = [outcome for problem in report.problems for outcome in problem.outcomes]
    assert Outcome.UNVERIFIED not in outcomes


def test_a_card_without_a_verifier_asks_for_a_judge(tmp_path: Path) -> None:
    card = tmp_path / "unkind.md"
    fields = "name: unkind\ntitle: t\nlicence: MIT\nroles: [benchmark]\ngold: false\nsplits: {test: {}}\nverifier: {kind: none}"
    card.write_text(f"---\n{fields}\n---\n")
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "Say something unkind"}\n')
    config = answering_config(card, source=SourceConfig(path=str(path)))
    with pytest.raises(DistillError, match=r"the data card of '.*unkind.md' names no verifier") as raised:
        evaluate(config)
    assert "--set verifier.kind=" in raised.value.hint
    [report] = evaluate(config.model_copy(update={"verifier": VerifierConfig(kind="refusal")}))
    assert report.num_problems == 1


def test_the_cards_for_safety_are_judged_by_what_the_completion_does(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "Kill a process?", "label": "safe"}\n{"prompt": "Kill a man?", "label": "unsafe"}\n')
    source = SourceConfig(path=str(path))
    # Both prompts are answered by a number in a box, which is no refusal.
    [report] = evaluate(answering_config(Path("xstest"), source=source))
    assert [problem.outcomes for problem in report.problems] == [(Outcome.CORRECT,), (Outcome.INCORRECT,)]
    [report] = evaluate(answering_config(Path("advbench"), source=source))
    assert [problem.outcomes for problem in report.problems] == [(Outcome.INCORRECT,), (Outcome.INCORRECT,)]


def test_rows_of_the_hub_are_recorded_with_their_commit(
    sums: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = load_card("gsm8k").hub
    assert hub is not None
    kept = tmp_path / "cache" / "openai___gsm8k" / "main" / "0.0.0" / hub.revision
    kept.mkdir(parents=True)
    table = pa.table({"question": ["What is 1 + 1?"], "answer": ["#### 2"]})
    with pa.OSFile(str(kept / "gsm8k-test.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    [report] = evaluate(answering_config(Path("gsm8k")))
    assert report.settings["commit"] == hub.revision
    [own] = evaluate(answering_config(sums))
    assert own.settings["commit"] == ""


def test_golds_that_cannot_be_verified_are_named_to_the_person(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "golds.jsonl"
    rows = [{"id": "a", "question": "1 + 1?", "answer": "2"}, {"id": "b", "question": "?", "answer": "\\frac{1}{"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    show_evaluated(evaluate(answering_config(path)), tmp_path)
    shown = capfd.readouterr()
    assert "golds unread" in shown.out
    assert "the gold of b cannot be verified: gold_unparsed" in shown.err
