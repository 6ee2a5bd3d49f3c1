"""Completions from servers: what is asked, what is made of the answers, and what becomes of everything that goes wrong.

Every server here is a real one on this machine: see ``tests.replay_server``.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import AsyncExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from distill.config import CurateConfig, RecordedConfig, SamplingConfig, SourceConfig, TeacherConfig
from distill.curate.job import read_source
from distill.curate.settings import stage_settings
from distill.errors import DistillError
from distill.generate import open_backend
from distill.generate.base import BackendOptions
from distill.generate.server import ServerBackend
from distill.generate.server_answers import read_choices
from distill.generate.server_failures import Complaint, TroubleError
from distill.generate.server_routing import Endpoint, Fleet, Pace
from distill.records import Group, Message, Problem, Prompt
from tests.replay_model import ModelTokens, Said, written
from tests.replay_server import Options, ReplayServer
from tests.tiny import tiny_items, tiny_tokenizer

# A thousandth of the real one.
PACE = Pace(first_delay=0.0005, longest_delay=0.06, first_probe=0.001, longest_probe=0.03, patience=20.0)
KEY = "sk-a-secret-that-nobody-may-see"


@pytest.fixture(autouse=True)
def _no_key_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("tokenizer"))
    tiny_tokenizer().save_pretrained(folder)
    return folder


@contextmanager
def opened(
    *servers: ReplayServer, pace: Pace = PACE, sampling: dict[str, Any] | None = None, seed: int = 0, **teacher: Any
) -> Iterator[ServerBackend]:
    options = BackendOptions(
        TeacherConfig(**{"model": "replay", "backend": "server", "base_urls": [s.url for s in servers], **teacher}),
        SamplingConfig(**{"num_completions": 4, "max_new_tokens": 2000, **(sampling or {})}),
        seed=seed,
    )
    with closing(ServerBackend(options, pace=pace)) as backend:
        yield backend


def chat_items(questions: Iterable[str]) -> Iterator[tuple[Problem, Prompt]]:
    for number, question in enumerate(questions):
        messages = (Message(role="system", content="Be brief."), Message(role="user", content=question))
        yield Problem(f"p{number}", question, "4", index=number), Prompt(messages, "chat", f"Be brief.\n\n{question}")


def plain_items(questions: Iterable[str]) -> Iterator[tuple[Problem, Prompt]]:
    for number, question in enumerate(questions):
        yield Problem(f"p{number}", question, "4", index=number), Prompt((), "plain", question)


def by_id(groups: Iterable[Group]) -> dict[str, Group]:
    found = list(groups)
    assert len({group.problem.id for group in found}) == len(found)
    return {group.problem.id: group for group in found}


def questions(number: int) -> list[str]:
    return [f"What is {n} plus {n}?" for n in range(number)]


def says(*texts: str, **rest: Any) -> Any:
    """A model that says these texts in turn, one for each seed."""
    return lambda _, seed: Said(texts[seed % len(texts)], **rest)


def texts(group: Group) -> list[str]:
    return [completion.text for completion in group.completions]


# What is asked.


def test_a_group_is_one_request_for_all_its_completions() -> None:
    with ReplayServer() as server, opened(server) as backend:
        items = list(chat_items(questions(5)))
        groups = by_id(backend.sample(items))
        assert [(groups[p.id].problem, groups[p.id].prompt) for p, _ in items] == items
        assert server.stats.requests == 5
        assert all(len(set(texts(group))) == 4 for group in groups.values())
        assert {group.teacher for group in groups.values()} == {"replay"}
        assert {completion.model for group in groups.values() for completion in group.completions} == {"replay"}
        assert backend.notes == ()


def test_messages_go_to_the_chat_interface_and_plain_text_to_the_other() -> None:
    with ReplayServer() as server, opened(server) as backend:
        list(backend.sample(chat_items(["Why?"])))
        list(backend.sample(plain_items(["Why not?"])))
        chat, plain = server.stats.bodies
        assert chat["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
        assert plain["prompt"] == "Why not?"
        assert chat["n"] == plain["n"] == 4
        assert (chat["temperature"], chat["top_p"], chat["max_tokens"]) == (0.9, 1.0, 2000)
        assert chat["return_token_ids"] is True
        assert chat["skip_special_tokens"] is False


def test_a_seed_depends_on_run_and_problem_and_greedy_sampling_has_none() -> None:
    with ReplayServer() as server:
        for seed in (0, 0, 1):
            with opened(server, seed=seed) as backend:
                list(backend.sample(chat_items(["Why?", "Why not?"])))
        with opened(server, sampling={"temperature": 0}) as backend:
            (group,) = backend.sample(chat_items(["Why?"]))
        seeds = [body.get("seed", -1) for body in server.stats.bodies]
    first, again, other = (set(seeds[start : start + 2]) for start in (0, 2, 4))
    assert first == again
    assert len(first | other) == 4
    assert all(0 <= seed < 2**31 for seed in first | other)
    assert seeds[6] == -1
    assert {completion.seed for completion in group.completions} == {None}


def test_sampling_twice_gives_the_same_groups() -> None:
    with ReplayServer() as server, opened(server) as backend:
        first = by_id(backend.sample(chat_items(questions(6))))
        assert by_id(backend.sample(chat_items(questions(6)))) == first


def test_a_key_is_sent_and_told_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with ReplayServer(Options(key=KEY)) as server, opened(server) as backend:
        (group,) = backend.sample(chat_items(["Why?"]))
        assert len(group.completions) == 4
        assert KEY not in f"{vars(backend)} {group} {backend.notes}"


def test_extra_fields_are_passed_on_and_null_leaves_one_out() -> None:
    extra = {"top_k": 20, "seed": None, "skip_special_tokens": True}
    with ReplayServer() as server, opened(server, extra_body=extra) as backend:
        (group,) = backend.sample(chat_items(["Why?"]))
        (body,) = server.stats.bodies
    assert body["top_k"] == 20
    assert "seed" not in body
    assert body["skip_special_tokens"] is True
    assert {completion.seed for completion in group.completions} == {None}


@pytest.mark.parametrize(("extra", "said"), [({"n": 4}, "may not set 'n'"), ({"seed": 3}, "sets 'seed' to '3'")])
def test_extra_fields_may_not_set_what_is_decided_elsewhere(extra: dict[str, Any], said: str) -> None:
    with ReplayServer() as server, pytest.raises(DistillError, match=said), opened(server, extra_body=extra):
        pass


# What is made of the answers.


def test_with_a_tokenizer_ids_go_out_and_the_text_is_that_of_the_ids_that_come_back(tokenizer_folder: str) -> None:
    tokens = ModelTokens(tiny_tokenizer())
    with (
        ReplayServer(complete=says("<think>é</think> 7"), tokens=tokens) as server,
        opened(server, tokenizer=tokenizer_folder) as backend,
    ):
        ((_, prompt),) = items = list(tiny_items(["Why?"]))
        (group,) = backend.sample(items)
        assert server.stats.bodies[0]["prompt"] == list(prompt.token_ids)
        assert group.tokenizer_fingerprint == backend.tokenizer_fingerprint != ""
    for completion in group.completions:
        assert completion.text == "<think>é</think> 7"
        assert completion.token_ids == (*tokens.encode(completion.text), tokens.end_id)
        assert (completion.finish_reason, completion.num_tokens) == ("stop", len(completion.token_ids))


def test_a_completion_that_reaches_the_limit_is_kept_and_has_no_end_token(tokenizer_folder: str) -> None:
    tokens = ModelTokens(tiny_tokenizer())
    with (
        ReplayServer(complete=says("a long story"), tokens=tokens) as server,
        opened(server, tokenizer=tokenizer_folder, sampling={"max_new_tokens": 6}) as backend,
    ):
        (group,) = backend.sample(tiny_items(["Why?"]))
    expected = ("a long", tuple(tokens.encode("a long")), "length")
    assert {(c.text, c.token_ids, c.finish_reason) for c in group.completions} == {expected}


def test_ids_that_are_not_told_are_those_of_the_text(tokenizer_folder: str) -> None:
    tokens = ModelTokens(tiny_tokenizer())
    with (
        ReplayServer(complete=says("7"), tokens=tokens, options=Options(owner="vllm")) as server,
        opened(server, tokenizer=tokenizer_folder, extra_body={"return_token_ids": None}) as backend,
    ):
        (group,) = backend.sample(tiny_items(["Why?"]))
    assert {(c.text, c.token_ids, c.logprobs) for c in group.completions} == {
        ("7", (*tokens.encode("7"), tokens.end_id), None)
    }


@pytest.mark.parametrize(
    ("owner", "temperature", "kept"), [("vllm", 0.9, True), ("other", 1.0, True), ("other", 0.9, False)]
)
def test_log_probabilities_are_kept_where_they_are_those_of_the_raw_distribution(
    owner: str, temperature: float, kept: bool
) -> None:
    with (
        ReplayServer(Options(owner=owner), says("four")) as server,
        opened(server, sampling={"temperature": temperature}) as backend,
    ):
        (chat,) = backend.sample(chat_items(["Why?"]))
        (plain,) = backend.sample(plain_items(["Why?"]))
    for completion in (*chat.completions, *plain.completions):
        if kept:
            assert completion.logprobs is not None
            assert len(completion.logprobs) == len(completion.token_ids) == 3  # 'fou', 'r' and the end token
        else:
            assert completion.logprobs is None


@pytest.mark.parametrize(
    ("options", "requests"),
    [
        (Options(), 1),
        (Options(token_ids=False), 1),  # as many log-probabilities as tokens
        (Options(token_ids=False, logprobs=False), 1 + 4),  # the total of one completion is its length
    ],
)
def test_the_number_of_tokens_is_known_whatever_the_server_tells(options: Options, requests: int) -> None:
    with ReplayServer(options, says("four", "fourteen")) as server, opened(server) as backend:
        (group,) = backend.sample(chat_items(["Why?"]))
        lengths = {"four": 3, "fourteen": 4}  # three bytes are a token, and the end token counts
        assert [c.num_tokens for c in group.completions] == [lengths[c.text] for c in group.completions]
        assert server.stats.requests == requests


def test_a_server_that_tells_no_lengths_at_all_stops_the_run() -> None:
    with (
        ReplayServer(Options(token_ids=False, logprobs=False, usage=False)) as server,
        opened(server) as backend,
        pytest.raises(DistillError, match="does not tell how many tokens"),
    ):
        list(backend.sample(chat_items(["Why?"])))


@pytest.mark.parametrize(("told", "meant"), [("stop", "stop"), ("length", "length"), ("content_filter", "unknown")])
def test_why_a_completion_ended_is_one_of_three_words(told: str, meant: str) -> None:
    with ReplayServer(complete=says("four", finish_reason=told)) as server, opened(server) as backend:
        (group,) = backend.sample(chat_items(["Why?"]))
    assert {completion.finish_reason for completion in group.completions} == {meant}


def test_what_a_server_broke_off_is_asked_for_again() -> None:
    broken = iter(["abort", "stop", "abort", "stop"])
    with (
        ReplayServer(complete=lambda *_: Said("four", finish_reason=next(broken, "stop"))) as server,
        opened(server) as backend,
    ):
        (group,) = backend.sample(chat_items(["Why?"]))
        assert [body.get("n", 1) for body in server.stats.bodies] == [4, 2]
    assert [completion.finish_reason for completion in group.completions] == ["stop"] * 4


def test_reasoning_that_the_server_keeps_apart_is_put_back() -> None:
    with ReplayServer(complete=says("It is 4.", reasoning="2 + 2\n")) as server, opened(server) as backend:
        (group,) = backend.sample(chat_items(["Why?"]))
    assert set(texts(group)) == {"<think>2 + 2\n</think>It is 4."}


def test_reasoning_that_reached_the_limit_stays_open() -> None:
    with (
        ReplayServer(complete=says("", reasoning="2 + 2", finish_reason="length")) as server,
        opened(server) as backend,
    ):
        (group,) = backend.sample(chat_items(["Why?"]))
    assert set(texts(group)) == {"<think>2 + 2"}


def test_a_think_that_the_servers_template_opened_is_written_back_to_all() -> None:
    with ReplayServer(complete=says("2 + 2</think>4", "still at it")) as server, opened(server) as backend:
        (chat,) = backend.sample(chat_items(["Why?"]))
        (plain,) = backend.sample(plain_items(["Why?"]))
    assert set(texts(chat)) == {"<think>2 + 2</think>4", "<think>still at it"}
    assert set(texts(plain)) == {"2 + 2</think>4", "still at it"}  # no template but ours was there


def test_a_prompt_that_opens_think_is_told_to_the_completion() -> None:
    prompt = Prompt((), "plain", "Why?<think>", opens_think=True)
    with ReplayServer() as server, opened(server) as backend:
        (group,) = backend.sample([(Problem("p0", "Why?", "4"), prompt)])
    assert all(completion.think_opened for completion in group.completions)


# Servers that take less than they are asked.


def test_a_server_that_ignores_n_gets_a_request_for_each_with_a_seed_of_its_own() -> None:
    with ReplayServer(Options(honours_n=False)) as server, opened(server, groups_in_flight=1) as backend:
        groups = by_id(backend.sample(chat_items(questions(3))))
        bodies = list(server.stats.bodies)
        assert len(backend.notes) == 1
        assert "ignores 'n'" in backend.notes[0]
    assert all(len(set(texts(group))) == 4 for group in groups.values())
    # the first answer brings one completion and shows how it is: three more requests, then four for every group
    assert [body.get("n", 1) for body in bodies] == [4, 1, 1, 1] + [1] * 8
    assert len({body["seed"] for body in bodies}) == 12
    assert {c.seed for group in groups.values() for c in group.completions} == {body["seed"] for body in bodies}


@pytest.mark.parametrize("name", ["seed", "logprobs", "return_token_ids", "skip_special_tokens"])
def test_a_parameter_that_a_server_refuses_is_left_out_from_then_on(name: str) -> None:
    with ReplayServer(Options(refused=frozenset({name}))) as server, opened(server, groups_in_flight=1) as backend:
        groups = list(backend.sample(chat_items(questions(3))))
        assert [len(group.completions) for group in groups] == [4, 4, 4]
        assert [name in body for body in server.stats.bodies] == [True, False, False, False]
        assert backend.notes == (f"'{server.url}': '{name}' is left out, which it does not take",)


def test_a_server_may_refuse_everything_that_is_not_needed() -> None:
    refused = frozenset({"seed", "logprobs", "return_token_ids", "skip_special_tokens", "n", "max_tokens"})
    with ReplayServer(Options(refused=refused)) as server, opened(server) as backend:
        groups = by_id(backend.sample(chat_items(questions(20))))
        assert all(len(group.completions) == 4 and not group.error for group in groups.values())
        assert len(backend.notes) == len(refused)
        last = server.stats.bodies[-1]
        assert not refused & last.keys()
        assert last["max_completion_tokens"] == 2000


def test_a_server_without_token_id_prompts_says_so_at_once(tokenizer_folder: str) -> None:
    with (
        ReplayServer(Options(token_ids=False)) as server,
        opened(server, tokenizer=tokenizer_folder) as backend,
        pytest.raises(DistillError, match="takes no token ids for a prompt"),
    ):
        list(backend.sample(tiny_items(["Why?"])))


# Prompts that are too long.


def test_a_prompt_that_fills_the_context_gets_no_completions_and_costs_no_request(tokenizer_folder: str) -> None:
    tokens = ModelTokens(tiny_tokenizer())
    with (
        ReplayServer(Options(max_model_len=64), tokens=tokens) as server,
        opened(server, tokenizer=tokenizer_folder) as backend,
    ):
        groups = by_id(backend.sample(tiny_items(["x" * 60, "x" * 64])))
        assert [len(groups[name].completions) for name in ("p0", "p1")] == [4, 0]
        assert groups["p1"].error == ""
        assert [body["max_tokens"] for body in server.stats.bodies] == [4]


def test_where_the_server_counts_the_prompt_it_is_asked_for_what_is_left() -> None:
    options = Options(max_model_len=64, tells_max_model_len=False)
    with ReplayServer(options) as server, opened(server) as backend:
        groups = by_id(backend.sample(plain_items(["x" * 90, "x" * 300])))  # 30 and 100 tokens
        assert [len(groups[name].completions) for name in ("p0", "p1")] == [4, 0]
        assert groups["p1"].error == ""
        assert sorted(body["max_tokens"] for body in server.stats.bodies) == [34, 2000, 2000]
    assert {(c.num_tokens, c.finish_reason) for c in groups["p0"].completions} == {(34, "length")}


# Trouble.


def test_nothing_is_lost_when_servers_fail_now_and_then() -> None:
    options = Options(failing=0.2, torn=0.1, rate_limited=0.1, garbled=0.05, overflowing=0.05, seed=3)
    with ReplayServer(options) as server, opened(server, max_retries=20) as backend:
        groups = by_id(backend.sample(chat_items(questions(100))))
        answers = server.stats.answers
        assert min(answers[kind] for kind in ("200", "400", "429", "500", "torn")) > 0
        assert server.stats.completions == sum(len(group.completions) for group in groups.values())
    assert len(groups) == 100
    assert {group.error for group in groups.values()} == {""}
    sizes = [len(group.completions) for group in groups.values()]
    assert set(sizes) == {0, 4}
    assert 0 < sizes.count(0) == answers["400"]


def test_what_fails_for_good_is_an_error_of_its_problem_and_the_others_go_on() -> None:
    def complete(prompt: str, seed: int) -> Said:
        if "evil" in prompt:
            raise ValueError("this prompt is against the rules")
        return written(prompt, seed)

    with ReplayServer(complete=complete) as server, opened(server) as backend:
        groups = by_id(backend.sample(chat_items(["good", "evil", "good too"])))
    assert [len(groups[f"p{n}"].completions) for n in range(3)] == [4, 0, 4]
    assert [groups[f"p{n}"].error for n in (0, 2)] == ["", ""]
    assert groups["p1"].error == "http 400: malformed request: ValueError this prompt is against the rules"


@pytest.mark.parametrize("honours_n", [True, False])
def test_a_request_is_sent_again_as_often_as_the_recipe_says(honours_n: bool) -> None:
    with ReplayServer(Options(failing=1.0, honours_n=honours_n)) as server:
        with opened(server, max_retries=2, groups_in_flight=1) as backend:
            (group,) = backend.sample(chat_items(["Why?"]))
        assert server.stats.requests == 3
    assert group.completions == ()
    assert group.error == f"3 requests failed, the last at '{server.url}': http 500: made up"


def test_waiting_for_ones_turn_is_no_failure() -> None:
    with ReplayServer(Options(rate_limited=0.7)) as server, opened(server, max_retries=0) as backend:
        groups = list(backend.sample(chat_items(questions(20))))
        assert server.stats.answers["429"] > 20
    assert {group.error for group in groups} == {""}


def test_waiting_has_an_end() -> None:
    hurried = Pace(first_delay=0.001, longest_delay=0.01, patience=0.05)
    with ReplayServer(Options(rate_limited=1.0)) as server, opened(server, pace=hurried) as backend:
        (group,) = backend.sample(chat_items(["Why?"]))
    assert "told to wait" in group.error


def test_an_account_without_credit_stops_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with ReplayServer(Options(key=KEY)) as server, opened(server) as backend:
        server.options = Options(key="another", lists_models=True)  # the key is withdrawn
        with pytest.raises(DistillError, match="gives no completions: http 401") as caught:
            list(backend.sample(chat_items(["Why?"])))
    # the server repeats the key in its answer
    assert KEY not in f"{caught.value} {caught.value.hint}"
    assert "Bearer ***" in str(caught.value)


# Several servers.


def test_several_servers_share_the_work() -> None:
    with ReplayServer() as one, ReplayServer() as two, opened(one, two, groups_in_flight=8) as backend:
        one.holding = two.holding = "plus"
        groups = backend.sample(chat_items(questions(60)))
        first = threading.Thread(target=lambda: found.append(next(groups)))
        found: list[Group] = []
        first.start()
        for server in (one, two):
            server.wait_until(lambda stats: stats.in_flight == 4)
        one.release()
        two.release()
        first.join()
        assert len(by_id([*found, *groups])) == 60
        assert one.stats.requests + two.stats.requests == 60


def test_a_server_that_is_down_is_left_alone_until_it_is_back() -> None:
    with ReplayServer() as one, ReplayServer() as two, opened(one, two, groups_in_flight=4) as backend:
        assert len(list(backend.sample(chat_items(questions(8))))) == 8
        two.outage = 503
        before = two.stats.requests
        assert {group.error for group in backend.sample(chat_items(questions(40)))} == {""}
        assert two.stats.requests - before < 12
        assert backend.load.servers_answering == 1
        two.outage, before = None, two.stats.requests
        for group in backend.sample(chat_items(questions(100_000))):
            assert not group.error
            if two.stats.requests > before:
                break
        assert backend.load.servers_answering == 2


def test_a_server_that_vanishes_costs_no_group() -> None:
    with ReplayServer() as stays, ReplayServer() as goes, opened(stays, goes, groups_in_flight=6) as backend:
        goes.holding = "plus"
        groups = backend.sample(chat_items(questions(50)))
        found = [next(groups)]
        goes.wait_until(lambda stats: stats.in_flight == 3)
        goes.stop()
        found += groups
    assert len(by_id(found)) == 50
    assert {(len(group.completions), group.error) for group in found} == {(4, "")}


def test_no_server_for_longer_than_the_patience_ends_the_run() -> None:
    hurried = Pace(first_delay=0.001, longest_delay=0.01, first_probe=0.001, longest_probe=0.01, patience=0.1)
    with ReplayServer() as server, opened(server, pace=hurried) as backend:
        groups = backend.sample(chat_items(questions(100)))
        next(groups)
        server.outage = 502
        with pytest.raises(DistillError, match=f"'{server.url}' has not answered for 0.1 s: http 502") as caught:
            list(groups)
        assert "same command again" in caught.value.hint


def test_a_server_that_is_not_up_yet_joins_later_as_if_it_had_always_been_there() -> None:
    with ReplayServer(Options(owner="vllm")) as one:
        two = ReplayServer(Options(owner="vllm"), port=_free_port())
        with opened(one, two) as backend:
            assert "could not be reached" in backend.notes[0]
            assert backend.load.servers_answering == 1
            with two:
                for group in backend.sample(chat_items(questions(100_000))):
                    assert all(completion.logprobs for completion in group.completions)
                    if two.stats.completions > 40:
                        break
            assert two.stats.bodies[0]["logprobs"] is True


def _free_port() -> int:
    with ReplayServer() as server:
        return server.port


# The window.


def test_as_many_groups_are_in_flight_as_the_recipe_says() -> None:
    with ReplayServer(Options(latency_seconds=0.001)) as server, opened(server, groups_in_flight=3) as backend:
        assert len(list(backend.sample(chat_items(questions(40))))) == 40
        assert server.stats.max_in_flight == 3


def test_a_slow_group_holds_up_nobody() -> None:
    with ReplayServer() as server, opened(server, groups_in_flight=2) as backend:
        server.holding = "slow"
        groups = backend.sample(chat_items(["slow", *questions(20)]))
        others = [next(groups).problem.id for _ in range(20)]
        assert sorted(others) == sorted(f"p{n}" for n in range(1, 21))
        assert backend.load.groups_in_flight == 1
        server.release()
        assert [group.problem.id for group in groups] == ["p0"]


def test_the_caller_hears_now_and_then_that_nothing_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distill.generate.server.LOOK_SECONDS", 0.01)
    heard: list[int] = []

    def hear(tokens: int) -> None:
        heard.append(tokens)
        if len(heard) == 3:
            server.release()

    with ReplayServer() as server, opened(server) as backend:
        server.holding = "slow"
        (group,) = backend.sample(chat_items(["slow"]), hear)
    assert heard[:3] == [0, 0, 0]
    assert heard[-1] == sum(completion.num_tokens for completion in group.completions)


def test_items_are_read_as_places_become_free() -> None:
    read: list[str] = []

    def watched() -> Iterator[tuple[Problem, Prompt]]:
        for problem, prompt in chat_items(questions(1000)):
            read.append(problem.id)
            yield problem, prompt

    with ReplayServer() as server, opened(server, groups_in_flight=8) as backend:
        groups = backend.sample(watched())
        assert len([next(groups) for _ in range(5)]) == 5
        assert len(read) == 8 + 2 + 4  # the window, a quarter of it ahead, and one for each group but the last


def test_progress_adds_up_to_all_tokens() -> None:
    told: list[int] = []
    with ReplayServer() as server, opened(server) as backend:
        groups = list(backend.sample(chat_items(questions(10)), told.append))
    assert sum(told) == sum(completion.num_tokens for group in groups for completion in group.completions) > 0


def test_no_items_give_no_groups() -> None:
    with ReplayServer() as server, opened(server) as backend:
        assert list(backend.sample([])) == []


def test_a_fault_of_the_items_reaches_the_caller() -> None:
    def broken() -> Iterator[tuple[Problem, Prompt]]:
        yield from chat_items(questions(3))
        raise RuntimeError("no more problems")

    with ReplayServer() as server, opened(server) as backend, pytest.raises(RuntimeError, match="no more problems"):
        list(backend.sample(broken()))


# The end.


def test_requests_are_cancelled_when_the_caller_has_enough() -> None:
    with ReplayServer() as server, opened(server, groups_in_flight=4) as backend:
        server.holding = "slow"
        groups: Any = backend.sample(chat_items(["quick", *["slow"] * 9]))
        next(groups)
        server.wait_until(lambda stats: stats.in_flight == 4)
        groups.close()
        server.wait_until(lambda stats: stats.answers["gone"] == 4)
        assert server.stats.requests == 5
        assert [group.problem.id for group in backend.sample(chat_items(["again"]))] == ["p0"]


def test_closing_leaves_neither_thread_nor_connection() -> None:
    with ReplayServer() as server:
        before = set(threading.enumerate())
        # a name, which is looked up in yet another thread
        with opened(base_urls=[server.url.replace("127.0.0.1", "localhost")]) as backend:
            server.holding = "slow"
            groups = backend.sample(chat_items(["quick", "slow"]))
            next(groups)
            server.wait_until(lambda stats: stats.in_flight == 1)
            backend.close()
            assert set(threading.enumerate()) == before
            server.wait_until(lambda stats: stats.in_flight == 0)
            with pytest.raises(RuntimeError, match="cancelled"):
                next(groups)
            backend.close()


@pytest.fixture
def interrupts() -> Iterator[None]:
    """An interrupt raises, also where the shell that began these tests had it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interrupts")
