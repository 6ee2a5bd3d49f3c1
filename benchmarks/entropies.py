"""CPU time and memory of exact teacher entropies, against the plain way, at the vocabulary of Qwen2.5.

    python benchmarks/entropies.py [--hidden 256] [--layers 4] [--groups 3] [--dtype float32]

Ways to the entropies of groups of 8 completions (100 to 300 tokens, prompts of 200) under a random Qwen2-shaped
model, every way in a process of its own on the same weights and tokens:

    plain    one completion at a time: the model's logits, softmax, logarithm, product, sum
    lean     the same, logits of the completion alone, log_softmax in place of softmax and logarithm
    rows     distill's output layer, every completion a padded row with its prompt
    cache    distill's output layer, the prompt's keys and values kept and repeated for its completions
    packed   distill: score_entropies as `distill curate` calls it

Time is CPU time after the model is loaded and checked; memory is the peak above what the process holds then
(Linux only); error is the largest difference from float64 arithmetic over one group.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

from distill.generate.entropies import TOKENS_PER_MICRO_BATCH, score_entropies
from distill.models import load_model, load_tokenizer, no_progress_bars, tokenizer_fingerprint
from distill.packing.head import check_head, token_statistics
from distill.packing.layout import GroupTokens
from distill.packing.micro_batches import micro_batches, pack
from distill.packing.output_layer import output_layer
from distill.packing.streaming import streamed_statistics
from distill.records import Completion, Group, Problem, Prompt

VOCABULARY, PROMPT_TOKENS, COMPLETION_TOKENS = 151_936, 200, (100, 300)
Entropies = list[list[float]]


def save_model(folder: Path, hidden: int, layers: int) -> None:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=VOCABULARY, hidden_size=hidden, intermediate_size=4 * hidden, num_hidden_layers=layers,
        num_attention_heads=hidden // 64, num_key_value_heads=max(1, hidden // 128), tie_word_embeddings=True,
        initializer_range=hidden**-0.5,
    )  # fmt: skip
    model = Qwen2ForCausalLM(config)
    # logits as far apart as a trained model's: entropies of a few nats
    torch.nn.init.normal_(model.get_input_embeddings().weight, std=4 / hidden**0.5)
    with no_progress_bars():
        model.save_pretrained(folder)
    load_tokenizer("tiny-teacher").save_pretrained(folder)


def make_groups(folder: str, number: int) -> Iterator[Group]:
    draw, fingerprint = random.Random(0), tokenizer_fingerprint(load_tokenizer(folder))

    def tokens(length: int) -> tuple[int, ...]:
        return tuple(draw.randrange(VOCABULARY) for _ in range(length))

    for index in range(number):
        completions = tuple(Completion("", tokens(draw.randint(*COMPLETION_TOKENS))) for _ in range(8))
        prompt = Prompt((), "plain", "", tokens(PROMPT_TOKENS))
        yield Group(Problem(f"p{index}", "", "", index=index), prompt, completions, "", fingerprint)


def plain(model: Any, groups: Iterable[Group]) -> Iterator[Entropies]:
    for group in groups:
        found = []
        for completion in group.completions:
            logits = model(torch.tensor([group.prompt.token_ids + completion.token_ids])).logits
            p = torch.softmax(logits[0, len(group.prompt.token_ids) - 1 : -1].float(), dim=-1)
            found.append((-(p * (p + 1e-30).log()).sum(dim=-1)).tolist())
        yield found


def lean(model: Any, groups: Iterable[Group]) -> Iterator[Entropies]:
    for group in groups:
        found = []
        for completion in group.completions:
            input_ids = torch.tensor([group.prompt.token_ids + completion.token_ids])
            kept = len(completion.token_ids) + 1
            logits = model(input_ids, logits_to_keep=kept).logits[0, :-1]
            logprobs = torch.log_softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1)
            found.append((-torch.linalg.vecdot(logprobs.exp(), logprobs)).tolist())
        yield found


def rows(model: Any, groups: Iterable[Group]) -> Iterator[Entropies]:
    for group in groups:
        found: Entropies = [[] for _ in group.completions]
        tokens = GroupTokens(group.prompt.token_ids, [completion.token_ids for completion in group.completions])
        for passed in micro_batches([tokens], TOKENS_PER_MICRO_BATCH["cpu"], packed=False):
            batch = pack(passed, packed=False, pad_id=0)
            entropies = token_statistics(model, batch).entropies.split(batch.completion_lengths.tolist())
            for completion, values in zip(passed.completions, entropies, strict=True):
                found[completion] = values.tolist()
        yield found


def cache(model: Any, groups: Iterable[Group]) -> Iterator[Entropies]:
    body, layer = model.get_decoder(), output_layer(model)
    for group in groups:
        read = body(input_ids=torch.tensor([group.prompt.token_ids]), use_cache=True)
        read.past_key_values.batch_repeat_interleave(len(group.completions))
        ids = [torch.tensor(completion.token_ids) for completion in group.completions]
        padded = pad_sequence(ids, batch_first=True)
        hidden = body(input_ids=padded, past_key_values=read.past_key_values, use_cache=True).last_hidden_state
        first = read.last_hidden_state[0, -1:]
        states = torch.cat([torch.cat([first, h[: len(y) - 1]]) for h, y in zip(hidden, ids, strict=True)])
        entropies = streamed_statistics(layer, states, torch.cat(ids))[1]
        yield [values.tolist() for values in entropies.split([len(y) for y in ids])]


Way = Callable[[Any, Iterable[Group]], Iterator[Entropies]]
WAYS: dict[str, Way] = {"plain": plain, "lean": lean, "rows": rows, "cache": cache}


def memory(field: str) -> float:
    """MiB of this process: 'VmRSS' now, 'VmHWM' at most since the kernel was last asked to forget."""
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


class Meter:
    """CPU time, and the peak of memory above what was held at the start."""

    def start(self) -> None:
        Path("/proc/self/clear_refs").write_text("5", "utf-8")
        self._memory, self._seconds = memory("VmRSS"), time.process_time()

    def report(self) -> dict[str, float]:
        peak = memory("VmHWM")
        return {"seconds": time.process_time() - self._seconds, "memory": peak - self._memory, "process": peak}


def measure(way: str, folder: str, options: argparse.Namespace) -> dict[str, Any]:
    """What one way costs; runs in a process of its own."""
    torch.set_num_threads(1)
    groups, meter = [*make_groups(folder, options.groups)], Meter()

    def watched() -> Iterator[Group]:  # the second group is asked for when the model is loaded and checked
        yield groups[0]
        meter.start()
        yield from groups[1:]

    with torch.inference_mode():
        if way == "packed":
            scored = score_entropies(watched(), folder, dtype=options.dtype, device="cpu")
            entropies = [[list(values) for values in read.entropies] for read in scored]
        else:
            model = load_model(folder, dtype=options.dtype, device="cpu")
            check_head(model)  # as score_entropies does: it brings the weights into memory
            meter.start()
            exact = way == "float64"
            entropies = [*lean(model.double(), groups[:1])] if exact else [*WAYS[way](model, groups)]
    return {**meter.report(), "first": entropies[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--groups", type=int, default=3, help="two or more")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--only", nargs=2, metavar=("WAY", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        way, folder = options.only
        print(json.dumps(measure(way, folder, options)))
        return
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        save_model(Path(folder), options.hidden, options.layers)
        for way in ("float64", *WAYS, "packed"):
            done = subprocess.run(
                [sys.executable, __file__, *sys.argv[1:], "--only", way, folder],
                capture_output=True,
                text=True,
                check=True,
            )
            found[way] = json.loads(done.stdout)
    exact = found.pop("float64")["first"]
    print("            CPU s  faster  MiB above  of plain  MiB in all  error, nats")
    for way, cost in found.items():
        error = max(abs(a - b) for x, y in zip(cost["first"], exact, strict=True) for a, b in zip(x, y, strict=True))
        speed, share = found["plain"]["seconds"] / cost["seconds"], cost["memory"] / found["plain"]["memory"]
        print(f"{way:8}{cost['seconds']:8.1f}{speed:7.1f}x{cost['memory']:11.0f}{share:10.2f}", end="")
        print(f"{cost['process']:12.0f}{error:13.1e}")
    print(f"mean entropy {sum(map(sum, exact)) / sum(map(len, exact)):.1f} nats; wanted: 3x as fast, 0.2 of the memory")


if __name__ == "__main__":
    main()
