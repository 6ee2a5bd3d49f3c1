"""Models and tokenizers: what is loaded, in which type, and what is said when it cannot be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from distill.errors import DistillError
from distill.models import (
    end_token_ids,
    load_model,
    load_tokenizer,
    pick_device,
    pick_dtype,
    resolve_model,
    tokenizer_fingerprint,
)
from tests.tiny import make_tiny_model, save_tiny, tiny_model, tiny_tokenizer

AWKWARD = "it's  7+35=42 \n\t<think>é 日本</think> \\boxed{4}<|im_end|>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("tiny"))


def test_a_tiny_name_is_a_folder_of_the_package_and_other_names_stay() -> None:
    assert Path(resolve_model("tiny-teacher")).parent.name == "assets"
    assert resolve_model("tiny-student") != resolve_model("tiny-teacher")
    assert resolve_model("some/folder") == "some/folder"


def test_a_tokenizer_is_read_as_it_was_saved(folder: Path) -> None:
    # AutoTokenizer takes a Qwen2 folder for a Qwen2Tokenizer: it adds '<|endoftext|>' and composes 'é'
    saved, loaded = tiny_tokenizer(), load_tokenizer(str(folder))
    assert len(loaded) == len(saved)
    decomposed = AWKWARD + "e\N{COMBINING ACUTE ACCENT}"
    ids = loaded(decomposed, add_special_tokens=False)["input_ids"]
    assert ids == saved(decomposed, add_special_tokens=False)["input_ids"]
    assert loaded.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False) == decomposed
    assert loaded.chat_template == saved.chat_template


def test_the_fingerprint_covers_vocabulary_and_end_token_but_not_the_chat_template(folder: Path) -> None:
    fingerprint = tokenizer_fingerprint(tiny_tokenizer())
    assert tokenizer_fingerprint(load_tokenizer(str(folder))) == fingerprint
    assert len(fingerprint) == 16

    other = load_tokenizer(str(folder))
    other.chat_template = "{{ messages }}"
    assert tokenizer_fingerprint(other) == fingerprint
    other.eos_token = "<|pad|>"
    assert tokenizer_fingerprint(other) != fingerprint
    longer = load_tokenizer(str(folder))
    longer.add_tokens(["<step>"])
    assert tokenizer_fingerprint(longer) != fingerprint


@pytest.mark.parametrize(
    ("asked", "got"), [("auto", torch.float32), ("float32", torch.float32), ("bfloat16", torch.bfloat16)]
)
def test_the_type_is_the_one_asked_for_and_never_the_checkpoints_own(
    tmp_path: Path, asked: str, got: torch.dtype
) -> None:
    make_tiny_model().to(torch.float16).save_pretrained(tmp_path)
    model = load_model(str(tmp_path), dtype=asked, device="cpu")
    assert model.dtype is got
    assert not model.training


def test_a_loaded_model_computes_what_the_saved_one_did(folder: Path) -> None:
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        assert torch.equal(load_model(str(folder), device="cpu")(ids).logits, tiny_model()(ids).logits)


def test_an_adapter_folder_is_merged_into_its_base(folder: Path, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    model = make_tiny_model()
    model.config._name_or_path = str(folder)
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    adapted.peft_config["default"].base_model_name_or_path = str(folder)
    adapted.save_pretrained(tmp_path)
    loaded, ids = load_model(str(tmp_path), device="cpu"), torch.tensor([[5, 6, 7]])
    assert [name for name, _ in loaded.named_parameters()] == [name for name, _ in tiny_model().named_parameters()]
    with torch.no_grad():
        expected = adapted.eval()(ids).logits
        assert (expected - tiny_model()(ids).logits).abs().max() > 0.1
        torch.testing.assert_close(loaded(ids).logits, expected, atol=1e-4, rtol=0)
    assert tokenizer_fingerprint(load_tokenizer(str(tmp_path))) == tokenizer_fingerprint(tiny_tokenizer())


def test_a_checkpoint_without_all_weights_is_refused(folder: Path, tmp_path: Path) -> None:
    save_tiny(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))
    config.update(num_hidden_layers=3, layer_types=["full_attention"] * 3)
    (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
    with pytest.raises(DistillError, match=r"lacks 12 weights of its model, 'model\.layers\.2"):
        load_model(str(tmp_path), device="cpu")


def test_a_checkpoint_of_another_shape_is_refused(folder: Path, tmp_path: Path) -> None:
    save_tiny(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))
    (tmp_path / "config.json").write_text(json.dumps({**config, "intermediate_size": 48}), "utf-8")
    # three projections in each of two layers; the first by name is down_proj, which has 64 columns
    with pytest.raises(
        DistillError, match=r"lacks 6 weights .*0\.mlp\.down_proj\.weight of shape \[32, 64\], not \[32, 48\]"
    ):
        load_model(str(tmp_path), device="cpu")


@pytest.mark.parametrize("loader", [load_model, load_tokenizer])
def test_a_folder_that_holds_no_model_is_told_what_it_lacks(tmp_path: Path, loader: Callable[[str], object]) -> None:
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(DistillError, match=r"the folder has no (tokenizer_)?config\.json$") as caught:
        loader(str(tmp_path))
    assert "save_pretrained" in caught.value.hint
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "state.json").write_text("{}")
    with pytest.raises(DistillError) as caught:
        loader(str(tmp_path))
    assert "holds a dataset" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("./nowhere/student", "there is no folder './nowhere/student'"),
        ("runs/first/student", "there is no folder 'runs/first/student'"),
        ("student/", "there is no folder 'student/'"),
        ("", "there is no folder ''"),
    ],
)
def test_a_path_that_is_not_there_is_reported_without_asking_the_hub(name: str, message: str) -> None:
    with pytest.raises(DistillError, match=message):
        load_tokenizer(name)
    with pytest.raises(DistillError, match=message):
        load_model(name)


def test_a_file_is_not_a_model(folder: Path) -> None:
    with pytest.raises(DistillError, match=r"config\.json' is a file"):
        load_model(str(folder / "config.json"))


def test_a_folder_above_the_model_says_where_it_is(folder: Path) -> None:
    with pytest.raises(DistillError) as caught:
        load_model(str(folder.parent))
    assert str(folder.parent) in caught.value.hint


def test_a_model_folder_without_tokenizer_says_so(tmp_path: Path) -> None:
    make_tiny_model().save_pretrained(tmp_path)
    with pytest.raises(DistillError, match="tokenizer") as caught:
        load_tokenizer(str(tmp_path))
    assert caught.value.hint


def test_a_broken_checkpoint_is_named(folder: Path, tmp_path: Path) -> None:
    save_tiny(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(DistillError, match="cannot be read as a model"):
        load_model(str(tmp_path), device="cpu")


def test_a_hub_that_does_not_answer_is_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # the discard port: nobody listens
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(DistillError, match="neither a folder nor cached") as caught:
        load_model("no-such-org/no-such-model")
    assert "folder's name" in caught.value.hint


def test_end_tokens_are_those_of_model_and_tokenizer_together() -> None:
    model, tokenizer = make_tiny_model(), tiny_tokenizer()
    end = tokenizer.eos_token_id
    assert end_token_ids(tokenizer) == {end}
    model.generation_config.eos_token_id = [7, 9]
    assert end_token_ids(model) == end_token_ids(model.generation_config) == {7, 9}
    assert end_token_ids(model, tokenizer) == {7, 9, end}
    model.generation_config.eos_token_id = None
    assert end_token_ids(model) == frozenset()


def test_the_token_that_closes_a_chat_turn_ends_a_completion_of_a_base_model(folder: Path) -> None:
    # as with Qwen2.5's base models: the end token closes a document, the template closes turns with another
    tokenizer = load_tokenizer(str(folder))
    turn_end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    tokenizer.eos_token = "<|pad|>"
    tokenizer.add_tokens(["<|im_end|>"], special_tokens=True)
    assert end_token_ids(tokenizer) == {tokenizer.pad_token_id, turn_end}
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] + '\n' }}{% endfor %}"
    assert end_token_ids(tokenizer) == {tokenizer.pad_token_id}
    tokenizer.chat_template = "{{ raise_exception('only tools') }}"
    assert end_token_ids(tokenizer) == {tokenizer.pad_token_id}


def test_auto_is_float32_on_the_cpu_and_bfloat16_on_cuda() -> None:
    assert pick_dtype("auto", torch.device("cpu")) is torch.float32
    assert pick_dtype("auto", torch.device("cuda")) is torch.bfloat16
    assert pick_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("device", ["gpu", "cuda:99"])
def test_a_device_that_cannot_be_used_is_an_error(device: str) -> None:
    with pytest.raises(DistillError, match=f"the device '{device}' cannot be used"):
        pick_device(device)


def test_an_unknown_type_is_an_error() -> None:
    with pytest.raises(DistillError, match="no dtype is called 'int8'"):
        pick_dtype("int8", torch.device("cpu"))