def test_an_interrupt_ends_sampling_at_once() -> None:
    with ReplayServer() as server, opened(server) as backend:
        server.holding = "slow"

        def interrupt() -> None:
            server.wait_until(lambda stats: stats.in_flight == 2)
            os.kill(os.getpid(), signal.SIGINT)

        killer = threading.Thread(target=interrupt)
        killer.start()
        with pytest.raises(KeyboardInterrupt):
            list(backend.sample(chat_items(["slow", "slow too"])))
        killer.join()
        server.wait_until(lambda stats: stats.answers["gone"] == 2)


def test_a_program_that_forgets_to_close_ends_all_the_same() -> None:
    with ReplayServer() as server:
        code = (
            "from distill.config import *; from distill.generate import open_backend\n"
            "from distill.records import *\n"
            f"teacher = TeacherConfig(model='replay', backend='server', base_urls=['{server.url}'])\n"
            "backend = open_backend(teacher, SamplingConfig(), RecordedConfig(), 0)\n"
            "groups = backend.sample([(Problem('p', '?', '4'), Prompt((), 'plain', str(n))) for n in range(9)])\n"
            "print(len(next(groups).completions))\n"
            "import sys; assert not {'torch', 'transformers'} & set(sys.modules)\n"
        )
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (result.returncode, result.stdout, result.stderr) == (0, "8\n", "")


