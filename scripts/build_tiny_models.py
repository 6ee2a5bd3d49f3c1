r"""Build the tiny teacher and the tiny base student of the quick start, from nothing and from a seed.

Both are real Qwen2 checkpoints with one byte-level BPE tokenizer. Both read the same stories of
``distill.arithmetic``, the held-out questions left out. They differ in size and in what they were
shown to write:

* the teacher sees worked completions, three of ten in a wordier manner;
* the student sees a mixed bag, as a base model does: half of its completions give up after two
  steps, some drop the template, and the rest are worked in full. It can do the sums and follow
  long stories, but seldom does. That is what distillation has to mend.

Neither is trained to the end, so the teacher errs often enough at temperature 0.9 for its groups to
hold wrong completions too.

``python scripts/build_tiny_models.py`` takes about ten minutes on one idle core. With another
machine, another version of torch or another number of threads, sums round otherwise and the
accuracies move by some points.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from distill.arithmetic import (
    FAMILIAR,
    SPLITS,
    UNFAMILIAR,
    Story,
    Wording,
    arithmetic_problems,
    checksum,
    pick,
    tell_story,
    worked_completion,
)

if TYPE_CHECKING:
    import torch
    from transformers import Qwen2ForCausalLM, Qwen2Tokenizer

ASSETS = Path(__file__).resolve().parent.parent / "distill" / "assets"
SPECIAL_TOKENS = ("<|pad|>", "<|im_start|>", "<|im_end|>")
TEMPLATE_TOKENS = ("<think>", "</think>", "<answer>", "</answer>", "\\boxed{")
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
IGNORED = -100
MAX_NEW_TOKENS = 96
MAX_POSITIONS = 1024
MEASURED = (("test", 0.0), ("test", 0.9), ("ood", 0.0))
README = """# The tiny models of the quick start

Two Qwen2 checkpoints and their tokenizer, made for the word problems of `distill.arithmetic` by
`python scripts/build_tiny_models.py`. They know nothing else.

Share of problems answered correctly, in percent (answer: the last box of the completion):

| model | test, greedy | test, temperature 0.9 | ood, greedy |
| --- | ---: | ---: | ---: |
{rows}

`test` and `ood` have 1,000 problems each, so a figure is sure to about 3 points. No question of
`validation`, `test` or `ood` was trained on. The wording and the length of `ood` were, a little, by
both models; they are out of distribution for whoever trains on the `train` split.

