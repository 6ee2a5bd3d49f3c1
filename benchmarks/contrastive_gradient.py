"""Where the contrastive term of AdvDistill acts inside a wrong completion.

    python benchmarks/contrastive_gradient.py runs/quickstart/groups

Every token of a wrong completion is a template token, part of what is right (words and equations before the first
false one), part of the first false equation, or after it. Prints each kind's share of the term's gradient norm over
logits, and how the gradient over the parameters of the right and the false kinds stands to that of the cross entropy.
"""

from __future__ import annotations

import argparse
import itertools
import re
from pathlib import Path
from typing import Any

import torch

from distill import load_groups
from distill.config import LossConfig
from distill.models import load_model, load_tokenizer
from distill.records import Group, Outcome
from distill.train.losses.advdistill import softmax_weights

EQUATION = re.compile(r"-?\d+[-+*]\d+=-?\d+")
TEMPLATE = re.compile(r"</?think>|</?answer>|\\boxed\{|\}|\n")
KINDS = ("template", "right", "false", "after")
LOSS = LossConfig()


def kinds_of_tokens(text: str, solution: str, offsets: list[int]) -> list[str]:
    """The kind of each token; token t covers characters ``offsets[t]`` to ``offsets[t + 1]``."""
    gold, thought = EQUATION.findall(solution), text.partition("</think>")[0]
    found = list(EQUATION.finditer(thought))
    wrong = (m.span() for n, m in enumerate(found) if n >= len(gold) or m.group() != gold[n])
    start, end = next(wrong, (len(thought), len(thought)))
    template = [m.span() for m in TEMPLATE.finditer(text)]
    kinds = []
    for a, b in itertools.pairwise(offsets):
        is_template = a >= len(text) or any(low <= a and b <= high for low, high in template)
        kinds.append("template" if is_template else "right" if b <= start else "false" if a < end else "after")
    return kinds


def token_logprobs(model: Any, group: Group, index: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities (T,) of a completion's tokens, and all (T, V) that they come from."""
    prompt, ids = list(group.prompt.token_ids), list(group.completions[index].token_ids)
    logits = model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1]
    everything = torch.log_softmax(logits, dim=-1)
    return everything.gather(1, torch.tensor(ids)[:, None])[:, 0], everything


def add_gradient(total: list[torch.Tensor], loss: torch.Tensor, parameters: list[Any], *, keep: bool) -> None:
    for summed, gradient in zip(total, torch.autograd.grad(loss, parameters, retain_graph=keep), strict=True):
        summed.add_(gradient)


def cosine(first: list[torch.Tensor], second: list[torch.Tensor]) -> float:
    a, b = (torch.cat([part.flatten() for part in parts]) for parts in (first, second))
    return float(a @ b / (a.norm() * b.norm()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--model", default="tiny-student")
    options = parser.parse_args()
    model, tokenizer = load_model(options.model, dtype="float32", device="cpu"), load_tokenizer(options.model)
    parameters = list(model.parameters())
    norms = dict.fromkeys(KINDS, 0.0)
    zeros = lambda: [torch.zeros_like(parameter) for parameter in parameters]  # noqa: E731
    cross_entropy, innocent, guilty, num_wrong = zeros(), zeros(), zeros(), 0
    for group, scores in load_groups(options.dataset, kept_only=True):
        weights = softmax_weights(scores.advantages, LOSS.temperature)
        for index, (verdict, weight) in enumerate(zip(scores.verdicts, weights, strict=True)):
            logprobs, everything = token_logprobs(model, group, index)
            is_wrong = verdict.outcome in (Outcome.INCORRECT, Outcome.NO_ANSWER)
            add_gradient(cross_entropy, -weight * logprobs.mean(), parameters, keep=is_wrong)
            if not is_wrong:
                continue
            num_wrong += 1
            completion, probabilities = group.completions[index], logprobs.detach().exp()
            mean = probabilities.mean()
            # dL/dlogp_t = lambda / N * p_t / (T (1 - pbar)), and 0 where pbar is clamped
            slope = LOSS.contrastive_weight / len(scores.verdicts) * probabilities / len(logprobs) / (1 - mean)
            slope = slope * (mean < LOSS.max_probability)
            texts = [tokenizer.decode(completion.token_ids[:t]) for t in range(len(logprobs) + 1)]
            kinds = kinds_of_tokens(completion.text, group.problem.solution, [len(text) for text in texts])
            # dlogp/dz = onehot - p, whose squared norm is 1 - 2 p_y + sum p^2
            squared = 1 - 2 * probabilities + everything.detach().exp().square().sum(-1)
            for kind, norm in zip(kinds, (slope * squared.clamp(min=0).sqrt()).tolist(), strict=True):
                norms[kind] += norm
            is_innocent = torch.tensor([kind in ("template", "right") for kind in kinds])
            add_gradient(innocent, (slope * logprobs)[is_innocent].sum(), parameters, keep=True)
            add_gradient(guilty, (slope * logprobs)[~is_innocent].sum(), parameters, keep=False)
    print(f"{num_wrong} wrong completions; share of the gradient norm over logits:")
    print(", ".join(f"{kind} {100 * norm / sum(norms.values()):.0f} %" for kind, norm in norms.items()))
    print(f"cosine with the cross entropy: template and right {cosine(cross_entropy, innocent):+.2f}", end=", ")
    print(f"false and after {cosine(cross_entropy, guilty):+.2f}")


if __name__ == "__main__":
    main()
