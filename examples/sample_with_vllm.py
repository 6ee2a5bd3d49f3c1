"""Sample groups with vLLM into a file that `distill curate --completions` reads.

    python examples/sample_with_vllm.py gsm8k Qwen/Qwen2.5-7B-Instruct completions.jsonl
    distill curate gsm8k --teacher Qwen/Qwen2.5-7B-Instruct --completions completions.jsonl \
        --tokenizer Qwen/Qwen2.5-7B-Instruct --set recorded.token_ids=completion_ids

The prompts are those that distill itself would send. vLLM may live in an environment of its own: besides it the script
needs distill without its heavier dependencies (`pip install --no-deps distill-reasoning`, pydantic, pyyaml).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from distill.config import PromptConfig, SamplingConfig, SourceConfig
from distill.problems import read_problems
from distill.prompts import build_prompt, resolve_prompt


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="a data card or a file of problems")
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    try:
        from vllm import LLM, SamplingParams
    except ModuleNotFoundError:
        sys.exit("error: vllm is not installed here\nhint: pip install vllm, in an environment of its own if you like")

    # generation_config="vllm" keeps the model's own sampling defaults out; the seed is the engine's, not a request's.
    llm = LLM(model=options.model, generation_config="vllm", seed=options.seed, enable_prefix_caching=True)
    tokenizer = llm.get_tokenizer()
    source = read_problems(SourceConfig(name=options.source, limit=options.limit), role="source")
    prompt_config = resolve_prompt(PromptConfig(), source.card)
    problems = list(source)
    prompts = [build_prompt(problem, prompt_config, tokenizer) for problem in problems]

    ours = SamplingConfig()
    sampling = SamplingParams(
        n=ours.num_completions,
        temperature=ours.temperature,
        top_p=ours.top_p,
        max_tokens=ours.max_new_tokens,
        skip_special_tokens=False,  # else <think> vanishes where it is a special token
    )
    groups = llm.generate([{"prompt_token_ids": list(prompt.token_ids)} for prompt in prompts], sampling)
    with options.out.open("w", encoding="utf-8") as file:
        for problem, group in zip(problems, groups, strict=True):
            row = {
                "id": problem.id,
                "completions": [completion.text for completion in group.outputs],
                "completion_ids": [list(completion.token_ids) for completion in group.outputs],
                "finish_reasons": [completion.finish_reason for completion in group.outputs],
            }
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