The student can do the sums, but half of the completions it was shown give up after two steps. Weights are
stored in float16 and measured in float32; prompts are rendered by the chat template; there is no
system message unless you give one.
"""


@dataclass(frozen=True, slots=True)
class Recipe:
    """One model: what it is shown to write, its size and its schedule."""

    name: str
    write: Callable[[Random, Story], str]
    hidden_size: int
    num_heads: int
    num_key_value_heads: int
    num_layers: int
    intermediate_size: int
    num_steps: int
    learning_rate: float = 3e-3
    batch_size: int = 64


def teacher_completion(rng: Random, story: Story) -> str:
    """Write the worked completion, or in three of ten cases a wordier one of the same steps."""
    if rng.random() < 0.7:
        return worked_completion(story.steps)
    wordy = [f"now {step}" if rng.random() < 0.5 else f"so {step}" for step in story.steps]
    return worked_completion(wordy)


def student_completion(rng: Random, story: Story) -> str:
    """Write what a careless base model might: hasty, without the template, or worked in full."""
    manner = rng.random()
    if manner < 0.5:
        return worked_completion(story.steps[:2])
    if manner < 0.65:
        return " ".join(story.steps)
    return worked_completion(story.steps)


RECIPES = (
    Recipe("teacher", teacher_completion, 128, 4, 2, 4, 352, num_steps=800),
    Recipe("student", student_completion, 96, 3, 1, 4, 256, num_steps=850),
)


def stories(seed: str) -> Iterator[Story]:
    """Tell stories for ever, of 1 to 5 steps and in both wordings; no question of a held-out split is among them."""
    rng = Random(seed)
    while True:
        num_steps = pick(rng, (1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5))
        wording: Wording = UNFAMILIAR if rng.random() < 0.2 else FAMILIAR
        story = tell_story(rng, num_steps, max_start=pick(rng, (20, 20, 20, 40)), wording=wording)
        if checksum(story.question) in SPLITS["train"].checksums:
            yield story


def build_tokenizer(seed: str) -> Qwen2Tokenizer:
    """Learn a byte-level BPE on the stories: whole words, single digits, any text representable.

    Its class, pre-tokenizer and NFC normalizer are Qwen2's own: whatever a checkpoint says,
    ``AutoTokenizer`` gives every model of type qwen2 that class.
    """
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, trainers
    from transformers import Qwen2Tokenizer

    named = {"unk_token": None, "eos_token": "<|im_end|>", "pad_token": "<|pad|>"}
    pipeline = Qwen2Tokenizer(**named).backend_tokenizer
    learner = Tokenizer(models.BPE())
    learner.normalizer, learner.pre_tokenizer = pipeline.normalizer, pipeline.pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=640,  # more than there are words to learn, so every word becomes one token
        min_frequency=2,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    corpus = [story.question for story in itertools.islice(stories(seed), 4000)]
    learner.train_from_iterator([*corpus, *["system\nuser\nassistant\nnow so"] * 400], trainer)
    learned = json.loads(learner.to_str())["model"]
    tokenizer = Qwen2Tokenizer(
        vocab=learned["vocab"],
        merges=[tuple(pair) for pair in learned["merges"]],
        additional_special_tokens=["<|im_start|>"],
        chat_template=CHAT_TEMPLATE,
        padding_side="left",
        model_max_length=MAX_POSITIONS,
        **named,
    )
    # Not special, so that they stay in the text when special tokens are skipped.
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=False) for token in TEMPLATE_TOKENS])
    return tokenizer


def build_model(recipe: Recipe, tokenizer: Qwen2Tokenizer) -> Qwen2ForCausalLM:
    """Make an untrained model of the recipe's size for the tokenizer."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden_size,
        intermediate_size=recipe.intermediate_size,
        num_hidden_layers=recipe.num_layers,
        num_attention_heads=recipe.num_heads,
        num_key_value_heads=recipe.num_key_value_heads,
        max_position_embeddings=MAX_POSITIONS,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return Qwen2ForCausalLM(config)


def render(tokenizer: Qwen2Tokenizer, question: str) -> str:
    """Render a question as the prompt that the whole project uses."""
    messages = [{"role": "user", "content": question}]
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


def encode(tokenizer: Qwen2Tokenizer, texts: list[str]) -> list[list[int]]:
    """Tokenise texts without adding anything to them."""
    return list(tokenizer(texts, add_special_tokens=False)["input_ids"])


def batches(recipe: Recipe, tokenizer: Qwen2Tokenizer, seed: str) -> Iterator[list[tuple[list[int], int]]]:
    """Yield batches of (token ids of prompt and completion, length of the prompt), alike in length within a batch."""
    source, rng = stories(seed), Random(f"{seed}/{recipe.name}")
    while True:
        told = list(itertools.islice(source, recipe.batch_size * 8))
        prompts = encode(tokenizer, [render(tokenizer, story.question) for story in told])
        completions = encode(tokenizer, [recipe.write(rng, story) + "<|im_end|>" for story in told])
        rows = [(p + c, len(p)) for p, c in zip(prompts, completions, strict=True)]
        rows.sort(key=lambda row: len(row[0]))
        cut = [rows[start : start + recipe.batch_size] for start in range(0, len(rows), recipe.batch_size)]
        rng.shuffle(cut)
        yield from cut


def batch_loss(model: Qwen2ForCausalLM, rows: list[tuple[list[int], int]], pad: int) -> torch.Tensor:
    """Mean cross-entropy over the completion tokens of a batch, the end token included."""
    import torch

    width = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([row + [pad] * (width - len(row)) for row, _ in rows])
    targets = torch.full_like(ids, IGNORED)
    for index, (row, start) in enumerate(rows):
        targets[index, start : len(row)] = ids[index, start : len(row)]
    # Padding stands on the right and causal attention never looks there, so no attention mask is needed.
    logits = model(input_ids=ids, use_cache=False).logits
    return torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1).float(), targets[:, 1:].flatten(), ignore_index=IGNORED
    )


def take_steps(
    model: Qwen2ForCausalLM,
    batches: Iterable[list[tuple[list[int], int]]],
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    pad: int,
) -> None:
    """Train a model on every batch once."""
    import torch

    started = time.monotonic()
    for step, rows in enumerate(batches, start=1):
        loss = batch_loss(model, rows, pad)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 100 == 0:
            print(f"  step {step}: loss {loss.item():.4f}, {time.monotonic() - started:.0f} s", flush=True)


