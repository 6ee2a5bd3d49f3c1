"""Models and tokenizers by name: a Hub id, a local folder, or one of the tiny models that come with distill."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from distill.config import Dtype
from distill.errors import DistillError
from distill.fingerprints import folder_fingerprint

if TYPE_CHECKING:
    import torch
    from transformers import GenerationConfig, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

ASSETS = Path(__file__).parent / "assets"
TINY_MODELS = {"tiny-teacher": "teacher", "tiny-student": "student"}
STUDENT_REPORT_FILE = "distill_train.json"
"""What training leaves beside the weights of a student: how it was trained, nothing that is loaded."""
# What loading reads: configs, weights, tokenizer, chat template. A README or a log changes no completion.
MODEL_SUFFIXES = {".bin", ".jinja", ".json", ".model", ".safetensors", ".tiktoken", ".txt"}
WANTED = {"model": "config.json", "tokenizer": "tokenizer_config.json"}
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
# Classes whose folder says "read tokenizer.json as it stands". For some model types, Qwen2 among them,
# AutoTokenizer overrules that word and puts the type's own splitting and normalising in its place.
GENERIC_TOKENIZERS = {"PreTrainedTokenizerFast", "TokenizersBackend"}


def resolve_model(name: str) -> str:
    """The folder of a tiny model; any other name as it is.

    >>> resolve_model("Qwen/Qwen2.5-7B")
    'Qwen/Qwen2.5-7B'
    >>> resolve_model("tiny-teacher").endswith("teacher")
    True
    """
    return str(ASSETS / TINY_MODELS[name]) if name in TINY_MODELS else name


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a model; an adapter folder without one lends its base model's.

    Raises:
        DistillError: there is no such folder or Hub model, it has no tokenizer, or the Hub cannot be reached.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    source = _find(name)
    if _is_adapter(source) and not (Path(source) / "tokenizer_config.json").is_file():
        return load_tokenizer(_base_of_adapter(source))
    with _explained(name, "tokenizer"):
        generic = _tokenizer_class(source) in GENERIC_TOKENIZERS
        tokenizer = (PreTrainedTokenizerFast if generic else AutoTokenizer).from_pretrained(source)
    # without files some classes are made all the same, of their default special tokens
    if len(set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens)) < 2:
        raise DistillError(f"'{name}' has no tokenizer", hint="save one beside the weights: tokenizer.save_pretrained")
    return tokenizer


def load_model(name: str, *, dtype: str = "auto", device: str = "auto") -> PreTrainedModel:
    """A causal language model in eval mode, in an explicit type on one device.

    The checkpoint's own type is never taken: released models are mostly bfloat16, and training
    such weights directly loses small updates. A LoRA adapter is merged into its base model.

    Raises:
        DistillError: there is no such folder or Hub model, weights are missing, or the Hub or the
            device cannot be reached.
    """
    from transformers import AutoModelForCausalLM

    target = pick_device(device)
    torch_dtype = pick_dtype(dtype, target)
    source = _find(name)
    if _is_adapter(source):
        return _load_adapter(name, source, dtype, device)
    with _explained(name, "model"), no_progress_bars():
        # weights of another shape are told apart below; by itself the loader ends in a RuntimeError for them
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            source, dtype=torch_dtype, output_loading_info=True, ignore_mismatched_sizes=True
        )
    model, loading = loaded
    misshapen = [
        f"{key} of shape {list(found)}, not {list(wanted)}" for key, found, wanted in loading["mismatched_keys"]
    ]
    lost = sorted(loading["missing_keys"]) + sorted(misshapen)
    if lost:
        raise DistillError(
            f"the checkpoint '{name}' lacks {len(lost)} weights of its model, '{lost[0]}' among them",
            hint="they would be random; save the model again, or correct its config.json",
        )
    placed: PreTrainedModel = model.to(target).eval()
    return placed


def load_model_config(name: str) -> PretrainedConfig:
    """What a model's config.json says, without its weights; an adapter's is its base model's.

    Raises:
        DistillError: there is no such model, or the Hub cannot be reached.

    >>> load_model_config("tiny-teacher").model_type
    'qwen2'
    """
    from transformers import AutoConfig

    source = _find(name)
    if _is_adapter(source):
        return load_model_config(_base_of_adapter(source))
    with _explained(name, "model"):
        config: PretrainedConfig = AutoConfig.from_pretrained(source)
    return config


def context_tokens(name: str) -> int | None:
    """Most tokens of prompt and completion together, by the model's config; None where it names no limit.

    Raises:
        DistillError: there is no such model, or the Hub cannot be reached.

    >>> context_tokens("tiny-teacher")
    1024
    """
    limit = getattr(load_model_config(name).get_text_config(), "max_position_embeddings", None)
    return limit if isinstance(limit, int) and limit > 0 else None


def vocabulary_size(name: str) -> int:
    """How many words a model chooses from: its output layer's, which may be more than its tokenizer knows.

    Raises:
        DistillError: there is no such model or tokenizer, or the Hub cannot be reached.

    >>> vocabulary_size("tiny-teacher") >= len(load_tokenizer("tiny-teacher"))
    True
    """
    from transformers import AutoConfig

    source = _find(name)
    if _is_adapter(source):
        return vocabulary_size(_base_of_adapter(source))
    tokens = len(load_tokenizer(name))
    if Path(source).is_dir() and not (Path(source) / WANTED["model"]).is_file():  # a tokenizer alone
        return tokens
    with _explained(name, "model"):
        config = AutoConfig.from_pretrained(source)
    return max(tokens, getattr(config.get_text_config(), "vocab_size", None) or 0)


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """16 hexadecimal digits that say what every token id means and which one ends a completion.

    Covers the vocabulary with its added tokens and the end-token id, not the chat template: two
    tokenizers with one fingerprint may exchange token ids.
    """
    digest = hashlib.blake2b(digest_size=8)
    for token, token_id in sorted(tokenizer.get_vocab().items(), key=lambda item: (item[1], item[0])):
        digest.update(f"{token_id} {token}\n".encode("utf-8", "surrogatepass"))
    digest.update(f"end {tokenizer.eos_token_id}".encode())
    return digest.hexdigest()


def model_fingerprint(name: str) -> str:
    """16 hexadecimal digits of the files that make a model, for an adapter also of its base; empty for the Hub.

    Covers configs, weights, tokenizer, generation config and chat template by content, so a model that is
    trained again in the same folder is another one and a copy on another machine is not. A Hub id stands
    for itself.

    Raises:
        DistillError: an adapter does not name its base model.
    """
    folder = Path(resolve_model(name)).expanduser()
    if not folder.is_dir():
        return ""
    own = folder_fingerprint(folder, _is_part_of_model)
    base = model_fingerprint(_base_of_adapter(str(folder))) if _is_adapter(str(folder)) else ""
    return hashlib.blake2b(f"{own} on {base}".encode(), digest_size=8).hexdigest() if base else own


def _is_part_of_model(path: Path) -> bool:
    return path.suffix in MODEL_SUFFIXES and path.name != STUDENT_REPORT_FILE


def pick_device(device: str) -> torch.device:
    """The device of that name; 'auto' takes CUDA where there is one, else the CPU."""
    import torch

    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        picked = torch.device(device)
        torch.empty(1, device=picked)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise DistillError(f"the device '{device}' cannot be used: {reason}", hint="take 'auto' or 'cpu'") from None
    return picked


def pick_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """The type of that name; 'auto' is bfloat16 on CUDA, else float32."""
    import torch

    if dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    if dtype not in get_args(Dtype):
        raise DistillError(f"no dtype is called '{dtype}'", hint="known: " + ", ".join(get_args(Dtype)))
    picked: torch.dtype = getattr(torch, dtype)
    return picked


def end_token_ids(*sources: PreTrainedModel | GenerationConfig | PreTrainedTokenizerBase) -> frozenset[int]:
    """Every token id that ends a completion, by the word of all sources together.

    A model names those of its generation config, a tokenizer its end token and the token with which
    its chat template closes a turn. Base models need the last: their end token closes a document, but
    they answer a chat prompt in the template's own form.
    """
    ids: set[int] = set()
    for source in sources:
        config = getattr(source, "generation_config", None) or source
        named = getattr(config, "eos_token_id", None)
        ids.update([named] if isinstance(named, int) else named or ())
        if getattr(source, "chat_template", None):
            ids.update(_turn_end(source))
    return frozenset(ids)


def _turn_end(tokenizer: Any) -> list[int]:
    """The special token that stands right behind an assistant's message, in a list; else an empty one."""
    from jinja2 import TemplateError

    said = "distill asks what follows this"
    messages = [{"role": "user", "content": "?"}, {"role": "assistant", "content": said}]
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False)
    except (TemplateError, TypeError, ValueError):  # a template for other conversations than this
        return []
    first = tokenizer(text.rpartition(said)[2], add_special_tokens=False)["input_ids"][:1]
    added = tokenizer.added_tokens_decoder
    return [token_id for token_id in first if token_id in added and added[token_id].special]


