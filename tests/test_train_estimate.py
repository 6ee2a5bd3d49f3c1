"""What a training takes, from a config alone: counted by hand, and as the real model counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from distill.config import TrainConfig
from distill.errors import DistillError
from distill.packing.group_check import use_group_attention
from distill.packing.head import predicting_states
from distill.packing.layout import GroupTokens, PackedBatch, pack_groups, pack_rows
from distill.train.cost import Work, measured_flops, training_flops
from distill.train.estimate import checkpointing_pays, device_memory, estimate_memory, student_shape
from distill.train.student import load_student
from tests.tiny import save_tiny

H, K, INNER, V, HEADS, D = 64, 32, 192, 264, 4, 16
"""Width, of keys, inner width, vocabulary, heads and their width; all queries together are as wide as the model."""
GROUP = GroupTokens((1,) * 40, tuple((2,) * n for n in (30, 50, 70)))


def write_config(folder: Path, layers: int = 2, **changes: Any) -> Path:
    """A folder that holds the config of a model, and nothing else."""
    values = {
        "model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "hidden_size": H, "intermediate_size": INNER,
        "num_hidden_layers": layers, "num_attention_heads": HEADS, "num_key_value_heads": 2, "vocab_size": V,
        "tie_word_embeddings": True, **changes,
    }  # fmt: skip
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(values), encoding="utf-8")
    return folder


def recipe(model: Path, **changes: Any) -> TrainConfig:
    return TrainConfig.model_validate({"model": str(model), "device": "cpu", **changes})


def test_the_weights_of_a_model_are_counted_without_loading_any(tmp_path: Path) -> None:
    shape = student_shape(recipe(write_config(tmp_path / "qwen")))
    # a layer: q and o are H x H, k and v H x K, three matrices of the MLP H x INNER; biases of q, k, v; two norms
    matrices = 2 * H * H + 2 * H * K + 3 * H * INNER
    assert shape.body_matrices == shape.trained_body_matrices == 2 * matrices
    assert shape.trained_matrices == 2 * matrices + V * H  # one matrix is embeddings and output layer
    assert shape.parameters == shape.trained == 2 * (matrices + H + 2 * K + 2 * H) + V * H + H
    assert (shape.layers, shape.width, shape.attention_width, shape.vocabulary) == (2, H, H, V)


def test_adapters_are_all_that_is_trained_under_lora(tmp_path: Path) -> None:
    lora = {"rank": 4, "target_modules": ["q_proj", "v_proj"]}
    shape = student_shape(recipe(write_config(tmp_path / "qwen"), lora=lora))
    assert shape.trained == 2 * (4 * (H + H) + 4 * (H + K))  # A and B of q and of v, in two layers
    assert shape.trained_body_matrices == shape.trained
    assert not shape.trains_head
    with pytest.raises(DistillError, match=r"lora.target_modules 'query_key_value' do not fit"):
        student_shape(recipe(write_config(tmp_path / "qwen"), lora={"target_modules": ["query_key_value"]}))


def test_what_autograd_keeps_of_a_layer_and_of_the_rest_is_what_a_hand_counts(tmp_path: Path) -> None:
    prompt, completion = 100, 28
    groups, tokens = [GroupTokens((1,) * prompt, ((2,) * completion,))], prompt + completion
    one, two = (student_shape(recipe(write_config(tmp_path / "qwen", n)), groups) for n in (1, 2))
    layer = two.kept_bytes - one.kept_bytes
    # float32, for each token: input, normalised input and scaled normalised input of both norms, 6 H, and what each is
    # divided by, 2; queries and attended values, 2 H, keys and values, 2 K, a sum for each head; of the MLP gate, its
    # SiLU, the other half and their product, 4 INNER
    by_token = 4 * tokens * (6 * H + 2 + 2 * H + 2 * K + HEADS + 4 * INNER)
    # packed: keys and values of prompt and completion put together, the attended of both, the mask of the completion
    packing = 4 * (2 * K * tokens + H * tokens + completion * tokens)
    assert layer == by_token + packing
    # once: the last norm, sine and cosine, token ids of eight bytes
    assert one.kept_bytes - layer == 4 * tokens * (2 * H + 1 + 2 * D) + 8 * tokens


def kept_by(model: Any, batch: PackedBatch) -> int:
    """Bytes that autograd keeps of a real pass."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        predicting_states(model, batch)
    return sum(storage.nbytes() for storage in kept.values())