def train(recipe: Recipe, tokenizer: Qwen2Tokenizer, seed: int) -> Qwen2ForCausalLM:
    """Train a model of the recipe from scratch."""
    import torch

    torch.manual_seed(seed)
    model = build_model(recipe, tokenizer).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=0.01, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=recipe.num_steps, pct_start=0.15
    )
    print(f"{recipe.name}: {model.num_parameters():,} parameters, {recipe.num_steps} steps", flush=True)
    source = batches(recipe, tokenizer, f"models/{seed}")
    take_steps(model, itertools.islice(source, recipe.num_steps), optimizer, schedule, tokenizer.pad_token_id)
    return model.eval()


def sample(
    model: Qwen2ForCausalLM, tokenizer: Qwen2Tokenizer, questions: list[str], temperature: float, seed: int = 0
) -> list[str]:
    """Sample one completion per question, greedily at temperature 0; the end token is cut off."""
    import torch

    torch.manual_seed(seed)
    prompts = encode(tokenizer, [render(tokenizer, question) for question in questions])
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    completions = [""] * len(prompts)
    for start in range(0, len(order), 256):
        chosen = order[start : start + 256]
        padded = tokenizer.pad({"input_ids": [prompts[index] for index in chosen]}, return_tensors="pt")
        how = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}
        with torch.no_grad():
            ids = model.generate(**padded, max_new_tokens=MAX_NEW_TOKENS, **how)[:, padded["input_ids"].shape[1] :]
        for index, text in zip(chosen, tokenizer.batch_decode(ids), strict=True):
            completions[index] = text.partition("<|im_end|>")[0]
    return completions


def is_correct(completion: str, answer: str) -> bool:
    """Whether the last box of a completion holds exactly the answer."""
    boxes = re.findall(r"\\boxed\{([^{}]*)\}", completion)
    return bool(boxes) and boxes[-1] == answer


def accuracy(model: Qwen2ForCausalLM, tokenizer: Qwen2Tokenizer, split: str, temperature: float) -> float:
    """Share of a split's problems that a model answers correctly."""
    problems = list(arithmetic_problems(split))
    completions = sample(model, tokenizer, [problem.question for problem in problems], temperature)
    judged = [is_correct(text, problem.answer) for text, problem in zip(completions, problems, strict=True)]
    return sum(judged) / len(judged)


def save(model: Qwen2ForCausalLM, tokenizer: Qwen2Tokenizer, folder: Path) -> None:
    """Write a checkpoint in float16, in place of any older one."""
    import torch

    shutil.rmtree(folder, ignore_errors=True)
    model.to(torch.float16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for path in folder.iterdir():
        path.chmod(0o644)  # safetensors writes files that only their owner may read


def measure(folder: Path) -> tuple[float, ...]:
    """Load a saved checkpoint in float32 and measure its accuracy in every cell of the README's table."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return tuple(accuracy(model, tokenizer, split, temperature) for split, temperature in MEASURED)


def write_readme(out: Path) -> None:
    """Measure the checkpoints that are there and write down what they are."""
    present = [recipe for recipe in RECIPES if (out / recipe.name).is_dir()]
    rows = []
    for recipe in present:
        cells = " | ".join(f"{100 * value:.1f}" for value in measure(out / recipe.name))
        rows.append(f"| {recipe.name} | {cells} |")
        print(rows[-1], flush=True)
    (out / "README.md").write_text(README.format(rows="\n".join(rows)), encoding="utf-8")


def main() -> None:
    """Build the models, then measure them."""
    import torch
    from transformers.utils import logging

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ASSETS, help="where the folders teacher and student go")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other models")
    parser.add_argument("--threads", type=int, default=1, help="threads for torch; another number rounds otherwise")
    parser.add_argument("--only", choices=[recipe.name for recipe in RECIPES], help="build one of them, keep the other")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.disable_progress_bar()
    tokenizer = build_tokenizer(f"tokenizer/{options.seed}")
    print(f"tokenizer: {len(tokenizer)} tokens")
    for recipe in RECIPES:
        if options.only in (None, recipe.name):
            save(train(recipe, tokenizer, options.seed), tokenizer, options.out / recipe.name)
    write_readme(options.out)


if __name__ == "__main__":
    main()