def _find(name: str) -> str:
    """The folder or Hub id behind a name, once it is clear that there is a chance to read it."""
    source = resolve_model(name)
    if source and Path(source).expanduser().is_dir():
        return str(Path(source).expanduser())
    if source and Path(source).is_file():
        raise DistillError(f"'{name}' is a file, a model is a folder", hint="name the folder that holds config.json")
    if not HUB_ID.fullmatch(source):
        hint = _meant(name) or "a model is a folder with config.json, or a Hub id"
        raise DistillError(f"there is no folder '{name}'", hint=hint)
    _check_hub(source)
    return source


def _meant(name: str) -> str:
    """A question after the tiny model, or the folder beside it, that a name is much like; else an empty text."""
    beside = Path(name).expanduser().parent
    folders = [str(path) for path in beside.glob("*") if path.is_dir()]
    close = difflib.get_close_matches(name, [*TINY_MODELS, *folders], n=1, cutoff=0.85)
    return f"did you mean '{close[0]}'?" if close else ""


def _check_hub(hub_id: str) -> None:
    """Raise unless the model is in the cache or its Hub answers.

    Loading asks the Hub for several files and tries each again for half a minute; without a network
    a misspelt folder would be reported after two minutes.
    """
    from urllib.error import HTTPError, URLError
    from urllib.request import Request, urlopen

    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE or _is_cached(hub_id, "config.json") or _is_cached(hub_id, "adapter_config.json"):
        return
    try:
        urlopen(Request(f"{constants.ENDPOINT}/api/models/{hub_id}", method="HEAD"), timeout=10).close()
    except HTTPError:
        return  # it answers: what is wrong with this model is for the loader to say
    except (URLError, OSError) as error:
        if "SSL" in str(error):
            return  # the Hub's own client may know other certificates
        raise DistillError(
            f"'{hub_id}' is neither a folder nor cached, and the Hub at '{constants.ENDPOINT}' does not answer",
            hint=_meant(hub_id)
            or "correct the folder's name, or run once with a network: 'hf download' fills the cache",
        ) from None


