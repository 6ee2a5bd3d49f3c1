"""Prompts: what the model reads is what the template says, whatever braces and tags the question holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from distill.cards import Card, load_card
from distill.config import PromptConfig
from distill.errors import DistillError
from distill.prompts import REASONING_SYSTEM, build_prompt, ends_in_think, fill_template, list_options, resolve_prompt
from distill.records import Problem

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
OPENS_THINK = CHATML.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}")
CLOSES_THINK = CHATML.replace("assistant\n{% endif %}", "assistant\n<think>\n\n</think>\n\n{% endif %}")
REFUSES_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + CHATML
)
DROPS_SYSTEM = CHATML.replace(
    "{% for message in messages %}", "{% for message in messages if message['role'] == 'user' %}"
)
REFUSES_ALL = "{{ raise_exception('no') }}"
SPECIAL = ["<s>", "</s>", "<|im_start|>", "<|im_end|>"]


def byte_tokenizer(chat_template: str | None = CHATML, *, adds_end: bool = False) -> PreTrainedTokenizerFast:
    """One token per byte; encoding puts <s> first, and </s> last where asked for."""
    vocabulary = {
        token: number for number, token in enumerate([*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())])
    }
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>" if adds_end else "<s> $A", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    tokenizer.add_special_tokens(SPECIAL)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", chat_template=chat_template
    )


def resolved(**fields: str) -> PromptConfig:
    return PromptConfig(**{"format": "chat", "system": "", "template": "{question}", **fields})


def problem(question: str = "What is 3 + 4?", options: tuple[str, ...] = ()) -> Problem:
    return Problem("1", question, "7", options=options)


def card(name: str = "math500") -> Card:
    return load_card(name)


def test_a_chat_prompt_is_the_rendered_template_and_its_ids_without_extra_special_tokens() -> None:
    tokenizer = byte_tokenizer()
    prompt = build_prompt(problem(), resolved(system="Be brief."), tokenizer)
    assert prompt.text == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhat is 3 + 4?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert tokenizer.decode(list(prompt.token_ids)) == prompt.text
    assert prompt.token_ids[0] == SPECIAL.index("<|im_start|>")  # no <s>: the template did not ask for one
    assert [message["role"] for message in prompt.messages] == ["system", "user"]


def test_an_empty_system_text_sends_no_system_message() -> None:
    prompt = build_prompt(problem(), resolved(), byte_tokenizer())
    assert prompt.messages == ({"role": "user", "content": "What is 3 + 4?"},)


@pytest.mark.parametrize("template", [REFUSES_SYSTEM, DROPS_SYSTEM], ids=["refuses", "drops"])
def test_a_template_without_a_place_for_system_text_gets_it_at_the_top_of_the_user_message(template: str) -> None:
    prompt = build_prompt(problem(), resolved(system="Be brief."), byte_tokenizer(template))
    # a student whose template has a place for it gets a system message again, as in its evaluation
    assert [message["content"] for message in prompt.messages] == ["Be brief.", "What is 3 + 4?"]
    assert prompt.text == "<|im_start|>user\nBe brief.\n\nWhat is 3 + 4?<|im_end|>\n<|im_start|>assistant\n"


def test_a_chat_template_of_ones_own_wins_over_the_tokenizers_and_serves_a_base_model(tmp_path: Path) -> None:
    template = "{% for message in messages %}[{{ message.role }}] {{ message.content }}\n{% endfor %}[assistant]"
    (tmp_path / "mine.jinja").write_text(template)
    expected = "[system] Be brief.\n[user] What is 3 + 4?\n[assistant]"
    card = load_card("gsm8k")
    for given in (template, str(tmp_path / "mine.jinja")):
        prompt = resolve_prompt(PromptConfig(system="Be brief.", chat_template=given), card)
        assert prompt.chat_template == template  # what it says, not where it lies, is part of the settings
        assert build_prompt(problem(), prompt, byte_tokenizer()).text == expected
        assert build_prompt(problem(), prompt, byte_tokenizer(None)).text == expected
    with pytest.raises(DistillError, match=r"'none\.jinja' cannot be read"):
        resolve_prompt(PromptConfig(chat_template="none.jinja"), card)
    with pytest.raises(DistillError, match="rendered here, for which the model's tokenizer is needed"):
        build_prompt(problem(), prompt, None)


def test_a_missing_or_failing_chat_template_points_to_the_plain_format() -> None:
    with pytest.raises(DistillError, match="has no chat template") as caught:
        build_prompt(problem(), resolved(), byte_tokenizer(None))
    assert "--set prompt.format=plain" in caught.value.hint
    with pytest.raises(DistillError, match="fails: no") as caught:
        build_prompt(problem(), resolved(), byte_tokenizer(REFUSES_ALL))
    assert "--set prompt.format=plain" in caught.value.hint


def test_a_plain_prompt_joins_texts_by_a_blank_line_and_keeps_the_tokenizers_begin_token() -> None:
    tokenizer = byte_tokenizer(None)
    config = resolve_prompt(PromptConfig(format="plain", system="Be brief."), card())
    prompt = build_prompt(problem(), config, tokenizer)
    assert prompt.text == "Be brief.\n\nQuestion: What is 3 + 4?\nAnswer:"
    assert prompt.token_ids[0] == SPECIAL.index("<s>")
    assert tokenizer.decode(list(prompt.token_ids[1:])) == prompt.text


def test_a_plain_prompt_never_ends_in_an_end_token() -> None:
    without = build_prompt(problem(), resolved(format="plain"), byte_tokenizer())
    with_end = build_prompt(problem(), resolved(format="plain"), byte_tokenizer(adds_end=True))
    assert with_end.token_ids == without.token_ids


def test_without_a_tokenizer_there_are_messages_and_text_but_no_ids() -> None:
    prompt = build_prompt(problem(), resolved(system="Be brief."), None)
    assert (prompt.text, prompt.token_ids, prompt.format) == ("Be brief.\n\nWhat is 3 + 4?", (), "chat")
    assert len(prompt.messages) == 2


@pytest.mark.parametrize(
    ("template", "question", "expected"),
    [
        (CHATML, "What?", False),
        (OPENS_THINK, "What?", True),
        (CLOSES_THINK, "What?", False),
        (CHATML, "Explain the tag <think> to me", False),
        (OPENS_THINK, "Explain </think> to me", True),
    ],
)
def test_a_think_block_that_the_template_opens_is_noticed(template: str, question: str, expected: bool) -> None:
    prompt = build_prompt(problem(question), resolved(system=REASONING_SYSTEM), byte_tokenizer(template))
    assert prompt.opens_think is expected


def test_a_plain_template_may_open_think_itself() -> None:
    config = resolved(format="plain", template="{question}\n<think>\n")
    assert build_prompt(problem(), config, byte_tokenizer()).opens_think
    assert not ends_in_think("Question: What? <think> </think>", "What?")


BRACES = r"Let $f(x) = \frac{x}{2}$ and {options} and {question} and {unknown}. Find {f}."


def test_braces_of_the_question_survive_and_are_never_filled() -> None:
    filled = fill_template("{question}\n\n{options}", problem(BRACES, ("{question}", r"\frac{1}{2}")))
    assert filled == BRACES + "\n\n(A) {question}\n(B) \\frac{1}{2}"
    assert build_prompt(problem(BRACES), resolved(), byte_tokenizer()).messages[0]["content"] == BRACES


def test_options_are_lettered_lines_and_leave_no_gap_when_there_are_none() -> None:
    assert list_options(("x", "y", "z")) == "(A) x\n(B) y\n(C) z"
    template = "Question: {question}\n{options}\nAnswer:"
    assert fill_template(template, problem("Which?", ("x", "y"))) == "Question: Which?\n(A) x\n(B) y\nAnswer:"
    assert fill_template(template, problem("Which?")) == "Question: Which?\nAnswer:"
    assert fill_template("{question}\n\n{options}", problem("Which?")) == "Which?"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{question}\n{hint}", "unknown field '{hint}'"),
        ("{Question}", "unknown field '{Question}'"),
        ("What is it?", "no field '{question}'"),
        ("", "no field '{question}'"),
    ],
)
def test_a_template_with_an_unknown_field_or_without_the_question_is_an_error(template: str, message: str) -> None:
    with pytest.raises(DistillError) as caught:
        resolve_prompt(PromptConfig(template=template), card())
    assert message in str(caught.value)


def test_latex_in_a_template_is_no_field() -> None:
    template = r"{question} Put $\frac{a}{b}$ into \boxed{answer}."
    config = resolve_prompt(PromptConfig(template=template), card())
    assert fill_template(config.template or "", problem("x?")) == r"x? Put $\frac{a}{b}$ into \boxed{answer}."


def test_the_recipe_wins_over_the_card_and_the_card_over_the_default() -> None:
    default = resolve_prompt(PromptConfig(), card())
    assert default == PromptConfig(format="chat", system=REASONING_SYSTEM, template="{question}")
    assert resolve_prompt(PromptConfig(), card("arithmetic")).system == ""
    of_slowed = "Task Description:\n{description}\nQ:{question}\n\nA:"
    assert resolve_prompt(PromptConfig(format="plain"), card("bbh")).template == of_slowed
    described = replace(problem("2?"), metadata='{"description": "Count."}')
    assert fill_template(of_slowed, described) == "Task Description:\nCount.\nQ:2?\n\nA:"
    assert fill_template(of_slowed, problem("2?")) == "Q:2?\n\nA:"
    own = PromptConfig(format="plain", system="", template="{question}:")
    assert resolve_prompt(own, card()) == own


def test_the_default_system_text_names_every_part_of_the_template_in_order() -> None:
    parts = ["<think>", "</think>", "<answer>", "</answer>", "<answer>\\boxed{...}</answer>"]
    places = [REASONING_SYSTEM.index(part) for part in parts]
    assert places == sorted(places)


@pytest.mark.parametrize(("name", "kind"), [("bbh", "text"), ("bb_sub", "bb-sub")])
def test_cards_judged_as_exact_text_ask_for_the_letter_in_its_parentheses(name: str, kind: str) -> None:
    # The gold is '(A)', and other harnesses count 'A' alone as wrong.
    assert card(name).verifier.kind == kind
    assert r"\boxed{(A)}" in (resolve_prompt(PromptConfig(), card(name)).system or "")


def test_an_unresolved_prompt_config_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="not resolved"):
        build_prompt(problem(), PromptConfig(), None)