@pytest.mark.parametrize("changes", [{}, {"lora": {"rank": 4}}, {"lora": {"rank": 4, "dropout": 0}}])
def test_what_autograd_keeps_is_what_it_keeps_of_the_real_model(tmp_path: Path, changes: dict[str, Any]) -> None:
    base = save_tiny(tmp_path / "base", hidden_size=H, intermediate_size=INNER)
    config = recipe(base, **changes)
    model = load_student(config).model
    assert use_group_attention(model) == ""
    real = kept_by(model, pack_groups([GROUP]))
    assert student_shape(config, [GROUP]).kept_bytes == pytest.approx(real, rel=0.01)


def test_what_autocast_makes_of_weights_is_no_activation(tmp_path: Path) -> None:
    config = recipe(save_tiny(tmp_path / "base", hidden_size=H, intermediate_size=INNER), dtype="bfloat16")
    student = load_student(config)
    assert use_group_attention(student.model) == ""
    with student.autocast():
        real = kept_by(student.model, pack_groups([GROUP]))
    shape = student_shape(config, [GROUP])
    # the real pass keeps a narrow copy of every matrix of the layers, whatever the tokens
    assert shape.kept_bytes + 2 * shape.body_matrices == pytest.approx(real, rel=0.01)


def test_a_model_with_alibi_is_counted_in_rows(tmp_path: Path) -> None:
    from transformers import BloomConfig, BloomForCausalLM

    bloom = BloomConfig(hidden_size=H, n_layer=2, n_head=HEADS, vocab_size=V)
    config = recipe(tmp_path / "bloom")
    BloomForCausalLM(bloom).save_pretrained(tmp_path / "bloom")
    model = BloomForCausalLM.from_pretrained(tmp_path / "bloom").train()
    shape = student_shape(config, [GROUP])
    assert shape.hindrance
    assert shape.pass_tokens == 3 * (40 + 70)  # as wide as the longest row
    assert shape.kept_bytes == pytest.approx(kept_by(model, pack_rows([GROUP], 0)), rel=0.01)


