"""What a training step on groups costs, beside TRL's on the same tokens, with the same losses.

    pip install trl
    python benchmarks/train.py                    # every shape; a quarter of an hour on one core
    python benchmarks/train.py vocabulary         # one of them
    python benchmarks/train.py --device cuda short medium long    # Qwen2.5-1.5B's shape in bfloat16, a GPU of 80 GB

Groups of 8 completions are drawn at random: a prompt of 60 tokens, completions of about 90, log-normally spread. Every
way takes the same optimizer steps (cross entropy on all completions, mean over a step's tokens, AdamW, clipping) on
the same token ids with the same first weights, in a process of its own, with one thread:

    distill    groups packed, as ``distill train`` runs
    rows       ``packing: rows``
    trl        TRL's SFTTrainer as it comes: padded, gradient checkpointing
    trl tuned  TRL's SFTTrainer padding-free, without checkpointing
    naive      8 padded rows, all logits, autograd

Losses are compared first; a difference is an error. Costs are CPU seconds from the first step to the end of the last,
the least of ``--rounds`` runs that take turns, and the peak of the process's memory. On CUDA they are wall seconds
without the first step, which loads kernels, and the peak of what was allocated; masters are float32, products bfloat16.
"""

from __future__ import annotations

import argparse
import json
import math
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

os.environ.update(HF_HUB_OFFLINE="1", TRL_EXPERIMENTAL_SILENCE="1", OMP_NUM_THREADS="1")

WAYS = ("distill", "rows", "trl", "trl tuned", "naive")
GROUPS_PER_STEP, COMPLETIONS, LEARNING_RATE, CLIP = 2, 8, 1e-4, 1.0
SHAPES: dict[str, dict[str, Any]] = {
    "middle": {"hidden": 192, "layers": 4, "vocabulary": 32_000},
    "vocabulary": {"hidden": 96, "layers": 4, "vocabulary": 151_936},
    "body": {"hidden": 768, "layers": 6, "vocabulary": 8_192},
    "lora": {"hidden": 192, "layers": 4, "vocabulary": 32_000, "lora": 64},
    **{
        name: {"hidden": 1_536, "layers": 28, "vocabulary": 151_936, "inner": 8_960, "prompt": 200, "mean": mean}
        for name, mean in (("short", 200), ("medium", 600), ("long", 1_330))
    },
}
ON_CPU = ("middle", "vocabulary", "body", "lora")
WANTED = {"middle": (3.0, 0.85), "vocabulary": (3.0, 0.85), "body": (2.0, 0.85), "lora": (4.0, 0.6)}
Groups = list[tuple[list[int], list[list[int]]]]


def draw_groups(shape: dict[str, Any], steps: int) -> Groups:
    """Prompts and completions of every step's groups."""
    draw, spread = random.Random(0), 0.5
    middle = math.log(shape.get("mean", 92)) - spread**2 / 2  # of a length's logarithm

    def tokens(length: int) -> list[int]:
        return [draw.randrange(3, shape["vocabulary"]) for _ in range(length)]

    def completion() -> list[int]:
        return tokens(min(2_048, max(16, int(draw.lognormvariate(middle, spread)))))

    number = steps * GROUPS_PER_STEP
    return [(tokens(shape.get("prompt", 60)), [completion() for _ in range(COMPLETIONS)]) for _ in range(number)]


def tokens_of_a_pass(groups: Groups, packing: str) -> int:
    """A budget that gives every pass one group, or its rows, as TRL is given it."""
    if packing == "groups":
        return max(len(prompt) + sum(map(len, many)) for prompt, many in groups)
    return max(len(many) * (len(prompt) + max(map(len, many))) for prompt, many in groups)


class Clock:
    """Seconds of the steps: of this process's CPU, or on CUDA of the wall and without the first."""

    def __init__(self, device: str) -> None:
        self.is_cuda, self.started = device == "cuda", 0.0

    def begin_step(self, step: int) -> None:
        """To be called as each step begins, counted from 0."""
        if step == int(self.is_cuda):
            self.started = self.now()

    def now(self) -> float:
        if not self.is_cuda:
            return time.process_time()
        import torch

        torch.cuda.synchronize()
        return time.perf_counter()

    def seconds(self) -> float:
        return self.now() - self.started


