"""A problem becomes a prompt: chat messages by the tokenizer's own template, or plain text for base models.

A template's text is the user's, a question's is the data's: fields are replaced literally and once, so
the braces of mathematics survive, and a question that contains '{options}' is left alone.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from string import ascii_uppercase
from typing import TYPE_CHECKING

from distill.config import PromptConfig
from distill.errors import DistillError
from distill.records import Message, Problem, Prompt, PromptFormat

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from distill.cards import Card

REASONING_SYSTEM = (
    "Work the problem out step by step between <think> and </think>. "
    "Then state the result between <answer> and </answer>, with the final answer itself in a box: "
    "<answer>\\boxed{...}</answer>. "
    "Where options are given, put only the letter of the right one in the box."
)
"""Asks for the template that the format reward looks for; AdvDistill states its parts but not its wording."""

FIELDS = ("question", "options", "description")
_FIELD = re.compile(r"\{(" + "|".join(FIELDS) + r")\}")
# A LaTeX argument such as \boxed{answer} is no field: there a letter stands before the brace.
_UNKNOWN_FIELD = re.compile(r"(?<![A-Za-z\\}])\{([A-Za-z_]+)\}")
# Without a description what introduces it goes, too.
_DESCRIPTION_AND_TEXT_BEFORE = re.compile(r"\A.*?\{description\}\s*", re.DOTALL)
_OPTIONS_AND_SPACE_BEFORE = re.compile(r"\s*\{options\}")


def resolve_prompt(config: PromptConfig, card: Card) -> PromptConfig:
    """The prompt config with every field filled: the recipe's word, else the card's.

    Raises:
        DistillError: the template has no '{question}', or a field that does not exist; a chat template that cannot
            be read.
    """
    prompt_format: PromptFormat = config.format or card.prompt.format
    system = card.prompt.system if config.system is None else config.system
    template = card.prompt.plain_template if prompt_format == "plain" else card.prompt.template
    template = template if config.template is None else config.template
    check_template(template)
    return PromptConfig(
        format=prompt_format,
        system=REASONING_SYSTEM if system is None else system,
        template=template,
        chat_template=read_chat_template(config.chat_template),
    )


def read_chat_template(template: str | None) -> str | None:
    """The text of a chat template that is given as such, or as a file.

    >>> read_chat_template("{{ messages[0].content }}"), read_chat_template(None)
    ('{{ messages[0].content }}', None)

    Raises:
        DistillError: it is neither.
    """
    if template is None or "{" in template:
        return template
    try:
        return Path(template).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DistillError(
            f"prompt.chat_template '{template}' cannot be read: {error}",
            hint="name a file, or write the template itself",
        ) from None


def check_template(template: str) -> None:
    """Raise a DistillError unless the template has '{question}', and no field besides '{options}', '{description}'."""
    unknown = [name for name in _UNKNOWN_FIELD.findall(template) if name not in FIELDS]
    if unknown:
        raise DistillError(
            f"prompt.template has an unknown field '{{{unknown[0]}}}'",
            hint="its fields are '{question}', '{options}' and '{description}'",
        )
    if "{question}" not in template:
        raise DistillError("prompt.template has no field '{question}'", hint=f"found '{template}'")


def build_prompt(
    problem: Problem, prompt: PromptConfig, tokenizer: PreTrainedTokenizerBase | None, examples: str = ""
) -> Prompt:
    """Put a problem to a model, exactly as the model will read it.

    ``chat`` renders the messages by the tokenizer's chat template, up to where the assistant begins, and
    encodes without adding special tokens, which are the template's business. A template that refuses a
    system message, or drops it silently, gets its text at the top of the user message instead; the messages
    of the prompt stay apart, for a student's template may take them. ``plain`` joins system text and template
    by a blank line and encodes with the tokenizer's own special tokens.

    Args:
        prompt: as ``resolve_prompt`` returns it.
        examples: worked examples that stand before the template.
        tokenizer: None leaves ``token_ids`` empty and the text plain, for completions that exist already.

    Raises:
        DistillError: there is no chat template, it fails, or one is named and there is no tokenizer.
    """
    if prompt.format is None or prompt.system is None or prompt.template is None:
        raise ValueError("prompt config is not resolved")
    if tokenizer is None and prompt.format == "chat" and prompt.chat_template is not None:
        raise DistillError(
            "prompt.chat_template is rendered here, for which the model's tokenizer is needed",
            hint="backend 'server': name it with teacher.tokenizer, for 'distill eval' serving.tokenizer",
        )
    messages = _messages(prompt.system, examples + fill_template(prompt.template, problem))
    if tokenizer is None or prompt.format == "plain":
        text = "\n\n".join(message["content"] for message in messages)
        token_ids = () if tokenizer is None else _encode_plain(text, tokenizer)
    else:
        text = _render_chat(messages, tokenizer, prompt.chat_template)
        token_ids = tuple(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
    return Prompt(messages, prompt.format, text, token_ids, ends_in_think(text, problem.question))


def fill_template(template: str, problem: Problem) -> str:
    r"""A template with the problem's question, options and description (of its task, out of the metadata) in it.

    Without options their line disappears, without a description all that stands before it, too.

    >>> fill_template("{question}\n\n{options}", Problem("1", "Which?", "B", options=("this", "that")))
    'Which?\n\n(A) this\n(B) that'
    >>> fill_template("Q: {question}\n{options}\nA:", Problem("1", "What is {x} in \\frac{x}{2}?", "4"))
    'Q: What is {x} in \\frac{x}{2}?\nA:'
    >>> fill_template("Task: {description}\nQ:{question}", Problem("1", "2?", "", metadata='{"description": "Add."}'))
    'Task: Add.\nQ:2?'
    """
    if not problem.options:
        template = _OPTIONS_AND_SPACE_BEFORE.sub("", template)
    description = str(json.loads(problem.metadata).get("description", "")) if "{description}" in template else ""
    if not description:
        template = _DESCRIPTION_AND_TEXT_BEFORE.sub("", template)
    values = {"question": problem.question, "options": list_options(problem.options), "description": description}
    return _FIELD.sub(lambda match: values[match.group(1)], template)


def list_options(options: tuple[str, ...]) -> str:
    r"""Options as lettered lines.

    >>> list_options(("this", "that"))
    '(A) this\n(B) that'
    """
    return "\n".join(f"({letter}) {option}" for letter, option in zip(ascii_uppercase, options, strict=False))


def ends_in_think(text: str, question: str) -> bool:
    r"""True when a rendered prompt ends inside an open <think>, so that the completion begins there.

    Only what follows the question counts: system messages speak of the tags, and a question may too.

    >>> ends_in_think("use <think>\nWhat?\nassistant: <think>\n", "What?"), ends_in_think("<think>\nWhat?", "What?")
    (True, False)
    """
    tail = text.rpartition(question)[2] if question and question in text else text
    return tail.rfind("<think>") > tail.rfind("</think>")


def _messages(system: str, user: str) -> tuple[Message, ...]:
    turns = (Message(role="user", content=user),)
    return (Message(role="system", content=system), *turns) if system.strip() else turns


def _render_chat(messages: tuple[Message, ...], tokenizer: PreTrainedTokenizerBase, template: str | None = None) -> str:
    """The text of the messages by this template, or by the tokenizer's."""
    from jinja2.exceptions import TemplateError

    if template is None and not tokenizer.chat_template:
        raise DistillError(
            f"tokenizer '{tokenizer.name_or_path}' has no chat template", hint="base models: --set prompt.format=plain"
        )
    merged = (Message(role="user", content="\n\n".join(message["content"] for message in messages)),)
    failure = ""
    for attempt in (messages, merged):
        try:
            turns = [{"role": turn["role"], "content": turn["content"]} for turn in attempt]
            text = str(
                tokenizer.apply_chat_template(turns, chat_template=template, tokenize=False, add_generation_prompt=True)
            )
        except TemplateError as error:
            failure = str(error)
            continue
        if attempt is merged or attempt[0]["content"].strip() in text:
            return text
    raise DistillError(
        f"the chat template of '{tokenizer.name_or_path}' fails: {failure}", hint="--set prompt.format=plain avoids it"
    )


def _encode_plain(text: str, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Token ids with the tokenizer's special tokens, less an end token, after which nothing would be written."""
    token_ids: list[int] = list(tokenizer(text, verbose=False)["input_ids"])
    bare: list[int] = list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
    adds_end = token_ids[-1:] == [tokenizer.eos_token_id] and bare[-1:] != token_ids[-1:]
    return tuple(token_ids[:-1] if adds_end else token_ids)
