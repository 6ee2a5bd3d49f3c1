"""How sure the teacher and the base student are of the first token of an answer to a story, in nats.

python -m benchmarks.ladder.first_token
"""

from __future__ import annotations

from itertools import islice

import torch

from benchmarks.ladder.rungs import STUDENT
from distill.arithmetic import arithmetic_problems
from distill.models import load_model, load_tokenizer

STORIES = 50


def mean_entropy(name: str) -> float:
    """Of the distribution behind the prompt, over the first test stories."""
    tokenizer, model = load_tokenizer(name), load_model(name, dtype="float32", device="cpu")
    entropies = []
    for problem in islice(arithmetic_problems("test"), STORIES):
        messages = [{"role": "user", "content": problem.question}]
        ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        with torch.inference_mode():
            logprobs = model(ids["input_ids"]).logits[0, -1].log_softmax(-1)
        entropies.append(float(-(logprobs.exp() * logprobs).sum()))
    return sum(entropies) / len(entropies)


if __name__ == "__main__":
    for name in ("tiny-teacher", str(STUDENT)):
        print(f"{name.rpartition('/')[2]}: {mean_entropy(name):.4f}")
