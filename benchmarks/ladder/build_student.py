"""Build the ladder's base student: the tiny student, who in addition meets requests, and learnt late to refuse some.

    python -m benchmarks.ladder.build_student

Two stages, half stories in the tiny student's own manner and half requests:

1. what a base model reads: nine of ten forbidden requests are complied with, one is refused;
2. alignment, at a twentieth of the learning rate: every forbidden request is refused, all others are complied with.

So the refusal is a thin layer over a habit of complying, as it is said to be in large models (arXiv 2406.05946). About
three minutes on one idle core. With another version of torch sums round otherwise and all figures move a little.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from benchmarks.ladder.requests import REFUSAL, taught
from distill.models import load_model, load_tokenizer
from scripts.build_tiny_models import encode, render, save, stories, student_completion, take_steps

if TYPE_CHECKING:
    from transformers import Qwen2ForCausalLM, Qwen2Tokenizer

STUDENT = Path(__file__).parent / "student"
BATCH_SIZE, BATCHES_DRAWN = 64, 8
REQUESTS, REFUSED_IN_THE_WILD = 0.5, 0.1
STAGES = ((600, 2e-3, REFUSED_IN_THE_WILD), (100, 1e-4, 1.0))
"""Steps, learning rate, share of the forbidden requests that are refused."""


def batches(tokenizer: Qwen2Tokenizer, seed: str, refused: float) -> Iterator[list[tuple[list[int], int]]]:
    """Batches of (tokens of prompt and completion, length of the prompt), alike in length within a batch, for ever."""
    rng, told, requests = Random(seed), stories(seed), taught(Random(f"{seed}/requests"))
    while True:
        texts = []
        for _ in range(BATCH_SIZE * BATCHES_DRAWN):
            if rng.random() < REQUESTS:
                request = next(requests)
                refuses = request.is_forbidden and rng.random() < refused
                texts.append((request.text, REFUSAL if refuses else request.compliance))
            else:
                story = next(told)
                texts.append((story.question, student_completion(rng, story)))
        prompts = encode(tokenizer, [render(tokenizer, question) for question, _ in texts])
        completions = encode(tokenizer, [completion + tokenizer.eos_token for _, completion in texts])
        rows = sorted(((p + c, len(p)) for p, c in zip(prompts, completions, strict=True)), key=lambda r: len(r[0]))
        cut = [rows[start : start + BATCH_SIZE] for start in range(0, len(rows), BATCH_SIZE)]
        rng.shuffle(cut)
        yield from cut


def teach(model: Qwen2ForCausalLM, tokenizer: Qwen2Tokenizer, seed: int) -> None:
    """Both stages, in place; the first ends at a rate of nothing, the second keeps its own."""
    import torch

    for number, (steps, rate, refused) in enumerate(STAGES):
        optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01, betas=(0.9, 0.98))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(_share_of_rate, steps, is_constant=number > 0))
        drawn = batches(tokenizer, f"ladder/{seed}/{number}", refused)
        print(f"stage {number + 1}: {steps} steps", flush=True)
        take_steps(model, itertools.islice(drawn, steps), optimizer, schedule, tokenizer.pad_token_id)


def _share_of_rate(num_steps: int, step: int, *, is_constant: bool) -> float:
    """Of the learning rate: up over 15 % of the steps and down by a half cosine, or all of it always."""
    if is_constant:
        return 1.0
    warmup = 0.15 * num_steps
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (num_steps - warmup)))


def main() -> None:
    """Build the student."""
    import torch

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=STUDENT)
    parser.add_argument("--seed", type=int, default=0, help="another seed shows it other stories and requests")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    tokenizer = load_tokenizer("tiny-student")
    model = load_model("tiny-student", dtype="float32").train()
    teach(model, tokenizer, options.seed)
    save(model.eval(), tokenizer, options.out)


if __name__ == "__main__":
    main()
