"""Groups as the rows that other tools read: pure functions of one row of a curated dataset.

Every shape is a table of columns and a function from a row of ``distill.schema`` to the rows that it becomes. A group
that has nothing to say in a shape becomes no row, and is counted under the shape's reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from distill.errors import DistillError
from distill.records import Outcome
from distill.registry import did_you_mean
from distill.schema import DATASET_COLUMNS, arrow_schema, dataset_columns, reward_column, reward_parts

if TYPE_CHECKING:
    import pyarrow as pa

Row = Mapping[str, Any]
Select = Literal["best", "all-correct"]
Pairs = Literal["verdict", "reward"]

THINK = "<think>"
ROLES_IN_SHAREGPT = {"system": "system", "user": "human", "assistant": "gpt"}
ABILITIES = {"number": "math"}
"""Verifier -> what verl calls an ability, where it is not the verifier's own name."""
SAMPLE_COLUMNS: dict[str, str] = {
    "id": "string",
    "sample": "int32",
    "source": "string",
    "verifier": "string",
    "question": "string",
    "answer": "string",
    "options": "string[]",
    "metadata": "string",
    "prompt": "message[]",
    "completion": "string",
    "outcome": "string",
    "extracted_answer": "string",
    "verdict_reason": "string",
    "reward": "float32",
    "advantage": "float32",
    "num_tokens": "int32",
    "finish_reason": "string",
    "seed": "int64",
    "model": "string",
    "teacher": "string",
    "num_correct": "int32",
    "pass_rate": "float32",
}
PER_COMPLETION = {  # a sample's column -> the list that it is one of
    "completion": "completions",
    "outcome": "outcomes",
    "extracted_answer": "extracted_answers",
    "verdict_reason": "verdict_reasons",
    "reward": "rewards",
    "advantage": "advantages",
    "num_tokens": "num_tokens",
    "finish_reason": "finish_reasons",
    "seed": "seeds",
    "model": "models",
}


@dataclass(frozen=True, slots=True)
class Choices:
    """What may be chosen of a shape."""

    select: Select = "best"
    """Completions that are imitated: that of the highest reward, or every correct one."""
    pairs: Pairs = "verdict"
    """A pair: the best correct against the worst of the wrong; or the highest reward against the lowest."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One form of a dataset."""

    title: str
    """What one row is."""
    columns: Mapping[str, str]
    """Column -> type, as in ``distill.schema``; ``structs`` names what is peculiar to the shape."""
    rows: Callable[[Row, Choices], list[dict[str, Any]]] | None
    """None leaves the groups as they are."""
    empty: str = ""
    """Why a group may become no row."""
    takes: frozenset[str] = frozenset()
    """The choices that make a difference to it."""
    has_parts: bool = False
    """Whether it has a column for every part of the reward."""
    llama_factory: Mapping[str, Any] | None = None
    """How LLaMA-Factory's dataset_info.json describes it."""


def samples(row: Row, _: Choices) -> list[dict[str, Any]]:
    """A row for every completion, judged or not; the lists of its tokens stay with the groups."""
    shared = {name: row[name] for name in SAMPLE_COLUMNS if name in row and name not in PER_COMPLETION}
    lists = PER_COMPLETION | {reward_column(part): reward_column(part) for part in reward_parts(row)}
    return [
        {**shared, "sample": i, **{name: row[column][i] for name, column in lists.items()}}
        for i in range(len(row["completions"]))
    ]


def sft(row: Row, choices: Choices) -> list[dict[str, Any]]:
    """Conversations to imitate: the prompt's messages and the completion as the assistant's."""
    return [
        {
            "id": row["id"],
            "messages": [*row["prompt"], _message(row, i)],
            "reward": row["rewards"][i],
            "num_tokens": row["num_tokens"][i],
        }
        for i in _selected(row, choices.select)
    ]


def preference(row: Row, choices: Choices) -> list[dict[str, Any]]:
    """A prompt with a completion that is preferred to another; one pair per group, or none."""
    pair = _pair(row, choices.pairs)
    if pair is None:
        return []
    chosen, rejected = pair
    return [
        {
            "id": row["id"],
            "prompt": row["prompt"],
            "chosen": [_message(row, chosen)],
            "rejected": [_message(row, rejected)],
            "chosen_reward": row["rewards"][chosen],
            "rejected_reward": row["rewards"][rejected],
        }
    ]


