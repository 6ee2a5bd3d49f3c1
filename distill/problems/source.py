"""A split of a source or benchmark: its rows picked, mapped to problems, and every rejected row accounted for."""

from __future__ import annotations

import hashlib
import heapq
import importlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from distill.cards import Card
from distill.errors import DistillError
from distill.problems.cells import ABSENT, lookup
from distill.problems.gym import GymTask
from distill.problems.hub import hub_rows, pinned_commit
from distill.problems.hub_cache import cached_rows
from distill.problems.mapping import RowMapping
from distill.problems.rejection import Rejected, RowRejectedError
from distill.problems.rows import Row, file_rows, part_rows
from distill.problems.seen import SeenTexts
from distill.records import Problem

Key = tuple[int, int]
"""Hash and place of a problem: what a hash-cut split is ordered by."""


@dataclass(slots=True)
class ProblemSource:
    """The problems of one split; iterating streams them, again and again the same ones.

    A bad row never stops the rest: it goes to ``rejected``, which each iteration starts afresh.
    """

    card: Card
    split: str
    mapping: RowMapping
    path: Path | None = None
    """A local file that is read instead of the Hub's rows, or a folder with a file for each of the data's parts."""
    limit: int | None = None
    overrides: tuple[tuple[str, str], ...] = ()
    """Columns that the user named: (what for, column)."""
    rejected: list[Rejected] = field(default_factory=list)
    offline: bool = False
    """Read the Hub's rows out of this machine's cache only."""
    streaming: bool = False
    """Fetch the Hub's rows as they are read."""
    gym: GymTask | None = None
    """A task that makes the problems."""

    @property
    def licence(self) -> str:
        """The licence of the problems."""
        return self.card.licence

    @property
    def expected_size(self) -> int | None:
        """How many problems there will be, where the card knows; a local file may hold fewer."""
        size = self.card.splits[self.split].size
        return min(size, self.limit) if size and self.limit else size or self.limit

    def pin(self, commit: str | None = None) -> None:
        """Read the Hub's rows at one commit from now on: the one given, or the one that its branch stands at now.

        Does nothing for other sources, nor for a card whose parts are datasets of their own.

        Raises:
            DistillError: the Hub has no such dataset or revision, or cannot be asked.
        """
        hub = self.card.hub
        if self.path is not None or hub is None or "{part}" in hub.id:
            return
        pinned = hub.model_copy(update={"revision": commit or pinned_commit(hub, self.card.hub_split(self.split))})
        self.card = self.card.model_copy(update={"hub": pinned})

    def __iter__(self) -> Iterator[Problem]:
        self.rejected.clear()
        if self.gym is not None:
            yield from self.gym.problems(self.split, self.limit or 0, self.mapping.verifier, self.rejected)
            return
        if self.card.generator and self.path is None:
            yield from self._generated(self.card.generator)
            return
        low, high = self._bounds()
        yield from self._problems(self.rejected, low, high, self.limit)

    def _generated(self, name: str) -> Iterator[Problem]:
        module, _, attribute = name.partition(":")
        for problem in getattr(importlib.import_module(module), attribute)(self.split, self.limit):
            yield replace(problem, verifier=self.mapping.verifier or problem.verifier)

    def _rows(self) -> Iterator[Row]:
        if self.path is not None and self.path.is_dir() and self.card.hub is not None:
            return part_rows(self.path, self.card.hub.parts, self.card.hub.part_column)
        if self.path is not None:
            return file_rows(self.path)
        if self.card.hub is None:
            raise DistillError(
                f"the data of '{self.card.name}' are not on the Hub",
                hint=f"download them from {self.card.homepage} and say --set source.path=FILE",
            )
        split = self.card.hub_split(self.split)
        if self.offline:
            return cached_rows(self.card.hub, split)
        return hub_rows(self.card.hub, split, streaming=self.streaming)

    def _problems(
        self, rejected: list[Rejected], low: Key | None = None, high: Key | None = None, limit: int | None = None
    ) -> Iterator[Problem]:
        """The problems whose key is above ``low`` and not above ``high``, each id once, at most ``limit``."""
        seen = SeenTexts()
        num_problems = 0
        unfound = dict(self.overrides)
        columns: dict[str, None] = {}
        reasons: Counter[str] = Counter()
        count = 0
        where = self.card.splits[self.split].where
        for index, (number, row) in enumerate(self._rows()):
            if count == limit:
                break
            if isinstance(row, dict):
                if not row.keys() <= columns.keys():
                    columns.update(dict.fromkeys(row))
                if unfound:
                    unfound = {what: name for what, name in unfound.items() if lookup(row, name) is ABSENT}
                if where and any(str(lookup(row, name)) != text for name, text in where.items()):
                    reasons["not in the split"] += 1
                    continue
            try:
                problem = self.mapping.problem(row, index)
                if not seen.add(problem.id):
                    raise RowRejectedError("duplicate_id")
            except RowRejectedError as rejection:
                reasons[str(rejection)] += 1
                row_id = self.mapping.row_id(row, index).encode("utf-8", "replace").decode()
                rejected.append(Rejected(number, row_id, str(rejection)))
                continue
            num_problems += 1
            if low is not None or high is not None:
                key = self._key(problem)
                if (low is not None and key <= low) or (high is not None and key > high):
                    continue
            count += 1
            yield problem
        self._complain(unfound, list(columns), reasons, num_problems)

    def _complain(
        self, unfound: Mapping[str, str], columns: list[str], reasons: Counter[str], num_problems: int
    ) -> None:
        """Raise when a column that is needed, or was asked for, stands in no row at all, or no row is a problem."""
        place = f"'{self.path}'" if self.path else f"'{self.card.hub.id}'" if self.card.hub else self.card.name
        asked = dict(unfound)
        if not num_problems:
            for what in ("question", "answer"):
                if set(reasons) == {f"missing_{what}"}:
                    asked.setdefault(what, "' or '".join(getattr(self.mapping.columns, what)))
        for what, name in asked.items():
            raise DistillError(
                f"{place} has no column '{name}', which the {what} is read from",
                hint=f"found: {', '.join(columns)}; name the right one with --set source.columns.{what}=NAME",
            )
        if not num_problems:
            counts = ", ".join(f"{reason} ({count})" for reason, count in reasons.most_common())
            raise DistillError(f"no row of {place} is a problem of split '{self.split}'", hint=f"rejected: {counts}")

    def _bounds(self) -> tuple[Key | None, Key | None]:
        """Between which keys the problems of a hash-cut split lie: greater than the first, up to the second.

        This takes a pass of its own over the rows, so that problems can stream in the order they stand in.
        """
        ranks = self.card.splits[self.split].ranks
        if ranks is None:
            return None, None
        needed = max(ranks.start, ranks.stop or 0)
        smallest = heapq.nsmallest(needed, (self._key(problem) for problem in self._problems([])))
        if len(smallest) < needed or not needed:
            raise DistillError(
                f"'{self.path or self.card.name}' has {len(smallest)} problems, too few to cut '{self.split}' from",
                hint=f"the card cuts at {needed} of them; other splits: {', '.join(self.card.splits)}",
            )
        return smallest[ranks.start - 1] if ranks.start else None, smallest[ranks.stop - 1] if ranks.stop else None

    def _key(self, problem: Problem) -> Key:
        """A hash of the problem's own id, or of its question when the rows bring no ids, and its place for ties."""
        own_id = problem.id != self.mapping.default_id(problem.index)
        text = f"{self.card.name}/{problem.id if own_id else problem.question}"
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big"), problem.index