def _is_cached(hub_id: str, file_name: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(hub_id, file_name), str)


@contextmanager
def _explained(name: str, part: str) -> Iterator[None]:
    """Turn the loader's errors about what is on disk or on the Hub into a DistillError."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, ValueError, KeyError, ImportError, SafetensorError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = _lack(name, part) or next(iter(lines), type(error).__name__)
        raise DistillError(f"'{name}' cannot be read as a {part}: {reason}", hint=_hint(name, part)) from error


def _lack(name: str, part: str) -> str:
    """The file that a local folder has to have and has not, or an empty text."""
    folder = Path(resolve_model(name)).expanduser()
    return f"the folder has no {WANTED[part]}" if folder.is_dir() and not (folder / WANTED[part]).is_file() else ""


def _hint(name: str, part: str) -> str:
    """What to do about a folder or Hub model that cannot be read."""
    folder = Path(resolve_model(name)).expanduser()
    if not folder.is_dir():
        return (
            _meant(name) or "is the name right? a gated or private model needs 'hf auth login' and its licence accepted"
        )
    inside = sorted(str(path.parent) for path in folder.glob(f"*/{WANTED[part]}"))
    if inside:
        return f"did you mean '{inside[0]}'?"
    if (folder / "dataset" / "state.json").is_file():
        return "it holds a dataset; 'distill train' makes a student of it, 'distill inspect' shows it"
    if _lack(name, part):
        return "a model's folder holds config.json, its weights and its tokenizer, as save_pretrained writes them"
    return f"save the {part} into it again"


def _tokenizer_class(source: str) -> str:
    """The class that a tokenizer's own config names, or an empty text."""
    from transformers.models.auto.tokenization_auto import get_tokenizer_config

    return str(get_tokenizer_config(source).get("tokenizer_class") or "")


def _is_adapter(source: str) -> bool:
    if Path(source).is_dir():
        return (Path(source) / "adapter_config.json").is_file()
    if _is_cached(source, "adapter_config.json") or _is_cached(source, "config.json"):
        return _is_cached(source, "adapter_config.json")
    from transformers.utils.peft_utils import find_adapter_config_file

    return find_adapter_config_file(source) is not None


def _base_of_adapter(source: str) -> str:
    from transformers.utils.peft_utils import find_adapter_config_file

    path = find_adapter_config_file(source)
    base = json.loads(Path(path).read_text("utf-8")).get("base_model_name_or_path") if path else None
    if not base:
        raise DistillError(f"the adapter '{source}' does not name its base model", hint="see its adapter_config.json")
    return str(base)


def _load_adapter(name: str, source: str, dtype: str, device: str) -> PreTrainedModel:
    """The base model with the adapter merged into its weights."""
    from peft import PeftModel

    base = load_model(_base_of_adapter(source), dtype=dtype, device=device)
    with _explained(name, "model"):
        adapted: Any = PeftModel.from_pretrained(base, source)
    merged: PreTrainedModel = adapted.merge_and_unload().eval()
    return merged


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """Keep transformers from drawing over the command's own display."""
    from transformers.utils import logging as transformers_logging

    logging: Any = transformers_logging
    enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if enabled:
            logging.enable_progress_bar()
