"""What a model is like before it teaches or learns: from its config, tokenizer and template, without its weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from distill.doctor.checks import Check, guarded, size
from distill.errors import DistillError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

QUESTION = "What is 17 + 25?"
SYSTEM = "Answer briefly."
PLAIN = "--set prompt.format=plain, which base models need"


def check_model(name: str) -> list[Check]:
    """Look at a teacher or student: tokenizer, chat template, end tokens, how it is read in training, memory.

    Reads its config.json and its tokenizer; a Hub id needs a network once.
    """
    from distill.models import load_tokenizer

    tokenizer: PreTrainedTokenizerBase | None = None

    def read_tokenizer() -> Check:
        nonlocal tokenizer
        tokenizer = load_tokenizer(name)
        return Check("tokenizer", "ok", f"{type(tokenizer).__name__}, {len(tokenizer):,} tokens")

    checks = [guarded("tokenizer", read_tokenizer)]
    if tokenizer is not None:
        found = tokenizer
        looks: dict[str, Callable[[], list[Check]]] = {
            "chat template": lambda: _template(found),
            "end tokens": lambda: [_ends(name, found)],
        }
        for what, look in looks.items():
            checks += _guarded_all(what, look)
    return checks + _guarded_all("training", lambda: _training(name))


def _guarded_all(name: str, look: Callable[[], list[Check]]) -> list[Check]:
    found: list[Check] = []

    def first() -> Check:
        found.extend(look())
        return found[0]

    check = guarded(name, first)
    return found or [check]


def _template(tokenizer: PreTrainedTokenizerBase) -> list[Check]:
    """Whether it renders, takes a system message and opens the thinking itself."""
    from distill.config import PromptConfig
    from distill.prompts import build_prompt
    from distill.records import Problem

    if not tokenizer.chat_template:
        return [Check("chat template", "warning", "none", PLAIN)]
    prompt = build_prompt(
        Problem("doctor", QUESTION, "42"), PromptConfig(format="chat", system="", template="{question}"), tokenizer
    )
    if QUESTION not in prompt.text:
        return [Check("chat template", "failed", "renders a prompt without the question", PLAIN)]
    opened = "opens <think> itself, so completions begin inside" if prompt.opens_think else "does not open <think>"
    system = (
        "takes a system message" if _takes_system(tokenizer) else "no system role: its text goes before the question"
    )
    detail = f"renders {len(prompt.token_ids)} tokens for a short question; {opened}; {system}"
    return [Check("chat template", "ok", detail)]


def _takes_system(tokenizer: PreTrainedTokenizerBase) -> bool:
    from jinja2.exceptions import TemplateError

    turns = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}]
    try:
        return SYSTEM in str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
    except TemplateError:
        return False


def _ends(name: str, tokenizer: PreTrainedTokenizerBase) -> Check:
    """What ends a completion, by the word of the generation config, the tokenizer and the template."""
    from distill.models import end_token_ids

    sources = [tokenizer, *_generation_config(name)]
    ids = sorted(end_token_ids(*sources))
    tokens = ", ".join(f"{tokenizer.convert_ids_to_tokens(token_id)} ({token_id})" for token_id in ids)
    if not ids:
        hint = "name one in its tokenizer_config.json (eos_token): without it every completion runs into the limit"
        return Check("end tokens", "failed", "none", hint)
    return Check("end tokens", "ok", tokens)


def _generation_config(name: str) -> list[Any]:
    """What the model's folder says of generation, in a list; an empty one where it says nothing."""
    from transformers import GenerationConfig

    from distill.models import resolve_model

    try:
        return [GenerationConfig.from_pretrained(resolve_model(name))]
    except (OSError, ValueError):
        return []


def _training(name: str) -> list[Check]:
    """How its groups are read in training, and what sampling and training take of memory."""
    from distill.config import TrainConfig
    from distill.models import context_tokens, pick_device
    from distill.train.estimate import device_memory, estimate_memory, student_shape

    full = TrainConfig(model=name)
    shape = student_shape(full)
    context = context_tokens(name)
    limit = f"a context of {context:,} tokens" if context else "no limit of its context named"
    reading = "a prompt is read once for all its completions"
    if shape.hindrance:
        reading = f"{shape.hindrance}: a prompt is read again for each completion, which costs time alone"
    taken = estimate_memory(full, shape).total(checkpointing=True)
    adapters, why_not = _adapters_take(name)
    memory = (
        f"weights of {size(2 * shape.parameters)} in bfloat16, to sample; to train {size(taken)} in full, {adapters}, "
        f"with gradient checkpointing and {full.tokens_per_micro_batch:,} tokens a pass"
    )
    return [
        Check("size", "ok", f"{shape.parameters / 1e6:,.1f} million weights, {shape.layers} layers, {limit}"),
        Check("packing", "ok", reading),
        _memory(memory, taken, why_not, device_memory(pick_device("auto"))),
    ]


def _adapters_take(name: str) -> tuple[str, str]:
    """What training adapters takes, and why they do not fit this model; empty where they do."""
    from distill.config import LoraConfig, TrainConfig
    from distill.train.estimate import estimate_memory

    config = TrainConfig(model=name, lora=LoraConfig())
    try:
        taken = estimate_memory(config).total(checkpointing=True)
    except DistillError as error:
        return "no adapters as the recipe has them", error.hint or str(error)
    return f"{size(taken)} with LoRA", ""


def _memory(detail: str, full: int, why_no_adapters: str, room: int | None) -> Check:
    from distill.train.estimate import USABLE

    if room is not None and full > USABLE * room:
        detail += f"; here are {size(room)}"
        return Check(
            "memory",
            "warning",
            detail,
            "--set lora.rank=64, a smaller --set tokens_per_micro_batch=N, or several devices",
        )
    if why_no_adapters:
        return Check("memory", "warning", detail, why_no_adapters)
    return Check("memory", "ok", detail)