def save_model(folder: Path, shape: dict[str, Any]) -> None:
    """A model of this shape with random weights, and a tokenizer that only has to exist."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from distill.models import load_tokenizer

    torch.manual_seed(0)
    hidden = shape["hidden"]
    config = Qwen2Config(
        vocab_size=shape["vocabulary"], hidden_size=hidden, intermediate_size=shape.get("inner", 4 * hidden),
        num_hidden_layers=shape["layers"], num_attention_heads=12, num_key_value_heads=2, max_position_embeddings=4_096,
        tie_word_embeddings=True,
    )  # fmt: skip
    Qwen2ForCausalLM(config).save_pretrained(folder)
    load_tokenizer("tiny-student").save_pretrained(folder)


def train_ours(
    folder: str, shape: dict[str, Any], groups: Groups, packing: str, clock: Clock
) -> tuple[list[float], float]:
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
            "model": folder, "method": "sft-all-correct", "lora": lora, "packing": packing,
            "device": "cuda" if clock.is_cuda else "cpu", "gradient_checkpointing": False, "epochs": 1,
            "groups_per_step": GROUPS_PER_STEP, "tokens_per_micro_batch": tokens_of_a_pass(groups, packing),
            "optimizer": {
                "learning_rate": LEARNING_RATE, "weight_decay": 0.0, "schedule": "constant", "warmup_ratio": 0.0,
                "max_grad_norm": CLIP,
            },
        }
    )  # fmt: skip
    torch.manual_seed(0)
    trainer = Trainer(config, growing.finish("benchmark"), load_student(config), SFTAllCorrect(LossConfig()))
    losses = []
    for step in range(len(groups) // GROUPS_PER_STEP):
        clock.begin_step(step)
        chosen = range(step * GROUPS_PER_STEP, (step + 1) * GROUPS_PER_STEP)
        trainer.plan = InOrder(chosen)  # type: ignore[assignment]
        losses.append(trainer.take_step()["loss"])
    return losses, clock.seconds()


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


def train_trl(
    folder: str, shape: dict[str, Any], groups: Groups, clock: Clock, *, is_tuned: bool
) -> tuple[list[float], float]:
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from torch.utils.data import SequentialSampler
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    class Begins(TrainerCallback):
        def on_step_begin(self, _: Any, state: Any, *__: Any, **___: Any) -> None:
            clock.begin_step(state.global_step)

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
            weight_decay=0.0, max_grad_norm=CLIP, bf16=clock.is_cuda, use_cpu=not clock.is_cuda, report_to="none",
            save_strategy="no", logging_steps=1, max_length=None, disable_tqdm=True, padding_free=is_tuned,
            gradient_checkpointing=not is_tuned,
        )  # fmt: skip
        lora = None
        if "lora" in shape:
            lora = LoraConfig(
                r=shape["lora"], lora_alpha=32, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"
            )
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        trainer = InOrderTrainer(
            model=model, args=options, train_dataset=Dataset.from_list(rows), peft_config=lora,
            processing_class=AutoTokenizer.from_pretrained(folder), callbacks=[Begins()],
        )  # fmt: skip
        trainer.train()
        seconds = clock.seconds()
    return [line["loss"] for line in trainer.state.log_history if "loss" in line], seconds


def train_naive(folder: str, shape: dict[str, Any], groups: Groups, clock: Clock) -> tuple[list[float], float]:
    import torch
    from peft import LoraConfig, get_peft_model
    from torch.nn.utils.rnn import pad_sequence
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    device = torch.device("cuda" if clock.is_cuda else "cpu")
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).to(device).train()
    if "lora" in shape:
        model = get_peft_model(model, LoraConfig(r=shape["lora"], lora_alpha=32, target_modules=["q_proj", "v_proj"]))
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=LEARNING_RATE, weight_decay=0.0)
    losses = []
    for first in range(0, len(groups), GROUPS_PER_STEP):
        clock.begin_step(first // GROUPS_PER_STEP)
        step, total = groups[first : first + GROUPS_PER_STEP], 0.0
        num_tokens = sum(len(ids) for _, many in step for ids in many)
        for prompt, many in step:
            rows = [torch.tensor(prompt + ids) for ids in many]
            labels = [torch.tensor([-100] * len(prompt) + ids) for ids in many]
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=clock.is_cuda):
                logits = model(input_ids=pad_sequence(rows, batch_first=True).to(device)).logits[:, :-1].float()
            target = pad_sequence(labels, batch_first=True, padding_value=-100)[:, 1:].to(device)
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="sum")
            (loss / num_tokens).backward()
            total += loss.item() / num_tokens
        torch.nn.utils.clip_grad_norm_(weights, CLIP)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(total)
    return losses, clock.seconds()


def measure(way: str, folder: str, shape: dict[str, Any], steps: int, device: str) -> dict[str, Any]:
    """Losses and costs of one way; runs in a process of its own."""
    import torch

    torch.set_num_threads(1)
    groups, clock = draw_groups(shape, steps), Clock(device)
    if way in ("distill", "rows"):
        losses, seconds = train_ours(folder, shape, groups, "groups" if way == "distill" else "rows", clock)
    elif way == "naive":
        losses, seconds = train_naive(folder, shape, groups, clock)
    else:
        losses, seconds = train_trl(folder, shape, groups, clock, is_tuned=way == "trl tuned")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if clock.is_cuda:
        peak = torch.cuda.max_memory_allocated() / 2**20
    return {"losses": losses, "seconds": seconds, "peak": peak}


def compare(name: str, steps: int, rounds: int, device: str) -> None:
    """Run every way in turns and print the table of one shape."""
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        save_model(Path(folder), SHAPES[name])
        for way in WAYS * rounds:
            command = [sys.executable, __file__, name, "--steps", str(steps), "--device", device]
            command += ["--only", way, folder]
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(f"{name}, {way}: {done.stderr}")
            found[way].append(json.loads(done.stdout.splitlines()[-1]))
    losses = found["naive"][0]["losses"]
    for way, runs in found.items():
        worst = max(abs(a - b) for a, b in zip(runs[0]["losses"], losses, strict=True))
        if worst > (1e-2 if device == "cuda" else 1e-4) * losses[0]:
            raise SystemExit(f"{name}: the losses of '{way}' are {runs[0]['losses']}, of 'naive' {losses}")
    cost = {way: (min(run["seconds"] for run in runs), min(run["peak"] for run in runs)) for way, runs in found.items()}
    shape = ", ".join(f"{key} {value:,}" for key, value in SHAPES[name].items())
    timed = steps - (device == "cuda")
    num_tokens = sum(
        len(ids) for _, many in draw_groups(SHAPES[name], steps)[-timed * GROUPS_PER_STEP :] for ids in many
    )
    print(
        f"\n{name}: {shape}; {timed} steps of {num_tokens // timed:,} tokens; loss {losses[0]:.4f} to {losses[-1]:.4f}"
    )
    print(f"            {'wall' if device == 'cuda' else ' CPU'} s   tokens/s   x distill   peak MiB   x distill")
    seconds, peak = cost["distill"]
    for way, (own, own_peak) in cost.items():
        print(f"{way:10}{own:8.1f}{num_tokens / own:11.0f}{own / seconds:12.2f}{own_peak:11.0f}{own_peak / peak:12.2f}")
    speed, memory = WANTED.get(name, (1.2, 1.0))
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
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--only", nargs=2, metavar=("WAY", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        way, folder = options.only
        print(json.dumps(measure(way, folder, SHAPES[options.shapes[0]], options.steps, options.device)))
        return
    for name in options.shapes or ON_CPU:
        compare(name, options.steps, options.rounds, options.device)


if __name__ == "__main__":
    main()
