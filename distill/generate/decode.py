"""A window of completions that are decoded together, one token each per step.

Every completion has a generator of its own, so its tokens depend on its seed and on nothing that is
decoded beside it, but for the rounding of floating-point sums over batches of another shape.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from distill.errors import DistillError
from distill.generate.cache_rows import Rows, has_columns, merge_rows, new_cache, without_finished
from distill.generate.next_token import completion_uniforms, draw_tokens, raw_statistics

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True)
class DecodeOptions:
    """How completions are decoded."""

    temperature: float
    top_p: float
    max_new_tokens: int
    end_ids: frozenset[int]
    with_entropies: bool = True
    max_rows: int = 128
    """Completions in the window at once."""


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt of which ``len(seeds)`` completions are wanted, each of at most ``limit`` tokens."""

    key: int
    prompt_ids: Sequence[int]
    seeds: Sequence[int]
    limit: int


@dataclass(frozen=True, slots=True)
class Decoded:
    """A finished completion: which one it is, its tokens and what the model said of each."""

    key: int
    index: int
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    entropies: tuple[float, ...] | None
    ended: bool
    """True when the last token is an end token."""


class DecodeWindow:
    """Rows of a causal language model's cache, and what each completion has got so far.

    A running completion has a slot: its line in the (S, L) tensors that hold its numbers from the
    first token to the last. Rows move when others leave, slots stay. A finished row draws on until it
    is dropped, at the next admission at the latest, and writes over the line that was just read.
    """

    def __init__(self, model: PreTrainedModel, options: DecodeOptions) -> None:
        import torch

        self.options = options
        self._model = model
        self._device = device = model.device
        self._end_ids = torch.tensor(sorted(options.end_ids), dtype=torch.int64, device=device)
        accepted = inspect.signature(model.forward).parameters
        if "past_key_values" not in accepted:
            raise DistillError(
                f"the model of type '{model.config.model_type}' keeps no key-value cache, which sampling needs",
                hint="sample with another backend and record its completions: teacher.backend recorded",
            )
        self._takes_positions = "position_ids" in accepted
        self._last_logits = {"logits_to_keep": 1} if "logits_to_keep" in accepted else {}
        self._can_merge = has_columns(new_cache(model.config))
        size = options.max_rows, options.max_new_tokens
        self._tokens = torch.zeros(size, dtype=torch.int64, device=device)
        self._logprobs = torch.zeros(size, dtype=torch.float32, device=device)
        self._entropies = torch.zeros(size, dtype=torch.float32, device=device)
        wide = torch.float32 if device.type == "mps" else torch.float64
        self._uniforms = torch.zeros(size if options.temperature > 0 else (0, 0), dtype=wide, device=device)
        self._free = list(range(options.max_rows))
        self._owners: dict[int, tuple[int, int]] = {}
        self._rows: Rows | None = None

    @property
    def num_running(self) -> int:
        """Completions that are not finished."""
        return len(self._owners)

    @property
    def num_free(self) -> int:
        """Completions that may be admitted now."""
        return len(self._free) if self._can_merge or not self._owners else 0

    def admit(self, requests: Sequence[Request]) -> None:
        """Read the prompts, each once, and give every completion a row."""
        import torch

        with torch.inference_mode():
            new = self._prefill(requests)
            self._rows = new if self._rows is None else merge_rows(self._rows, new)

    def step(self) -> list[Decoded]:
        """Give every running completion its next token; return those that are finished by it."""
        import torch

        if self._rows is None:
            return []
        with torch.inference_mode():
            finished = self._draw(self._rows)
            self._rows = without_finished(self._rows, len(self._owners))
            if self._rows is not None:
                self._append_column(self._rows)
        return finished

    def _prefill(self, requests: Sequence[Request]) -> Rows:
        """Rows whose next-token logits are those after their prompts."""
        import torch

        num_columns = max(len(request.prompt_ids) for request in requests)
        padding = [num_columns - len(request.prompt_ids) for request in requests]
        ids = [[0] * pad + list(request.prompt_ids) for pad, request in zip(padding, requests, strict=True)]
        mask = torch.arange(num_columns)[None, :] >= torch.tensor(padding)[:, None]
        mask = mask.to(self._device)
        positions = (mask.cumsum(dim=-1) - 1).clamp(min=0)
        cache = new_cache(self._model.config)
        logits = self._forward(torch.tensor(ids, device=self._device), mask, positions, cache)
        copies = torch.tensor([n for n, request in enumerate(requests) for _ in request.seeds], device=self._device)
        cache.reorder_cache(copies)
        return Rows(
            cache=cache,
            mask=mask[copies],
            logits=logits[copies],
            tokens=torch.zeros_like(copies),
            slots=torch.cat([self._take_slots(request) for request in requests]),
            lengths=torch.zeros_like(copies),
            limits=torch.tensor([request.limit for request in requests], device=self._device)[copies],
            running=torch.ones_like(copies, dtype=torch.bool),
        )

    def _take_slots(self, request: Request) -> torch.Tensor:
        """Slots (N,) for a request's completions, their uniform numbers written into them."""
        import torch

        slots = [self._free.pop() for _ in request.seeds]
        self._owners.update({slot: (request.key, index) for index, slot in enumerate(slots)})
        if self.options.temperature > 0:
            uniforms = completion_uniforms(request.seeds, request.limit)
            self._uniforms[slots, : request.limit] = uniforms.to(self._uniforms.dtype).to(self._device)
        return torch.tensor(slots, device=self._device)

    def _draw(self, rows: Rows) -> list[Decoded]:
        """Draw every row's next token, write down what belongs to it, and collect finished completions."""
        import torch

        options, place = self.options, (rows.slots, rows.lengths)
        logits = rows.logits.float()
        uniforms = self._uniforms[place] if options.temperature > 0 else logits[:, 0]
        rows.tokens = draw_tokens(logits, uniforms, options.temperature, options.top_p)
        logprobs, entropies = raw_statistics(logits, rows.tokens, with_entropies=options.with_entropies)
        self._tokens[place], self._logprobs[place] = rows.tokens, logprobs
        if entropies is not None:
            self._entropies[place] = entropies
        rows.lengths += 1
        ended = torch.isin(rows.tokens, self._end_ids)
        done = rows.running & (ended | (rows.lengths >= rows.limits))
        # one transfer tells of both: 1 is finished, 2 is broken
        status = torch.where(rows.running & ~logprobs.isfinite(), 2, done.long()).tolist()
        if 2 in status:
            raise DistillError(
                f"the model gives no finite probabilities in {self._model.dtype}",
                hint="float16 overflows in many models: take dtype bfloat16 or float32",
            )
        finished = [row for row, code in enumerate(status) if code]
        return self._collect(rows, torch.tensor(finished, device=self._device), ended) if finished else []

    def _collect(self, rows: Rows, finished: torch.Tensor, ended: torch.Tensor) -> list[Decoded]:
        """Read the completions of the ``finished`` rows (F,) and take their slots back."""
        slots, lengths = rows.slots[finished], rows.lengths[finished].tolist()
        longest = max(lengths)
        tokens = self._tokens[slots, :longest].tolist()
        logprobs = self._logprobs[slots, :longest].tolist()
        entropies = self._entropies[slots, :longest].tolist() if self.options.with_entropies else None
        decoded = []
        for n, (slot, length, end) in enumerate(zip(slots.tolist(), lengths, ended[finished].tolist(), strict=True)):
            key, index = self._owners.pop(slot)
            self._free.append(slot)
            measured = None if entropies is None else tuple(entropies[n][:length])
            decoded.append(
                Decoded(key, index, tuple(tokens[n][:length]), tuple(logprobs[n][:length]), measured, bool(end))
            )
        rows.running[finished] = False
        rows.lengths[finished] = 0
        return decoded

    def _append_column(self, rows: Rows) -> None:
        """Let the model read the tokens just drawn."""
        import torch

        # finished rows are given position 0, for learned positions end where the context does
        positions = torch.where(rows.running, rows.mask.sum(dim=-1), 0)
        rows.mask = torch.nn.functional.pad(rows.mask, (0, 1), value=True)
        rows.logits = self._forward(rows.tokens[:, None], rows.mask, positions[:, None], rows.cache)

    def _forward(self, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, cache: Any) -> torch.Tensor:
        """Logits (R, V) of the token after the last of ``ids`` (R, T); ``mask`` (R, C) is True on real columns."""
        where = {"position_ids": positions} if self._takes_positions else {}
        answer = self._model(
            input_ids=ids,
            attention_mask=mask.long(),
            past_key_values=cache,
            use_cache=True,
            **where,
            **self._last_logits,
        )
        logits: torch.Tensor = answer.logits[:, -1]
        return logits