def kto(row: Row, _: Choices) -> list[dict[str, Any]]:
    """Every completion that could be judged, with whether it is correct."""
    return [
        {
            "id": row["id"],
            "prompt": row["prompt"],
            "completion": [_message(row, i)],
            "label": outcome == Outcome.CORRECT,
            "reward": row["rewards"][i],
        }
        for i, outcome in enumerate(row["outcomes"])
        if outcome != Outcome.UNVERIFIED
    ]


def grpo(row: Row, _: Choices) -> list[dict[str, Any]]:
    """A prompt without completions, and the columns that reward functions are given."""
    return [
        {
            **{name: row[name] for name in ("id", "prompt", "source", "verifier", "question", "answer")},
            **{name: row[name] for name in ("options", "metadata", "prompt_opens_think", "pass_rate")},
            "solution": _boxed(row["answer"]),
        }
    ]


def sharegpt(row: Row, choices: Choices) -> list[dict[str, Any]]:
    """The conversations of ``sft`` with the roles and names of ShareGPT."""
    return [
        {
            "id": found["id"],
            "conversations": [
                {"from": ROLES_IN_SHAREGPT.get(message["role"], message["role"]), "value": message["content"]}
                for message in found["messages"]
            ],
        }
        for found in sft(row, choices)
    ]


def verl(row: Row, _: Choices) -> list[dict[str, Any]]:
    """A prompt with its gold answer as verl's reward managers look for it."""
    about = {name: row[name] for name in ("id", "index", "question", "answer", "verifier", "pass_rate")}
    return [
        {
            "data_source": row["source"],
            "prompt": row["prompt"],
            "ability": ABILITIES.get(row["verifier"], row["verifier"]),
            "reward_model": {"style": "rule", "ground_truth": row["answer"]},
            "extra_info": {"split": "train", **about},
        }
    ]


NO_REWARD = "no completion with a reward, or none that is correct"
SFT_COLUMNS = {"id": "string", "messages": "message[]", "reward": "float32", "num_tokens": "int32"}
PROBLEM = dict.fromkeys(("source", "verifier", "question", "answer"), "string")
SHAPES: dict[str, Shape] = {
    "groups": Shape(
        "a problem with its completions and everything that is known", dataset_columns(()), None, has_parts=True
    ),
    "samples": Shape("a completion with what was said of it", SAMPLE_COLUMNS, samples, has_parts=True),
    "sft": Shape(
        "a conversation to imitate",
        SFT_COLUMNS,
        sft,
        NO_REWARD,
        frozenset({"select"}),
        llama_factory={
            "formatting": "sharegpt",
            "columns": {"messages": "messages"},
            "tags": {
                "role_tag": "role",
                "content_tag": "content",
                "user_tag": "user",
                "assistant_tag": "assistant",
                "system_tag": "system",
            },  # given one, LLaMA-Factory takes none of the others by default
        },
    ),
    "preference": Shape(
        "two completions of a problem, one of them preferred",
        {
            "id": "string",
            "prompt": "message[]",
            "chosen": "message[]",
            "rejected": "message[]",
            "chosen_reward": "float32",
            "rejected_reward": "float32",
        },
        preference,
        "no two completions to prefer one of",
        frozenset({"pairs"}),
    ),
    "kto": Shape(
        "a completion, marked as right or wrong",
        {"id": "string", "prompt": "message[]", "completion": "message[]", "label": "bool", "reward": "float32"},
        kto,
        "no completion that could be verified",
    ),
    "grpo": Shape(
        "a prompt with the gold answer that reward functions read",
        {"id": "string", "prompt": "message[]", **PROBLEM, "solution": "string", "options": "string[]"}
        | {"metadata": "string", "prompt_opens_think": "bool", "pass_rate": "float32"},
        grpo,
    ),
    "sharegpt": Shape(
        "a conversation to imitate, as ShareGPT names it",
        {"id": "string", "conversations": "turn[]"},
        sharegpt,
        NO_REWARD,
        frozenset({"select"}),
        llama_factory={"formatting": "sharegpt", "columns": {"messages": "conversations"}},
    ),
    "verl": Shape(
        "a prompt with its rule-based reward, as verl reads it",
        {"data_source": "string", "prompt": "message[]", "ability": "string"}
        | {"reward_model": "reward_model", "extra_info": "extra_info"},
        verl,
    ),
}
STRUCTS: dict[str, dict[str, str]] = {
    "message": {"role": "string", "content": "string"},
    "turn": {"from": "string", "value": "string"},
    "reward_model": {"style": "string", "ground_truth": "string"},
    "extra_info": {"split": "string", "id": "string", "index": "int64", "question": "string", "answer": "string"}
    | {"verifier": "string", "pass_rate": "float32"},
}
"""Columns of columns."""


