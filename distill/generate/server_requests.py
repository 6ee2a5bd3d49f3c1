"""What a server is asked: the body of a request, in words that the server has not refused before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from distill.config import SamplingConfig, TeacherConfig
from distill.errors import DistillError
from distill.generate.base import completion_seed
from distill.generate.server_failures import Complaint
from distill.records import Prompt

OPTIONAL = ("seed", "logprobs", "return_token_ids", "return_tokens_as_token_ids", "skip_special_tokens")
"""Sent, and left out for a server that does not know them; ``teacher.extra_body`` may set them to null."""
RESERVED = frozenset({
    "model", "prompt", "messages", "n", "max_tokens", "max_completion_tokens", "temperature", "top_p", "stream", "stop",
    "echo", "best_of", "suffix", "tools", "use_beam_search", "top_logprobs", "include_stop_str_in_output",
})  # fmt: skip
"""Set by fields of their own, or would change what a completion is."""
SEED_BITS = 31
"""What every server takes: some keep a seed as a signed 32-bit integer."""


@dataclass(slots=True)
class Dialect:
    """What a server has shown to take; it begins with the best opinion of it."""

    takes_n: bool = True
    """Whether it gives several completions for one request, and tells the length of each."""
    left_out: set[str] = field(default_factory=set)
    max_tokens: str = "max_tokens"
    tells_ids: bool = False
    """Whether it has sent the ids of a completion's tokens."""

    def learn(self, complaint: Complaint, body: Mapping[str, Any]) -> str:
        """Take a complaint to heart; what will be done another way, or nothing when no other way is known."""
        if "max_tokens" in body and "max_completion_tokens" in complaint.message:
            self.max_tokens = "max_completion_tokens"
            return "'max_tokens' is sent as 'max_completion_tokens'"
        for name in OPTIONAL:
            if name in body and complaint.refuses(name):
                self.left_out.add(name)
                return f"'{name}' is left out, which it does not take"
        if body.get("n", 1) > 1 and complaint.refuses("n"):
            self.takes_n = False
            return "every completion is a request of its own, for it does not take 'n'"
        return ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One request: so many completions of a prompt."""

    prompt: Prompt
    num_completions: int
    max_tokens: int
    seed: int | None
    """None where sampling is greedy."""
    logprobs: bool
    """Whether to ask for the sampled tokens' log-probabilities, which make answers some five times as long."""
    top_k: int = 0
    """How many of every token's largest log-probabilities to ask for, too."""


class RequestWriter:
    """Turns what is wanted into paths and bodies."""

    def __init__(self, teacher: TeacherConfig, sampling: SamplingConfig) -> None:
        check_extra_body(teacher.extra_body)
        self._teacher, self._sampling = teacher, sampling

    def is_chat(self, prompt: Prompt) -> bool:
        """True when the server itself renders the messages; False when it gets token ids or plain text."""
        return self._teacher.tokenizer is None and prompt.format == "chat"

    def write(self, wanted: Wanted, dialect: Dialect) -> tuple[str, dict[str, Any]]:
        """The path below the base address, and the body."""
        chat = self.is_chat(wanted.prompt)
        told: Any = True if chat else wanted.top_k  # as the two interfaces spell it
        optional = {
            "seed": wanted.seed,
            "logprobs": told if wanted.logprobs else None,
            "return_token_ids": True,
            "return_tokens_as_token_ids": True if wanted.top_k else None,  # texts of two tokens may be the same
            "skip_special_tokens": False,  # some tokenizers count <think> among them
            **self._teacher.extra_body,
        }
        body = {
            "model": self._teacher.model,
            **self._prompt(wanted.prompt),
            "n": wanted.num_completions,
            dialect.max_tokens: wanted.max_tokens,
            "temperature": self._sampling.temperature,
            "top_p": self._sampling.top_p,
            **{name: value for name, value in optional.items() if value is not None and name not in dialect.left_out},
        }
        if wanted.top_k and chat:
            body["top_logprobs"] = wanted.top_k
        if wanted.num_completions == 1:
            del body["n"]
        return ("/chat/completions" if chat else "/completions"), body

    def _prompt(self, prompt: Prompt) -> dict[str, Any]:
        if self._teacher.tokenizer is not None:
            return {"prompt": list(prompt.token_ids)}
        return {"messages": list(prompt.messages)} if self.is_chat(prompt) else {"prompt": prompt.text}


def check_extra_body(extra: Mapping[str, Any]) -> None:
    """Raise a DistillError where ``teacher.extra_body`` names what it may not set."""
    for name, value in extra.items():
        if name in RESERVED:
            raise DistillError(
                f"teacher.extra_body may not set '{name}'",
                hint="the fields of the sections teacher, sampling and prompt decide it; see docs/config.md",
            )
        if name in OPTIONAL and name != "skip_special_tokens" and value is not None:
            raise DistillError(
                f"teacher.extra_body sets '{name}' to '{value}'", hint="it may only leave it out: give it null"
            )


def request_seed(run_seed: int, problem_id: str, index: int) -> int:
    """The seed of a request whose first completion has this index: the leading bits of ``completion_seed``."""
    return completion_seed(run_seed, problem_id, index) >> (63 - SEED_BITS)
