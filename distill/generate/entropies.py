"""Exact teacher entropies by a second pass: read the completions again with local weights.

For completions of any backend whose token ids are the model's own. Per token t of a completion y

    H_t = - sum_v P(v | x, y_<t) log P(v | x, y_<t)        nats, temperature 1, the whole vocabulary

is the entropy of the distribution that emitted y_t: the model's word after reading y_(t-1).

A prompt is read once for all its completions where the model can read packed groups, see
``distill.packing.attention``, else once for each.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, TypeAlias

from distill.errors import DistillError
from distill.generate.mismatch import LogprobMismatch, MismatchLog, logprob_mismatch
from distill.models import load_model, load_tokenizer, tokenizer_fingerprint
from distill.packing.group_check import use_group_attention
from distill.packing.head import check_head, token_statistics
from distill.packing.layout import GroupTokens
from distill.packing.micro_batches import micro_batches, pack
from distill.records import Group, Problem

if TYPE_CHECKING:
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)

TokenValues: TypeAlias = tuple[float, ...]
# On the CPU more tokens at once are not faster, only larger; a GPU wants large products.
TOKENS_PER_MICRO_BATCH = {"cpu": 4_096, "cuda": 16_384}
# Tokens of groups that are read together. On the CPU a group is read alone: that is as fast, and since its sums
# then do not depend on its neighbours, a run that was interrupted gives the same bits as one that was not.
TOKENS_READ_TOGETHER = {"cpu": 0, "cuda": 65_536}


@dataclass(frozen=True, slots=True)
class GroupEntropies:
    """What local weights say of one group's completions."""

    problem: Problem
    logprobs: list[TokenValues]
    """One tuple per completion, one number per token of ``token_ids``, end token included."""
    entropies: list[TokenValues]
    """Nats, parallel to ``logprobs``."""
    mismatch: LogprobMismatch | None
    """How far ``logprobs`` are from those that the tokens were sampled with; None where the engine gave none."""


@dataclass(frozen=True, slots=True)
class _Reader:
    """A loaded model, and how it reads."""

    model: PreTrainedModel
    packed: bool
    num_tokens: int
    """Of one forward pass, padding included."""
    read_together: int
    """Tokens of the groups that may stand beside each other in one."""


def score_entropies(
    groups: Iterable[Group],
    model_name: str,
    *,
    dtype: str = "auto",
    device: str = "auto",
    tokens_per_micro_batch: int | None = None,
) -> Iterator[GroupEntropies]:
    """Yield log-probabilities and entropies of every group, in the order of the groups, as soon as they are known.

    A completion without token ids gets empty tuples. No more groups are held than are read at once.

    Args:
        tokens_per_micro_batch: tokens of one forward pass, padding included; changes memory and time, not values.
            None takes what suits the device.

    Raises:
        DistillError: the completions' token ids are not those of this model's tokenizer.
    """
    fingerprint = tokenizer_fingerprint(load_tokenizer(model_name))
    checked = _checked(groups, model_name, fingerprint)
    first = next(checked, None)
    if first is None:
        return
    reader = _open(model_name, dtype, device, tokens_per_micro_batch)
    mismatches = MismatchLog(model_name)
    for together in read_together(chain([first], checked), reader.read_together):
        values = _read(reader, together)
        for number, group in enumerate(together):
            found = [values.get((number, index), ((), ())) for index in range(len(group.completions))]
            logprobs, entropies = [pair[0] for pair in found], [pair[1] for pair in found]
            mismatch = logprob_mismatch(group.completions, logprobs)
            mismatches.add(group.problem.id, mismatch)
            yield GroupEntropies(group.problem, logprobs, entropies, mismatch)
    mismatches.close()


def read_together(groups: Iterable[Group], num_tokens: int) -> Iterator[list[Group]]:
    """The groups in their order, as many at a time as have ``num_tokens`` with each prompt once, or a larger one.

    With 0 every group comes alone.
    """
    together: list[Group] = []
    total = 0
    for group in groups:
        size = len(group.prompt.token_ids) + sum(len(completion.token_ids) for completion in group.completions)
        if together and total + size > num_tokens:
            yield together
            together, total = [], 0
        together.append(group)
        total += size
    if together:
        yield together


def _open(model_name: str, dtype: str, device: str, tokens_per_micro_batch: int | None) -> _Reader:
    model = load_model(model_name, dtype=dtype, device=device)
    check_head(model)
    reason = use_group_attention(model)
    if reason:
        logger.warning("'%s' reads the prompt again for each of its completions: %s", model_name, reason)
    device_type = model.device.type if model.device.type in TOKENS_PER_MICRO_BATCH else "cpu"
    num_tokens = tokens_per_micro_batch or TOKENS_PER_MICRO_BATCH[device_type]
    return _Reader(model, not reason, num_tokens, TOKENS_READ_TOGETHER[device_type])


def _checked(groups: Iterable[Group], model_name: str, fingerprint: str) -> Iterator[Group]:
    for group in groups:
        _check_tokens(group, model_name, fingerprint)
        yield group


def _check_tokens(group: Group, model_name: str, fingerprint: str) -> None:
    """Raise unless the group's token ids mean to the model what they meant to the teacher."""
    if not any(completion.token_ids for completion in group.completions):
        return
    if group.tokenizer_fingerprint != fingerprint:
        found = f"tokenizer '{group.tokenizer_fingerprint}'" if group.tokenizer_fingerprint else "an unknown tokenizer"
        raise DistillError(
            f"the token ids of problem '{group.problem.id}' are of {found}, '{model_name}' has '{fingerprint}'",
            hint="take the teacher's own weights; for recorded completions set recorded.tokenizer to that model",
        )
    if not group.prompt.token_ids:
        raise DistillError(
            f"the prompt of problem '{group.problem.id}' has no token ids, so its completions cannot be read again",
            hint="for recorded completions set recorded.tokenizer, with which prompts are rendered",
        )


def _read(reader: _Reader, groups: Sequence[Group]) -> dict[tuple[int, int], tuple[TokenValues, TokenValues]]:
    """The log-probabilities and entropies of each completion that has tokens, by group and index."""
    import torch

    places = [
        (number, i) for number, group in enumerate(groups) for i, c in enumerate(group.completions) if c.token_ids
    ]
    tokens = [GroupTokens(g.prompt.token_ids, [c.token_ids for c in g.completions if c.token_ids]) for g in groups]
    found = {}
    for passed in micro_batches(tokens, reader.num_tokens, packed=reader.packed):
        batch = pack(passed, packed=reader.packed, pad_id=0)
        with torch.inference_mode():
            statistics = token_statistics(reader.model, batch.to(reader.model.device))
        lengths = batch.completion_lengths.tolist()
        logprobs = torch.split(statistics.logprobs.cpu(), lengths)
        entropies = torch.split(statistics.entropies.cpu(), lengths)
        for completion, *values in zip(passed.completions, logprobs, entropies, strict=True):
            its_logprobs, its_entropies = (tuple(each.tolist()) for each in values)
            found[places[completion]] = its_logprobs, its_entropies
    return found
