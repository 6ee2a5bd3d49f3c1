"""What a training step on groups costs, beside TRL's on the same tokens, with the same losses.

    pip install trl
    python benchmarks/train.py                    # every shape; a quarter of an hour on one core
    python benchmarks/train.py vocabulary         # one of them

Groups of 8 completions are drawn at random: a prompt of 60 tokens, completions of about 90, log-normally spread. Every
way takes the same optimizer steps (cross entropy on all completions, mean over a step's tokens, AdamW, clipping) on
the same token ids with the same first weights, in a process of its own, with one thread:

    distill    groups packed, as ``distill train`` runs
    rows       ``packing: rows``
    trl        TRL's SFTTrainer as it comes: padded, gradient checkpointing
    trl tuned  TRL's SFTTrainer padding-free, without checkpointing
    naive      8 padded rows, all logits, autograd

Losses are compared first; a difference is an error. Costs are CPU seconds from the first step to the end of the last,
the least of ``--rounds`` runs that take turns, and the peak of the process's memory.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.update(HF_HUB_OFFLINE="1", TRL_EXPERIMENTAL_SILENCE="1", CUDA_VISIBLE_DEVICES="", OMP_NUM_THREADS="1")

WAYS = ("distill", "rows", "trl", "trl tuned", "naive")
GROUPS_PER_STEP, COMPLETIONS, PROMPT_TOKENS, LEARNING_RATE, CLIP = 2, 8, 60, 1e-4, 1.0
# One group, or its rows, in each forward pass, as TRL is given it.
TOKENS_PER_MICRO_BATCH = {"groups": 1_024, "rows": 2_048}
SHAPES: dict[str, dict[str, Any]] = {
    "middle": {"hidden": 192, "layers": 4, "vocabulary": 32_000},
    "vocabulary": {"hidden": 96, "layers": 4, "vocabulary": 151_936},
    "body": {"hidden": 768, "layers": 6, "vocabulary": 8_192},
    "lora": {"hidden": 192, "layers": 4, "vocabulary": 32_000, "lora": 64},
}
WANTED = {"middle": (3.0, 0.85), "vocabulary": (3.0, 0.85), "body": (2.0, 0.85), "lora": (4.0, 0.6)}
Groups = list[tuple[list[int], list[list[int]]]]


def draw_groups(vocabulary: int, steps: int) -> Groups:
    """Prompts and completions of every step's groups."""
    draw = random.Random(0)

    def tokens(length: int) -> list[int]:
        return [draw.randrange(3, vocabulary) for _ in range(length)]

    def completion() -> list[int]:
        return tokens(max(16, int(draw.lognormvariate(4.4, 0.5))))

    return [(tokens(PROMPT_TOKENS), [completion() for _ in range(COMPLETIONS)]) for _ in range(steps * GROUPS_PER_STEP)]


