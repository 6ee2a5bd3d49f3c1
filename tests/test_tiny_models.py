"""The shipped tiny models: small, whole, exact in text, and as good as their README says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import distill.arithmetic
from distill.arithmetic import arithmetic_problems

if TYPE_CHECKING:
    from transformers import Qwen2ForCausalLM, Qwen2Tokenizer

ASSETS = Path(distill.arithmetic.__file__).parent / "assets"
MODELS = ("teacher", "student")
TEXTS = (
    "<think>3+4=7 7*2=14</think>\n<answer>\\boxed{14}</answer>",
    "  two  spaces, a tab\t and\n\n newlines \r\n ",
    "naïve Ωmega — 東京 🙂 \u200d 'quoted' isn't , .",
    "unknown <tags> <think <|im_start|>x<|im_end|>\\boxed {",
)


@pytest.fixture(scope="module", params=MODELS)
def folder(request: pytest.FixtureRequest) -> Path:
    """The checkpoint of one model."""
    return ASSETS / str(request.param)


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Qwen2Tokenizer:
    """Its tokenizer, as anyone loads it."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def model(folder: Path) -> Qwen2ForCausalLM:
    """Its weights in float32."""
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def encode(tokenizer: Qwen2Tokenizer, text: str) -> list[int]:
    """Tokenise as the whole project does."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def render(tokenizer: Qwen2Tokenizer, question: str) -> str:
    """Render a question as the whole project does."""
    messages = [{"role": "user", "content": question}]
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


def greedy(model: Qwen2ForCausalLM, tokenizer: Qwen2Tokenizer, questions: list[str]) -> list[str]:
    """Complete questions greedily, end token included."""
    import torch

    padded = tokenizer([render(tokenizer, text) for text in questions], padding=True, return_tensors="pt")
    with torch.no_grad():
        ids = model.generate(**padded, do_sample=False, max_new_tokens=64)
    return list(tokenizer.batch_decode(ids[:, padded["input_ids"].shape[1] :]))


def test_both_models_together_stay_under_8_mb() -> None:
    assert sum(path.stat().st_size for path in ASSETS.rglob("*") if path.is_file()) < 8_000_000


@pytest.mark.parametrize("text", TEXTS)
def test_text_survives_the_tokenizer_exactly(tokenizer: Qwen2Tokenizer, text: str) -> None:
    assert tokenizer.decode(encode(tokenizer, text), skip_special_tokens=False) == text


@pytest.mark.parametrize("text", TEXTS)
def test_tokenizer_survives_save_and_reload(tokenizer: Qwen2Tokenizer, tmp_path: Path, text: str) -> None:
    from transformers import AutoTokenizer

    tokenizer.save_pretrained(tmp_path)
    reloaded = AutoTokenizer.from_pretrained(tmp_path)
    assert encode(reloaded, text) == encode(tokenizer, text)
    assert reloaded.decode(encode(reloaded, text)) == text
    assert render(reloaded, text) == render(tokenizer, text)


def test_both_models_share_one_tokenizer() -> None:
    first, second = ((ASSETS / name / "tokenizer.json").read_bytes() for name in MODELS)
    assert first == second


def test_template_parts_and_digits_are_single_tokens(tokenizer: Qwen2Tokenizer) -> None:
    tokens = ["<think>", "</think>", "<answer>", "</answer>", "\\boxed{", *"0123456789"]
    assert encode(tokenizer, "<think></think><answer></answer>\\boxed{0123456789") == [
        tokenizer.convert_tokens_to_ids(token) for token in tokens
    ]


def test_template_parts_stay_in_the_text_when_special_tokens_are_skipped(tokenizer: Qwen2Tokenizer) -> None:
    ids = encode(tokenizer, TEXTS[0] + "<|im_end|>")
    assert tokenizer.decode(ids, skip_special_tokens=True) == TEXTS[0]


def test_chat_template_takes_an_optional_system_message(tokenizer: Qwen2Tokenizer) -> None:
    user = {"role": "user", "content": "How many?"}
    turn = "<|im_start|>user\nHow many?<|im_end|>\n"
    assert tokenizer.apply_chat_template([user], tokenize=False) == turn
    assert render(tokenizer, "How many?") == turn + "<|im_start|>assistant\n"
    with_system = tokenizer.apply_chat_template([{"role": "system", "content": "Think."}, user], tokenize=False)
    assert with_system == "<|im_start|>system\nThink.<|im_end|>\n" + turn


def test_prompts_and_completions_are_short(tokenizer: Qwen2Tokenizer) -> None:
    problems = list(arithmetic_problems("test", limit=300))
    prompts = [len(encode(tokenizer, render(tokenizer, problem.question))) for problem in problems]
    completions = [len(encode(tokenizer, problem.solution)) for problem in problems]
    assert max(prompts) <= 80
    assert sum(prompts) / len(prompts) < 55
    assert max(completions) <= 60
    assert sum(completions) / len(completions) < 40


def test_end_and_padding_tokens_agree_between_model_and_tokenizer(
    model: Qwen2ForCausalLM, tokenizer: Qwen2Tokenizer
) -> None:
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.pad_token == "<|pad|>"
    for config in (model.config, model.generation_config):
        assert config.eos_token_id == tokenizer.eos_token_id
        assert config.pad_token_id == tokenizer.pad_token_id
    assert model.config.vocab_size == len(tokenizer)
    assert model.config.model_type == "qwen2"


def test_measured_accuracy_is_as_the_readme_says(
    folder: Path, model: Qwen2ForCausalLM, tokenizer: Qwen2Tokenizer
) -> None:
    readme = (ASSETS / "README.md").read_text()
    row = re.search(rf"^\| {folder.name} \| (\d+\.\d) \|", readme, re.MULTILINE)
    assert row is not None
    problems = list(arithmetic_problems("test", limit=200))
    completions = greedy(model, tokenizer, [problem.question for problem in problems])
    correct = sum(f"\\boxed{{{p.answer}}}" in text for p, text in zip(problems, completions, strict=True))
    # 200 of the 1,000 problems: a standard deviation of at most 3.2 points, so 12 points leave room for chance.
    assert abs(100 * correct / len(problems) - float(row[1])) < 12


def test_completions_end_by_themselves(model: Qwen2ForCausalLM, tokenizer: Qwen2Tokenizer) -> None:
    questions = [problem.question for problem in arithmetic_problems("validation", limit=50)]
    ended = ["<|im_end|>" in text for text in greedy(model, tokenizer, questions)]
    assert sum(ended) >= 48