def test_what_cannot_be_run_on_shapes_alone_is_assumed_and_said_to_be(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    # it asks its positions for a number to know how to go on
    sizes = {"hidden_size": H, "ffn_dim": INNER, "num_hidden_layers": 2, "num_attention_heads": HEADS, "vocab_size": V}
    (tmp_path / "opt").mkdir()
    values = {"model_type": "opt", "word_embed_proj_dim": H, **sizes}
    (tmp_path / "opt" / "config.json").write_text(json.dumps(values), encoding="utf-8")
    shape = student_shape(recipe(tmp_path / "opt"), [GROUP])
    assert shape.not_counted
    assert shape.kept_bytes == 4 * 32 * H * shape.pass_tokens * 2
    assert "Traceback" not in "".join(capfd.readouterr())
    assert student_shape(recipe(write_config(tmp_path / "qwen")), [GROUP]).not_counted == ""


def test_memory_is_the_sum_of_what_the_formula_names(tmp_path: Path) -> None:
    config = recipe(write_config(tmp_path / "qwen"), dtype="bfloat16")
    shape = student_shape(config, [GROUP])
    memory = estimate_memory(config, shape, pass_tokens=2 * shape.pass_tokens, learnt_tokens=300)
    p, m = shape.parameters, shape.trained_matrices
    assert (memory.weights, memory.gradients, memory.moments, memory.copies) == (4 * p, 4 * p, 8 * p, 2 * m)
    assert memory.activations == 2 * shape.kept_bytes
    # inputs of two layers in float32, and one of the two layers whole
    assert memory.checkpointed == 2 * 2 * shape.pass_tokens * H * 4 + shape.kept_bytes
    assert memory.logits == 4 * V * 300 + 8 * 300 * H  # all logits of so small a vocabulary are kept
    assert memory.total(checkpointing=True) < memory.total(checkpointing=False)


def test_memory_of_adapters_on_a_narrow_base(tmp_path: Path) -> None:
    lora = {"rank": 4, "target_modules": ["q_proj"]}
    config = recipe(write_config(tmp_path / "qwen"), dtype="bfloat16", lora=lora)
    shape = student_shape(config)
    memory, a = estimate_memory(config, shape), shape.trained
    assert (memory.weights, memory.gradients, memory.moments) == (2 * (shape.parameters - a) + 4 * a, 4 * a, 8 * a)
    assert (shape.hidden_bytes, shape.compute_bytes) == (2, 2)
    assert memory.activations < estimate_memory(config.model_copy(update={"dtype": "float32"})).activations


def test_processes_share_weights_gradients_and_moments_and_nothing_else(tmp_path: Path) -> None:
    config = recipe(write_config(tmp_path / "qwen"))
    alone, four = estimate_memory(config), estimate_memory(config, processes=4)
    assert (four.weights, four.gradients, four.moments) == (
        alone.weights // 4,
        alone.gradients // 4,
        alone.moments // 4,
    )
    assert (four.activations, four.logits) == (alone.activations, alone.logits)


def test_checkpointing_pays_when_a_pass_does_not_fit_without_it(tmp_path: Path) -> None:
    memory = estimate_memory(recipe(write_config(tmp_path / "qwen")))
    needed = memory.total(checkpointing=False)
    assert not checkpointing_pays(memory, 2 * needed)
    assert checkpointing_pays(memory, needed)  # the last tenth of a device is not for tensors


def test_a_model_of_the_size_of_qwen_is_counted_as_its_makers_do(tmp_path: Path) -> None:
    # Qwen2.5-1.5B: "1.54B parameters, 1.31B without embeddings"
    sizes = {
        "hidden_size": 1536, "intermediate_size": 8960, "num_attention_heads": 12, "vocab_size": 151936,
        "num_hidden_layers": 28,
    }  # fmt: skip
    shape = student_shape(recipe(write_config(tmp_path / "qwen", **sizes)), [GROUP])
    assert (round(shape.parameters / 1e9, 2), round(shape.body_matrices / 1e9, 2)) == (1.54, 1.31)


def test_flops_of_a_layer_are_six_for_each_weight_and_token(tmp_path: Path) -> None:
    shape = student_shape(recipe(write_config(tmp_path / "qwen")))
    work = Work(read_tokens=10, learnt_tokens=0, pairs=0)
    assert training_flops(shape, work, checkpointing=False) == 6 * shape.body_matrices * 10
    assert training_flops(shape, work, checkpointing=True) == 8 * shape.body_matrices * 10
    looks = Work(read_tokens=0, learnt_tokens=0, pairs=10)  # 4 H for each of two layers and every pass
    assert training_flops(shape, looks, checkpointing=False) == 3 * 4 * H * 2 * 10
    assert training_flops(shape, looks, checkpointing=True) == 4 * 4 * H * 2 * 10
    adapted = student_shape(recipe(write_config(tmp_path / "qwen"), lora={"rank": 4}))
    expected = (4 * adapted.body_matrices + 2 * adapted.trained) * 10
    assert training_flops(adapted, work, checkpointing=False) == expected


def test_a_device_says_what_it_has_and_does() -> None:
    device = torch.device("cpu")
    assert (device_memory(device) or 10**9) > 10**8
    assert measured_flops(device, torch.float32) > 1e8