def save_model(folder: Path, shape: dict[str, Any]) -> None:
    """A model of this shape with random weights, and a tokenizer that only has to exist."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from distill.models import load_tokenizer

    torch.manual_seed(0)
    hidden = shape["hidden"]
    config = Qwen2Config(
        vocab_size=shape["vocabulary"], hidden_size=hidden, intermediate_size=4 * hidden, tie_word_embeddings=True,
        num_hidden_layers=shape["layers"], num_attention_heads=12, num_key_value_heads=2, max_position_embeddings=2048,
    )  # fmt: skip
    Qwen2ForCausalLM(config).save_pretrained(folder)
    load_tokenizer("tiny-student").save_pretrained(folder)


def train_ours(folder: str, shape: dict[str, Any], groups: Groups, packing: str) -> tuple[list[float], float]:
    import numpy as np
    import torch

    from distill.config import LossConfig, TrainConfig
    from distill.records import Outcome
    from distill.train.data import GrowingData
    from distill.train.losses.sft import SFTAllCorrect
    from distill.train.student import load_student
    from distill.train.trainer import Trainer

    growing = GrowingData()
    for number, (prompt_ids, completion_ids) in enumerate(groups):
        growing.ids.append(str(number))
        growing.prompts.append(np.array(prompt_ids, dtype=np.int32))
        growing.group_sizes.append(len(completion_ids))
        for ids in completion_ids:
            growing.add_completion((), np.array(ids, dtype=np.int32), 0.0, Outcome.CORRECT)
    lora = {"rank": shape["lora"], "alpha": 32, "dropout": 0.0} if "lora" in shape else None
    config = TrainConfig.model_validate(
        {
            "model": folder, "method": "sft-all-correct", "lora": lora, "packing": packing, "device": "cpu",
            "groups_per_step": GROUPS_PER_STEP, "tokens_per_micro_batch": TOKENS_PER_MICRO_BATCH[packing], "epochs": 1,
            "optimizer": {
                "learning_rate": LEARNING_RATE, "weight_decay": 0.0, "schedule": "constant", "warmup_ratio": 0.0,
                "max_grad_norm": CLIP,
            },
        }
    )  # fmt: skip
    torch.manual_seed(0)
    trainer = Trainer(config, growing.finish("benchmark"), load_student(config), SFTAllCorrect(LossConfig()))
    started = time.process_time()
    losses = []
    for step in range(len(groups) // GROUPS_PER_STEP):
        chosen = range(step * GROUPS_PER_STEP, (step + 1) * GROUPS_PER_STEP)
        trainer.plan = InOrder(chosen)  # type: ignore[assignment]
        losses.append(trainer.take_step()["loss"])
    return losses, time.process_time() - started


class InOrder:
    """The plan of a run that takes its groups in order: TRL is given the same."""

    num_steps = 10**6

    def __init__(self, chosen: Sequence[int]) -> None:
        self.chosen = chosen

    def groups_of(self, step: int) -> Sequence[int]:
        del step
        return self.chosen

    def epoch_of(self, step: int) -> int:
        del step
        return 0


def train_trl(folder: str, shape: dict[str, Any], groups: Groups, *, is_tuned: bool) -> tuple[list[float], float]:
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from torch.utils.data import SequentialSampler
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    class Clock(TrainerCallback):
        started = 0.0

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.started = self.started or time.process_time()

    class InOrderTrainer(SFTTrainer):
        def _get_train_sampler(self, *_: Any, **__: Any) -> Any:
            return SequentialSampler(self.train_dataset)

    rows = [
        {"input_ids": prompt + ids, "labels": [-100] * len(prompt) + ids} for prompt, many in groups for ids in many
    ]
    with tempfile.TemporaryDirectory() as out:
        options = SFTConfig(
            output_dir=out, per_device_train_batch_size=COMPLETIONS, gradient_accumulation_steps=GROUPS_PER_STEP,
            max_steps=len(groups) // GROUPS_PER_STEP, learning_rate=LEARNING_RATE, lr_scheduler_type="constant",
            weight_decay=0.0, max_grad_norm=CLIP, bf16=False, use_cpu=True, report_to="none", save_strategy="no",
            logging_steps=1, max_length=None, disable_tqdm=True, padding_free=is_tuned,
            gradient_checkpointing=not is_tuned,
        )  # fmt: skip
        lora = None
        if "lora" in shape:
            lora = LoraConfig(
                r=shape["lora"], lora_alpha=32, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"
            )
        torch.manual_seed(0)
        clock, model = Clock(), AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        trainer = InOrderTrainer(
            model=model, args=options, train_dataset=Dataset.from_list(rows), peft_config=lora,
            processing_class=AutoTokenizer.from_pretrained(folder), callbacks=[clock],
        )  # fmt: skip
        trainer.train()
        seconds = time.process_time() - clock.started
    return [line["loss"] for line in trainer.state.log_history if "loss" in line], seconds


def train_naive(folder: str, shape: dict[str, Any], groups: Groups) -> tuple[list[float], float]:
    import torch
    from peft import LoraConfig, get_peft_model
    from torch.nn.utils.rnn import pad_sequence
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).train()
    if "lora" in shape:
        model = get_peft_model(model, LoraConfig(r=shape["lora"], lora_alpha=32, target_modules=["q_proj", "v_proj"]))
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=LEARNING_RATE, weight_decay=0.0)
    started, losses = time.process_time(), []
    for first in range(0, len(groups), GROUPS_PER_STEP):
        step, total = groups[first : first + GROUPS_PER_STEP], 0.0
        num_tokens = sum(len(ids) for _, many in step for ids in many)
        for prompt, many in step:
            rows = [torch.tensor(prompt + ids) for ids in many]
            labels = [torch.tensor([-100] * len(prompt) + ids) for ids in many]
            logits = model(input_ids=pad_sequence(rows, batch_first=True)).logits[:, :-1]
            target = pad_sequence(labels, batch_first=True, padding_value=-100)[:, 1:]
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="sum")
            (loss / num_tokens).backward()
            total += loss.item() / num_tokens
        torch.nn.utils.clip_grad_norm_(weights, CLIP)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(total)
    return losses, time.process_time() - started


def measure(way: str, folder: str, shape: dict[str, Any], steps: int) -> dict[str, Any]:
    """Losses and costs of one way; runs in a process of its own."""
    import torch

    torch.set_num_threads(1)
    groups = draw_groups(shape["vocabulary"], steps)
    if way in ("distill", "rows"):
        losses, seconds = train_ours(folder, shape, groups, "groups" if way == "distill" else "rows")
    elif way == "naive":
        losses, seconds = train_naive(folder, shape, groups)
    else:
        losses, seconds = train_trl(folder, shape, groups, is_tuned=way == "trl tuned")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"losses": losses, "seconds": seconds, "peak": peak}


def compare(name: str, steps: int, rounds: int) -> None:
    """Run every way in turns and print the table of one shape."""
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        save_model(Path(folder), SHAPES[name])
        for way in WAYS * rounds:
            command = [sys.executable, __file__, name, "--steps", str(steps), "--only", way, folder]
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(f"{name}, {way}: {done.stderr}")
            found[way].append(json.loads(done.stdout.splitlines()[-1]))
    losses = found["naive"][0]["losses"]
    for way, runs in found.items():
        worst = max(abs(a - b) for a, b in zip(runs[0]["losses"], losses, strict=True))
        if worst > 1e-4 * losses[0]:
            raise SystemExit(f"{name}: the losses of '{way}' are {runs[0]['losses']}, of 'naive' {losses}")
    cost = {way: (min(run["seconds"] for run in runs), min(run["peak"] for run in runs)) for way, runs in found.items()}
    shape = ", ".join(f"{key} {value:,}" for key, value in SHAPES[name].items())
    num_tokens = sum(len(ids) for _, many in draw_groups(SHAPES[name]["vocabulary"], steps) for ids in many)
    print(
        f"\n{name}: {shape}; {steps} steps of {num_tokens // steps:,} tokens; loss {losses[0]:.4f} to {losses[-1]:.4f}"
    )
    print("             CPU s   tokens/s   x distill   peak MiB   x distill")
    seconds, peak = cost["distill"]
    for way, (own, own_peak) in cost.items():
        print(f"{way:10}{own:8.1f}{num_tokens / own:11.0f}{own / seconds:12.2f}{own_peak:11.0f}{own_peak / peak:12.2f}")
    speed, memory = WANTED[name]
    print(
        f"against trl tuned: {cost['trl tuned'][0] / seconds:.2f} times as fast (wanted {speed}), "
        f"{peak / cost['trl tuned'][1]:.2f} of its memory (wanted {memory})",
        flush=True,
    )


def main() -> None:
    """Compare all ways on the shapes that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shapes", nargs="*", choices=[*SHAPES, []], help="which of them; all by default")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", nargs=2, metavar=("WAY", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        way, folder = options.only
        print(json.dumps(measure(way, folder, SHAPES[options.shapes[0]], options.steps)))
        return
    for name in options.shapes or SHAPES:
        compare(name, options.steps, options.rounds)


if __name__ == "__main__":
    main()