ALSO_CALLED = {"dpo": "preference", "orpo": "preference", "ipo": "preference", "messages": "sft", "chatml": "sft"}
"""Trainers and formats that people name -> the shape that they read."""


def find_shape(name: str, chosen: Iterable[str] = ()) -> Shape:
    """The shape of this name.

    Args:
        chosen: names of the choices that somebody made.

    Raises:
        DistillError: there is none, or a choice makes no difference to it.
    """
    if name not in SHAPES:
        hint = f"'{ALSO_CALLED[name]}' is what it wants" if name in ALSO_CALLED else did_you_mean(name, list(SHAPES))
        raise DistillError(f"no shape of a dataset is called '{name}'", hint=hint)
    shape = SHAPES[name]
    for choice in chosen:
        if choice not in shape.takes:
            those = [other for other, found in SHAPES.items() if choice in found.takes]
            raise DistillError(
                f"'{choice}' makes no difference to the shape '{name}'", hint=f"it is for {', '.join(those)}"
            )
    return shape


def shape_schema(shape: Shape, parts: Iterable[str]) -> pa.Schema:
    """The Arrow schema of a shape's rows, for a dataset whose reward has these parts."""
    if shape.rows is None:
        return arrow_schema(dataset_columns(parts))
    import pyarrow as pa

    def arrow_type(text: str) -> pa.DataType:
        if text.endswith("[]"):
            return pa.list_(arrow_type(text[:-2]))
        if text in STRUCTS:
            return pa.struct([(name, arrow_type(inner)) for name, inner in STRUCTS[text].items()])
        return pa.type_for_alias(text)

    columns = dict(shape.columns)
    if shape.has_parts:
        columns |= {reward_column(part): "float32" for part in parts}
    return pa.schema([(name, arrow_type(text)) for name, text in columns.items()])


def read_columns(columns: Iterable[str]) -> list[str]:
    """Of a dataset's columns those that the mappings look at: not the tokens, which are most of its bytes."""
    unread = {"prompt_ids", "completion_ids", "token_logprobs", "token_entropies", "entropy_lower", "entropy_upper"}
    return [name for name in columns if name not in unread and name not in DATASET_COLUMNS]


def _message(row: Row, i: int) -> dict[str, str]:
    """A completion as the assistant's message; a <think> that the prompt had opened stands in it again.

    >>> row = {"completions": ["2</think>2"], "prompt_opens_think": True, "prompt_text": "1 + 1?<think>"}
    >>> _message(row, 0)["content"]
    '<think>2</think>2'
    """
    text = row["completions"][i]
    if row["prompt_opens_think"]:
        prompt = row["prompt_text"]
        text = prompt[max(prompt.rfind(THINK), 0) :] + text
    return {"role": "assistant", "content": text}


def _selected(row: Row, select: Select) -> list[int]:
    """The completions to imitate; 'best' is what the method 'sft' trains on, ties and all."""
    if select == "all-correct":
        return [i for i, outcome in enumerate(row["outcomes"]) if outcome == Outcome.CORRECT]
    known = [i for i, advantage in enumerate(row["advantages"]) if advantage is not None]
    is_correct = [outcome == Outcome.CORRECT for outcome in row["outcomes"]]
    return [max(known, key=lambda i: (row["advantages"][i], is_correct[i], -i))] if known else []


def _pair(row: Row, pairs: Pairs) -> tuple[int, int] | None:
    """Which completion is preferred to which; of equals the first."""
    rewards, rewarded = row["rewards"], _rewarded(row)
    better, worse = rewarded, rewarded
    if pairs == "verdict":
        better = [i for i in rewarded if row["outcomes"][i] == Outcome.CORRECT]
        worse = [i for i in rewarded if row["outcomes"][i] != Outcome.CORRECT]
    if not better or not worse:
        return None
    chosen, rejected = max(better, key=lambda i: rewards[i]), min(worse, key=lambda i: rewards[i])
    if pairs == "reward" and rewards[chosen] == rewards[rejected]:
        return None
    return chosen, rejected


def _rewarded(row: Row) -> list[int]:
    return [i for i, reward in enumerate(row["rewards"]) if reward is not None]


def _boxed(answer: str) -> str:
    r"""A gold answer as the reward functions of TRL and open-r1 want it: in a box, which makes it mathematics.

    >>> _boxed("1/3"), _boxed(r"so \boxed{2}")
    ('\\boxed{1/3}', 'so \\boxed{2}')
    """
    return answer if "\\boxed" in answer else f"\\boxed{{{answer}}}"