# What is wrong from the start.


@pytest.mark.parametrize(
    ("path", "hint"),
    [("", "did you mean 'http://127.0.0.1:{port}/v1'?"), ("/", "did you mean 'http://127.0.0.1:{port}/v1'?")],
)
def test_an_address_without_v1_is_put_right(path: str, hint: str) -> None:
    with ReplayServer() as server:
        url = f"http://127.0.0.1:{server.port}{path}"
        with pytest.raises(DistillError, match="is not where the server answers") as caught, opened(base_urls=[url]):
            pass
    assert caught.value.hint == hint.format(port=server.port)


@pytest.mark.parametrize("end", ["/", "/chat/completions", "/completions/", "/models"])
def test_what_people_copy_along_with_an_address_does_no_harm(end: str) -> None:
    with ReplayServer() as server, opened(base_urls=[server.url + end]) as backend:
        assert len(list(backend.sample(chat_items(["Why?"])))) == 1


def test_a_model_that_is_not_served_is_told_with_those_that_are() -> None:
    with (
        ReplayServer(Options(model="Qwen/Qwen2.5-7B")) as server,
        pytest.raises(DistillError, match=f"'{server.url}' serves no model 'Qwen2.5-7B'") as caught,
        opened(server, model="Qwen2.5-7B"),
    ):
        pass
    assert "did you mean 'Qwen/Qwen2.5-7B'?" in caught.value.hint


