"""What the tests of curation share: groups and scores made by hand, a scripted teacher, recipes, looks into a run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import pyarrow.parquet as pq

from distill.advantages import group_advantages
from distill.config import CurateConfig, PromptConfig, RecordedConfig, SamplingConfig, SourceConfig, TeacherConfig
from distill.generate import BackendOptions
from distill.records import Completion, EntropyKind, Group, GroupScores, Message, Outcome, Problem, Prompt, Verdict

OUTCOMES = tuple(Outcome)


def make_group(index: int, num_completions: int = 4, *, with_entropies: bool = True) -> Group:
    """A group whose every value is a function of its index, so that a mixture of two would show."""
    random = Random(index)
    completions = []
    for place in range(num_completions):
        ids = tuple(random.randrange(100) for _ in range(1 + random.randrange(12)))
        completions.append(
            Completion(
                text=f"completion {place} of {index}, ½ {'✓' * place}",
                token_ids=ids,
                logprobs=tuple(-random.random() for _ in ids),
                entropies=tuple(3 * random.random() for _ in ids) if with_entropies else None,
                finish_reason="stop" if place else "length",
                seed=index * 1000 + place,
                model="teacher",
            )
        )
    problem = Problem(f"p/{index}", f"What is {index}?", str(index), source="made", verifier="number", index=index)
    prompt = Prompt((Message(role="user", content=problem.question),), "chat", f"user: {index}", (1, 2, index))
    return Group(problem, prompt, tuple(completions), "teacher", "t0", "exact" if with_entropies else "none")


def make_scores(group: Group) -> GroupScores:
    """Outcomes in turn, rewards that differ, and every third group dropped."""
    index = group.problem.index
    verdicts = tuple(
        Verdict(OUTCOMES[(index + place) % 4], answer=str(index), reason="number")
        for place in range(len(group.completions))
    )
    rewards = tuple(None if verdict.score is None else verdict.score + index / 8 for verdict in verdicts)
    return GroupScores(
        verdicts, rewards, group_advantages(rewards), {"cosine": rewards}, "no_correct" if index % 3 == 2 else ""
    )


class ScriptedBackend:
    """A teacher that says what its script says: right, wrong and late, deterministic, and it can be interrupted.

    The script is shared by all instances, because the pipeline opens its backends itself.
    """

    asked: ClassVar[list[str]] = []
    """Ids of the groups that were sampled, in the order in which they were finished."""
    interrupt_after: ClassVar[int | None] = None
    omitted: ClassVar[frozenset[str]] = frozenset()
    num_missing: ClassVar[int] = 0
    """Completions that every group lacks."""

    @classmethod
    def script(cls, *, interrupt_after: int | None = None, omitted: Iterable[str] = (), num_missing: int = 0) -> None:
        """Start a new script."""
        cls.asked, cls.interrupt_after, cls.omitted, cls.num_missing = (
            [],
            interrupt_after,
            frozenset(omitted),
            num_missing,
        )

    def __init__(self, options: BackendOptions) -> None:
        self.teacher = options.teacher.model
        self.tokenizer = None
        self.tokenizer_fingerprint = "scripted"
        self.entropy_kind: EntropyKind = "none"
        self._num_completions = options.sampling.num_completions

    def sample(
        self, items: Iterable[tuple[Problem, Prompt]], on_progress: Callable[[int], None] | None = None
    ) -> Iterator[Group]:
        """Groups of three at a time, the last first: nothing finishes in the order of the source."""
        remaining = iter(items)
        while window := list(islice(remaining, 3)):
            for problem, prompt in reversed(window):
                if problem.id in self.omitted:
                    continue
                if len(self.asked) == self.interrupt_after:
                    raise KeyboardInterrupt
                self.asked.append(problem.id)
                if on_progress is not None:
                    on_progress(10)
                yield self._group(problem, prompt)

    def close(self) -> None:
        """Nothing to give back."""

    def _group(self, problem: Problem, prompt: Prompt) -> Group:
        """Completion k of problem i is right when k < i mod (N + 1), so every pass rate comes up."""
        completions = tuple(
            Completion(
                f"So the answer is \\boxed{{{problem.answer if place < problem.index % (self._num_completions + 1) else -1}}}",
                num_tokens=10 * (place + 1),
                model=self.teacher,
            )
            for place in range(self._num_completions - self.num_missing)
        )
        return Group(problem, prompt, completions, self.teacher, self.tokenizer_fingerprint, self.entropy_kind)


SCRIPTED = CurateConfig(
    source=SourceConfig(name="arithmetic", limit=10),
    teacher=TeacherConfig(model="scripted", backend="tests.curate_parts:ScriptedBackend"),
    sampling=SamplingConfig(num_completions=4),
)
PROBLEMS = [
    {"id": "a", "question": "1 + 1?", "answer": "2"},
    {"id": "b", "question": "2 + 2?", "answer": "4"},
    {"id": "bad", "question": "3 + 3?"},
    {"id": "c", "question": "4 + 4?", "answer": "8"},
    {"id": "unread", "question": "5 + 5?", "answer": "\\frac{1}{"},
    {"id": "d", "question": "6 + 6?", "answer": "12"},
]
WELL_FORMED = "<think>one and one</think><answer>\\boxed{2}</answer>"
COMPLETIONS = [
    {"id": "b", "completions": ["#### 5", "no idea"], "num_tokens": [512, 2048]},
    {"id": "a", "completions": [WELL_FORMED, "\\boxed{2}", "\\boxed{3}"], "num_tokens": [0, 1024, 1024]},
    {"id": "d", "completions": ["\\boxed{12}"], "num_tokens": [4096]},
]


def scripted(**changes: Any) -> CurateConfig:
    """The scripted recipe with other sections."""
    return SCRIPTED.model_copy(update=changes)


def recorded_config(folder: Path) -> CurateConfig:
    """A recipe of completions that exist already; its two files are written into the folder."""
    return CurateConfig(
        source=SourceConfig(name=str(write_jsonl(folder / "problems.jsonl", PROBLEMS))),
        prompt=PromptConfig(format="plain"),
        teacher=TeacherConfig(model="somebody", backend="recorded"),
        recorded=RecordedConfig(path=str(write_jsonl(folder / "completions.jsonl", COMPLETIONS))),
    )


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write rows as JSON Lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def data_bytes(run: Path) -> list[bytes]:
    """The dataset's data files."""
    return [path.read_bytes() for path in sorted((run / "dataset").glob("data-*.arrow"))]


def stored_ids(run: Path) -> list[str]:
    """Every id in the completions' parts and log, as often as it stands there."""
    shard = run / "completions" / "00000-of-00001"
    parts = [found for part in sorted(shard.glob("part-*.parquet")) for found in pq.read_table(part)["id"].to_pylist()]
    log = shard / "wal.jsonl"
    return parts + [json.loads(line)["id"] for line in (log.read_bytes().splitlines() if log.exists() else [])]
