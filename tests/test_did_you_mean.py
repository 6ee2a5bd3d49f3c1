"""Every name that a person types: one that is misspelt is answered by the nearest right one."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest

from distill.__main__ import main
from distill.errors import DistillError
from distill.registry import REGISTRY, load

CURATE = "curate arithmetic --limit 1 --dry-run"
TRAIN = "train runs/none --print-config"
MISSPELT = {
    # what a person types, and what was meant
    "curat arithmetic": "curate",
    "curate arithmetic --limt 3": "--limit",
    "curate arithmetc": "arithmetic",
    "curate gsm8": "gsm8k",
    "curate arithmetic --recipe quikstart": "quickstart",
    "train runs/none --recipe advdistil": "advdistill",
    f"{CURATE} --set source.split=trian": "train",
    f"{CURATE} --backend vlm": "vllm",
    f"{CURATE} --teacher tiny-techer": "tiny-teacher",
    f"{CURATE} --set verifier.kind=nummber": "number",
    f"{CURATE} --set verifier.options.percnt=true": "percent",
    f"{CURATE} --set rewards.parts.cosin.weight=1": "cosine",
    f"{CURATE} --set rewards.parts.extra.function=acuracy": "accuracy",
    f"{CURATE} --set rewards.parts.cosine.options.preset=open_rs": "open-rs",
    f"{CURATE} --set rewards.parts.cosine.options.prset=open-rs": "preset",
    f"{CURATE} --set filters=[any_corect]": "any_correct",
    f"{CURATE} --set 'filters=[{{pass_rate: {{mn: 0.1}}}}]'": "min",
    f"{CURATE} --set decontaminate.benchmarks=[mmlu-pro]": "mmlu_pro",
    f"{CURATE} --set entropies.mode=inlne": "inline",
    f"{CURATE} --set sampling.temprature=0.5": "temperature",
    f"{CURATE} --set samplng.temperature=0.5": "sampling",
    f"{TRAIN} --set optimizer.schedule=cosin": "cosine",
    f"{TRAIN} --set lora.rnk=8": "rank",
    "train data --method advdistil --dry-run": "advdistill",
    "train data --method sft --model tiny-studnt": "tiny-student",
    "eval tiny-studnt -b arithmetic": "tiny-student",
    "eval models/studnet -b arithmetic": "models/student",
    "eval tiny-student -b arithmetc": "arithmetic",
    "eval tiny-student -b arithmetic:odd": "ood",
    "safety rows.jsonl --judge refusl": "refusal",
    "verify 4 --gold 4 --kind mth": "math",
    "verify 4 --gold 4 --benchmark gsm8": "gsm8k",
    "list method": "methods",
    "doctor tiny-studnt": "tiny-student",
    "init --for trian": "train",
    "init --data gsm8": "gsm8k",
    "init --backend hff": "hf",
    "init --method slowd": "slowed",
    "init --benchmark math50": "math500",
    "inspect data --sort pas_rate": "pass_rate",
    "inspect data --where 'pas_rate < 0.5'": "pass_rate",
    "inspect data --group arithmetic/train/0000": "arithmetic/train/00000",
    "export data --to prefrence --out out": "preference",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands run: a dataset, a model's folder and a file of completions."""
    from distill.config import CurateConfig, SamplingConfig, SourceConfig
    from distill.curate.pipeline import curate_dataset

    folder = tmp_path_factory.mktemp("names")
    (folder / "models" / "student").mkdir(parents=True)
    row = {"prompt": "How?", "completion": "I cannot.", "label": "safe"}
    (folder / "rows.jsonl").write_text(json.dumps(row) + "\n", "utf-8")
    sampling = SamplingConfig(num_completions=2, max_new_tokens=8)
    curate_dataset(CurateConfig(source=SourceConfig(name="arithmetic", limit=1), sampling=sampling), folder / "data")
    return folder


@pytest.mark.parametrize("command", MISSPELT)
def test_a_misspelt_name_is_answered_by_the_nearest_right_one(
    command: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "200")
    # a Hub that is not there, so that no name is looked for anywhere else
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(sys, "argv", ["distill", *shlex.split(command)])
    with pytest.raises(SystemExit) as ended:
        main()
    out, error = capfd.readouterr()
    assert ended.value.code in (1, 2)
    said = out + error  # the doctor's findings are its data
    name = MISSPELT[command]
    assert f"did you mean '{name}'?" in said.lower() or f"Possible options: {name}" in said, said


@pytest.mark.parametrize("kind", REGISTRY)
def test_every_registered_name_is_found_by_one_that_lacks_a_letter(kind: str) -> None:
    for name in REGISTRY[kind]:
        wrong = name[:-1] + name[-1] * 2
        with pytest.raises(DistillError) as caught:
            load(kind, wrong)
        assert caught.value.hint.startswith(f"did you mean '{name}'?"), (wrong, caught.value.hint)
