"""Entropies that a server encloses by its largest log-probabilities: from the request to the dataset's manifest."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from distill.config import CurateConfig, EntropiesConfig, SamplingConfig, SourceConfig, TeacherConfig
from distill.curate.dataset import load_groups, open_dataset, read_manifest
from distill.curate.job import read_source
from distill.curate.pipeline import curate_dataset
from distill.curate.settings import stage_settings
from distill.errors import DistillError
from distill.generate import BackendOptions, BoundsOptions
from distill.generate.server import ServerBackend
from distill.records import Group, Message, Problem, Prompt
from tests.replay_model import ModelTokens, Said
from tests.replay_server import Options, ReplayServer
from tests.tiny import tiny_items, tiny_tokenizer

VLLM = Options(owner="vllm")
# of 1/2, 1/4, 1/8 ... without end
TRUTH = 2 * math.log(2)


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("tokenizer"))
    tiny_tokenizer().save_pretrained(folder)
    return folder


@contextmanager
def opened(server: ReplayServer, bounds: BoundsOptions, **fields: Any) -> Iterator[ServerBackend]:
    sampling = SamplingConfig(num_completions=3, max_new_tokens=200, temperature=fields.pop("temperature", 0.9))
    teacher = TeacherConfig(model="replay", backend="server", base_urls=(server.url,), **fields)
    with closing(ServerBackend(BackendOptions(teacher, sampling, bounds=bounds))) as backend:
        yield backend


def says(_: str, seed: int) -> Said:
    return Said("So it is four. " * (1 + seed % 3))


def chat() -> Iterator[tuple[Problem, Prompt]]:
    yield Problem("p0", "Why?", "4"), Prompt((Message(role="user", content="Why?"),), "chat", "Why?")


def plain() -> Iterator[tuple[Problem, Prompt]]:
    yield Problem("p0", "Why?", "4"), Prompt((), "plain", "Why?")


def widths(group: Group) -> list[float]:
    """How far the bounds are apart at each token, once they are known to enclose the truth."""
    found = []
    for completion in group.completions:
        assert completion.entropy_lower is not None
        assert completion.entropy_upper is not None
        assert completion.entropies is None
        assert len(completion.entropy_lower) == len(completion.entropy_upper) == len(completion.token_ids)
        for lower, upper in zip(completion.entropy_lower, completion.entropy_upper, strict=True):
            assert lower <= TRUTH <= upper
            found.append(upper - lower)
    return found


@pytest.mark.parametrize("items", [chat, plain], ids=["chat", "plain"])
def test_bounds_enclose_the_entropy_of_every_token(items: Any) -> None:
    with ReplayServer(VLLM, says) as server, opened(server, BoundsOptions(5, vocabulary=1000)) as backend:
        (group,) = backend.sample(items())
        (body,) = server.stats.bodies
    assert (body["logprobs"], body.get("top_logprobs")) == ((True, 5) if items is chat else (5, None))
    assert body["return_tokens_as_token_ids"] is True
    assert group.entropy_kind == backend.entropy_kind == "topk_bounds"
    # in a list a sampled word may have the last one's place: four are surely known, in a mapping five; what is left,
    # 1/16 or 1/32, lies on one word as large as the last one that is known or on all the others
    left, others = (1 / 16, 996) if items is chat else (1 / 32, 995)
    assert max(widths(group)) == pytest.approx(left * math.log(others), abs=2e-3)


def test_more_log_probabilities_bring_the_bounds_together() -> None:
    with ReplayServer(VLLM, says) as server:
        means = []
        for top_k in (2, 6, 15):
            with opened(server, BoundsOptions(top_k, vocabulary=1000)) as backend:
                (group,) = backend.sample(chat())
            means.append(sum(widths(group)) / len(widths(group)))
    assert means[0] > means[1] > means[2]
    assert means[2] < 0.01


def test_words_of_the_same_text_leave_wider_bounds_and_true_ones() -> None:
    refusing = Options(owner="vllm", refused=frozenset({"return_tokens_as_token_ids"}))
    with ReplayServer(refusing, says) as server, opened(server, BoundsOptions(5, vocabulary=1000)) as backend:
        (group,) = backend.sample(plain())
        assert server.stats.requests == 2
    assert group.entropy_kind == "topk_bounds"
    widths(group)


def test_the_vocabulary_is_the_tokenizers_unless_it_is_named(tokenizer_folder: str) -> None:
    tokens = ModelTokens(tiny_tokenizer())
    with (
        ReplayServer(VLLM, says, tokens) as server,
        opened(server, BoundsOptions(4), tokenizer=tokenizer_folder) as backend,
    ):
        (group,) = backend.sample(tiny_items(["Why?"]))
        assert max(widths(group)) < math.log(len(tiny_tokenizer()))
    with ReplayServer(VLLM) as server, pytest.raises(DistillError, match="how many words") as caught:
        opened(server, BoundsOptions(4)).__enter__()
    assert "entropies.vocabulary" in caught.value.hint


@pytest.mark.parametrize(
    ("options", "temperature", "said"),
    [
        (Options(owner="other"), 0.9, "after temperature and top-p"),
        (Options(owner="vllm", top_logprobs=False), 0.9, "does not tell the 5 largest"),
        (Options(owner="vllm", refused=frozenset({"logprobs"})), 0.9, "the 5 largest .* Unsupported parameter: 'logpr"),
        (Options(owner="vllm", refused=frozenset({"top_logprobs"})), 0.9, "the 5 largest .* parameter: 'top_logprobs"),
        (Options(owner="vllm", token_ids=False), 0.9, "does not tell the 5 largest"),
    ],
)
def test_a_server_that_cannot_enclose_entropies_ends_the_run_at_its_first_answer(
    options: Options, temperature: float, said: str
) -> None:
    with (
        ReplayServer(options, says) as server,
        opened(server, BoundsOptions(5, vocabulary=1000), temperature=temperature) as backend,
        pytest.raises(DistillError, match=said),
    ):
        list(backend.sample(chat()))
    assert server.stats.completions <= 3


def test_any_server_will_do_where_nothing_is_done_to_the_distribution() -> None:
    with (
        ReplayServer(Options(owner="other"), says) as server,
        opened(server, BoundsOptions(5, vocabulary=1000), temperature=1) as backend,
    ):
        (group,) = backend.sample(chat())
    assert group.entropy_kind == "topk_bounds"


def bounded(server: ReplayServer, **entropies: Any) -> CurateConfig:
    return CurateConfig(
        source=SourceConfig(name="arithmetic", limit=3),
        teacher=TeacherConfig(model="replay", backend="server", base_urls=(server.url,)),
        sampling=SamplingConfig(num_completions=2, max_new_tokens=50),
        entropies=EntropiesConfig(**{"mode": "topk_bounds", "vocabulary": 1000, **entropies}),
        filters=(),
    )


def test_bounds_reach_the_dataset_and_its_manifest_says_that_they_are_bounds(tmp_path: Path) -> None:
    with ReplayServer(VLLM, says) as server:
        result = curate_dataset(bounded(server), tmp_path / "run")
    assert result.entropies.kinds == read_manifest(result.dataset)["entropies"]["kinds"] == {"topk_bounds": 3}
    assert json.loads((result.run / "report.json").read_text())["entropies"]["kinds"] == {"topk_bounds": 3}
    rows = open_dataset(result.dataset)
    assert set(rows["entropy_kind"]) == {"topk_bounds"}
    assert all(row["token_entropies"] == [[], []] and row["entropy_mean"] is None for row in rows)
    for group, _ in load_groups(result.dataset):
        widths(group)


def test_how_bounds_are_made_binds_a_run(tmp_path: Path) -> None:
    with ReplayServer(VLLM, says) as server:
        configs = [
            bounded(server),
            bounded(server, top_k=5),
            bounded(server, vocabulary=99),
            bounded(server, mode="none"),
        ]
    found = [stage_settings(config, *read_source(config))["completions"] for config in configs]
    assert all(one != other for place, one in enumerate(found) for other in found[:place])


def test_a_backend_without_log_probabilities_is_told_before_the_first_token(tmp_path: Path) -> None:
    config = CurateConfig(
        source=SourceConfig(name="arithmetic", limit=3), entropies=EntropiesConfig(mode="topk_bounds")
    )
    with pytest.raises(DistillError, match="tells no largest log-probabilities"):
        curate_dataset(config, tmp_path / "run")