@pytest.mark.parametrize(("key", "said"), [("", "wants an API key: http 401"), (KEY, "refuses the API key: http 401")])
def test_a_wrong_key_is_told_without_the_key(key: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with (
        ReplayServer(Options(key="right")) as server,
        pytest.raises(DistillError, match=said) as caught,
        opened(server),
    ):
        pass
    assert "OPENAI_API_KEY" in caught.value.hint
    assert KEY not in f"{caught.value} {caught.value.hint}"


def test_a_named_key_that_is_not_set_is_an_error_that_does_not_repeat_the_name() -> None:
    # it might be the key itself
    with (
        ReplayServer() as server,
        pytest.raises(DistillError, match="is not set") as caught,
        opened(server, api_key_env="secret0123456789"),
    ):
        pass
    assert "secret0123456789" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize(
    ("urls", "said"),
    [
        ([], "needs teacher.base_urls"),
        (["localhost:8000/v1"], "is no http address"),
        (["ftp://localhost/v1"], "is no http address"),
        (["http://127.0.0.1:9/v1"], "cannot be used: nothing listens there"),
        (["http://127.0.0.1:9/v1", "http://127.0.0.1:10/v1"], "nothing listens there, nor can 1 other"),
    ],
)
def test_addresses_that_lead_nowhere_are_told_in_one_line(urls: list[str], said: str) -> None:
    with pytest.raises(DistillError, match=said) as caught, opened(base_urls=urls):
        pass
    assert caught.value.hint
    assert "\n" not in str(caught.value)


def test_a_server_that_lists_no_models_is_given_a_try() -> None:
    with ReplayServer(Options(lists_models=False)) as server, opened(server) as backend:
        assert len(list(backend.sample(chat_items(["Why?"])))) == 1


def test_this_machines_servers_are_reached_without_the_environments_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with ReplayServer() as server, opened(server) as backend:
        assert len(list(backend.sample(chat_items(["Why?"])))) == 1
    with pytest.raises(DistillError, match="nothing listens there"), opened(base_urls=["http://teacher.invalid/v1"]):
        pass


def test_a_proxy_that_is_none_is_told() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HTTP_PROXY", "gopher://127.0.0.1:9")
        with pytest.raises(DistillError, match="proxy") as caught, opened(base_urls=["http://teacher.invalid/v1"]):
            pass
    assert "NO_PROXY" in caught.value.hint


# The parts.

# What servers say of a prompt that is too long, and how many tokens they leave for a completion.
OVERFLOWS = [
    (
        "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens (3000 in the messages, "
        "2000 in the completion). Please reduce the length of the messages or completion.",
        1096,
    ),
    (
        "'max_tokens' or 'max_completion_tokens' is too large: 2048. This model's maximum context length is 512 tokens "
        "and your request has 100 input tokens (2048 > 512 - 100).",
        412,
    ),
    ("max_tokens=2048 cannot be greater than max_model_len=512. Please request fewer output tokens.", 512),
    (
        "This model's maximum context length is 512 tokens. However, your prompt contains at least 513 input tokens, "
        "which exceeds this limit even without any output tokens.",
        0,
    ),
    (
        "Requested token count exceeds the model's maximum context length of 8192 tokens. You requested a total of 9000 "
        "tokens: 8000 tokens from the input messages and 1000 tokens for the completion.",
        192,
    ),
    ("The input (9000 tokens) is longer than the model's context length (8192 tokens).", 0),
    ("the request exceeds the available context size, try increasing it", None),
]


@pytest.mark.parametrize(("message", "room"), OVERFLOWS)
def test_a_prompt_that_is_too_long_is_told_in_many_ways(message: str, room: int | None) -> None:
    complaint = Complaint(message)
    assert complaint.is_overflow
    assert complaint.room() == room


@pytest.mark.parametrize(
    "message",
    ["Unrecognized request argument supplied: seed", "temperature must be at most 2", "the prompt breaks our rules"],
)
def test_other_complaints_are_no_overflow(message: str) -> None:
    assert not Complaint(message).is_overflow


@pytest.mark.parametrize(
    ("lengths", "total", "expected"),
    [
        ([3, 5], 8, [3, 5]),  # end tokens are listed
        ([3, 5], 9, [4, 5]),  # only the total counts the one end token
        ([3, 5], 20, [3, 5]),  # the total counts what nobody lists
        ([3, 5], None, [3, 5]),
    ],
)
def test_end_tokens_that_only_the_total_counts_are_counted(
    lengths: list[int], total: int | None, expected: list[int]
) -> None:
    choices = [
        {"index": index, "text": "x", "finish_reason": reason, "logprobs": {"token_logprobs": [-1.0] * length}}
        for index, (length, reason) in enumerate(zip(lengths, ["stop", "length"], strict=True))
    ]
    read = read_choices({"choices": choices, "usage": {"completion_tokens": total}})
    assert [choice.num_tokens for choice in read] == expected


def test_choices_stand_in_the_order_of_their_index() -> None:
    choices = [{"index": index, "text": str(index), "finish_reason": "stop"} for index in (2, 0, 1)]
    assert [choice.text for choice in read_choices({"choices": choices})] == ["0", "1", "2"]


@pytest.mark.parametrize(
    "answer",
    [{}, {"choices": None}, {"choices": [{}]}, {"choices": ["four"]}, {"choices": [{"text": 4}]},
     {"choices": [{"text": "4", "token_ids": ["4"]}]}, {"choices": [{"text": "4", "logprobs": {"content": [{}]}}]}],
)  # fmt: skip
def test_an_answer_of_another_form_is_trouble_and_no_crash(answer: dict[str, Any]) -> None:
    with pytest.raises(TroubleError, match="an answer without completions"):
        read_choices(answer)


def test_a_server_that_asks_to_be_left_alone_is_while_others_answer() -> None:
    async def picked() -> set[str]:
        endpoints = [Endpoint("hurried", None), Endpoint("idle", None)]  # type: ignore[arg-type]
        fleet = Fleet(endpoints, _never_back, PACE)
        fleet.failed(endpoints[0], TroubleError("http 429", "wait", retry_after=5))
        names = set()
        for _ in range(4):
            async with fleet.place(8) as endpoint:
                names.add(endpoint.url)
        return names

    assert asyncio.run(picked()) == {"idle"}


def test_the_least_loaded_server_is_picked() -> None:
    async def picked() -> list[str]:
        endpoints = [Endpoint("a", None), Endpoint("b", None), Endpoint("c", None)]  # type: ignore[arg-type]
        fleet = Fleet(endpoints, _never_back, PACE)
        async with AsyncExitStack() as places:
            taken = [await places.enter_async_context(fleet.place(size)) for size in (8, 1, 4, 1, 1, 1, 1)]
        assert [endpoint.in_flight for endpoint in endpoints] == [0, 0, 0]
        return [endpoint.url for endpoint in taken]

    # loads of a, b, c: 0 0 0 -> 8 0 0 -> 8 1 0 -> 8 1 4 -> 8 2 4 -> 8 3 4 -> 8 4 4 -> (a tie is b's, the first)
    assert asyncio.run(picked()) == ["a", "b", "c", "b", "b", "b", "b"]


async def _never_back(_: Endpoint) -> str:
    return "still down"


# The recipe.


def test_a_recipe_names_one_server_or_several() -> None:
    assert TeacherConfig.model_validate({"base_urls": "http://a/v1"}).base_urls == ("http://a/v1",)
    assert TeacherConfig.model_validate({"base_urls": ["http://a/v1", "http://b/v1"]}).base_urls[1] == "http://b/v1"


@pytest.mark.parametrize(
    "fields", [{"api_key_env": KEY}, {"base_urls": [f"https://me:{KEY}@example.com/v1"]}], ids=["key", "password"]
)
def test_a_recipe_holds_no_secret(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        TeacherConfig(**fields)
    (error,) = caught.value.errors()
    assert KEY not in error["msg"]
    assert error["loc"] == ()  # so that nobody shows the field's value


@pytest.mark.parametrize(
    ("changes", "differ"),
    [
        ({"base_urls": ("http://elsewhere/v1",)}, False),
        ({"api_key_env": "OTHER_KEY"}, False),
        ({"request_timeout_seconds": 5, "max_retries": 9, "groups_in_flight": 2}, False),
        ({"device": "cpu", "dtype": "float32"}, False),
        ({"model": "another"}, True),
        ({"tokenizer": "tiny-teacher"}, True),
        ({"extra_body": {"top_k": 20}}, True),
    ],
)
def test_a_run_is_bound_to_what_is_asked_and_not_to_where(changes: dict[str, Any], differ: bool) -> None:
    def settings(**fields: Any) -> Any:
        teacher = TeacherConfig(**{"backend": "server", "model": "replay", "base_urls": ("http://a/v1",), **fields})
        config = CurateConfig(source=SourceConfig(name="arithmetic", limit=3), teacher=teacher)
        return stage_settings(config, *read_source(config))["completions"]

    assert (settings() != settings(**changes)) == differ


def test_the_backend_is_found_by_its_name() -> None:
    with ReplayServer() as server:
        teacher = TeacherConfig(backend="server", model="replay", base_urls=(server.url,))
        with closing(open_backend(teacher, SamplingConfig(), RecordedConfig(), 0)) as backend:
            assert (backend.teacher, backend.tokenizer, backend.entropy_kind) == ("replay", None, "none")


def test_the_replay_server_is_a_program_of_its_own() -> None:
    command = [sys.executable, "-m", "tests.replay_server", "--model", "m", "--refuse", "seed"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with opened(base_urls=[url], model="m") as backend:
            assert len(list(backend.sample(chat_items(questions(3))))) == 3
        process.send_signal(signal.SIGINT)
    assert process.returncode == 0
