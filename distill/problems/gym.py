"""Problems of reasoning-gym's tasks: made as they are needed, without end, and always the same ones.

The package makes problem i of a seed from seed + i, so neighbouring seeds share nearly all of their problems; some
tasks draw a whole data set at once, so that each problem depends on how many there are; and some depend on the order
of sets. Here problems come in blocks of a fixed size, each made in its order by a child process. A block has a seed
of its own, hashed from the task, its options, the split, the seed and its number: a longer run extends a shorter one,
other seeds give other problems, and one block is in memory at a time.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

from distill.errors import DistillError
from distill.fingerprints import fingerprint
from distill.problems.cells import text_of
from distill.problems.rejection import Rejected, RowRejectedError
from distill.records import Problem
from distill.registry import did_you_mean
from distill.schema import metadata_json
from distill.verifiers.kinds.reasoning_gym import AUDITED
from distill.verifiers.workers.exchange import exchange

PREFIX = "reasoning-gym:"
KIND = "reasoning-gym"
OWN_SCORER = "distill.verifiers.kinds.reasoning_gym:own_score"
BLOCK = 500  # the package's own size of a data set, which every task can fill
REPLY_SECONDS = 120.0
"""The hardest tasks need seconds for a problem; the first one also waits for what the package imports."""
LEFT_OUT = {
    "codeio": "it makes problems by running hundreds of programs that nobody here has read",
    "composite": "it mixes other tasks; name them one at a time",
}
Reply = dict[str, Any]


@dataclass(frozen=True, slots=True)
class GymTask:
    """A task with its options and seed: an endless row of problems for each split."""

    task: str
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)

    def settings(self) -> dict[str, Any]:
        """Everything that its problems depend on, the version of the package among it.

        Raises:
            DistillError: the package is not installed.
        """
        try:
            version = importlib.metadata.version("reasoning-gym")
        except importlib.metadata.PackageNotFoundError:
            raise DistillError(
                "problems of reasoning-gym need the package, which is not installed",
                hint="pip install 'distill-reasoning[gym]'",
            ) from None
        return {"task": self.task, "seed": self.seed, "options": dict(self.options), "reasoning-gym": version}

    def check_verifier(self, verifier: str | None) -> None:
        """Raise a DistillError when the task's own scorer is asked for and nobody has found it safe."""
        if verifier == OWN_SCORER and self.task not in AUDITED:
            raise DistillError(
                f"the scorer of '{self.task}' is not among those that were found safe to run",
                hint="leave verifier.kind out: the exact text of the answer is then wanted",
            )

    def problems(self, split: str, limit: int, verifier: str | None, rejected: list[Rejected]) -> Iterator[Problem]:
        """The problems among the first ``limit``; those that the task fails to make, or without a gold, are rejected.

        Raises:
            DistillError: no such task or option, the options do not suit it, or no problem is left.
        """
        count = 0
        self.settings()  # which says that the package is missing
        with _child() as child:
            self._check(child)
            for index in range(limit):
                try:
                    problem = self._problem(child, split, index, verifier)
                except RowRejectedError as rejection:
                    rejected.append(Rejected(index + 1, self._id(split, index), str(rejection)))
                    continue
                count += 1
                yield problem
        if not count:
            reasons = ", ".join(sorted({each.reason for each in rejected}))
            own = f"; its own scorer may judge it: --set verifier.kind={OWN_SCORER}" if self.task in AUDITED else ""
            raise DistillError(f"task '{self.task}' makes no problem with a gold answer", hint=f"{reasons}{own}")

    def _check(self, child: subprocess.Popen[bytes]) -> None:
        reply = self._ask(child, {"describe": self.task})
        if "tasks" in reply:
            hint = did_you_mean(self.task, [task for task in reply["tasks"] if task not in LEFT_OUT])
            raise DistillError(f"reasoning-gym has no task '{self.task}'", hint=hint)
        if self.task in LEFT_OUT:
            raise DistillError(f"task '{self.task}' is left out: {LEFT_OUT[self.task]}", hint="name another task")
        for name in self.options:
            if name not in reply["options"]:
                hint = did_you_mean(name, reply["options"])
                raise DistillError(f"task '{self.task}' has no option '{name}'", hint=hint)

    def _problem(self, child: subprocess.Popen[bytes], split: str, index: int, verifier: str | None) -> Problem:
        number, place = divmod(index, BLOCK)
        block = {"task": self.task, "options": self.options, "seed": self._seed(split, number), "size": BLOCK}
        reply = self._ask(child, {"block": block, "place": place, "whole": verifier == OWN_SCORER})
        if "refused" in reply:
            raise DistillError(
                f"task '{self.task}' cannot be made with these options: {reply['refused']}", hint="see source.options"
            )
        if "failed" in reply:
            raise RowRejectedError("task_failed")
        question, answer = text_of(reply["question"]), text_of(reply["answer"])
        if "metadata" in reply:  # what the scorer reads
            answer = json.dumps({"answer": reply["answer"], "metadata": reply["metadata"]}, ensure_ascii=False)
        if not question or not answer:
            raise RowRejectedError("empty_answer" if question else "empty_question")
        return Problem(
            id=self._id(split, index),
            question=question,
            answer=answer,
            source=f"{PREFIX}{self.task}",
            verifier=verifier or KIND,
            index=index,
            metadata=metadata_json({"task": self.task, "seed": self.seed}),
        )

    def _id(self, split: str, index: int) -> str:
        """The id of a problem: no other task, options, split or seed has it."""
        options = f"-{fingerprint(self.options)}" if self.options else ""
        return f"{PREFIX}{self.task}/{split}/{self.seed}{options}/{index:05d}"

    def _seed(self, split: str, number: int) -> int:
        """The seed of a block, in the 31 bits that leave room for the places in it: numpy takes 32."""
        digest = blake2b(f"{self._id(split, 0)} {number}".encode(), digest_size=4).digest()
        return int.from_bytes(digest, "big") >> 1

    def _ask(self, child: subprocess.Popen[bytes], request: Mapping[str, Any]) -> Reply:
        try:
            reply: Reply = json.loads(exchange(child, json.dumps(request).encode() + b"\n", REPLY_SECONDS))
        except TimeoutError:
            raise DistillError(
                f"task '{self.task}' works on one problem for more than {REPLY_SECONDS:.0f} seconds",
                hint="source.options may make it easier",
            ) from None
        except (EOFError, ValueError):
            raise DistillError(
                f"the process that makes problems of '{self.task}' ended", hint="is there memory left?"
            ) from None
        return reply


@contextmanager
def _child() -> Iterator[subprocess.Popen[bytes]]:
    search_path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    child = subprocess.Popen(
        # Not put on the child's path: the folder of the file, whose modules have the names of others.
        [sys.executable, "-P", str(Path(__file__).with_name("gym_process.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        start_new_session=True,  # Ctrl-C is for this process
        env={**os.environ, "PYTHONPATH": search_path, "PYTHONHASHSEED": "0"},
    )
    with child:  # which closes the pipes and reaps it
        try:
            yield child
        finally:
            child.kill()
