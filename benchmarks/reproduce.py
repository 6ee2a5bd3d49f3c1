"""Published figures out of the completions that they were made of, as a table.

    python benchmarks/reproduce.py FOLDER [--tasks]

The folder holds what the authors have published, as JSON Lines: GSM8K's example_model_solutions.jsonl (in gsm8k/),
code-davinci-002's chains of thought for BIG-Bench Hard (bbh/), outputs of 15 models on 400 questions of MMLU-Pro each
(verify/) and of Llama-3.1-8B-Instruct on all of them (mmlu_pro/).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY))

from tests.reproduction import Line, lines  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tasks", action="store_true", help="a line for each of the 27 tasks of BIG-Bench Hard, too")
    options = parser.parse_args()
    print("| benchmark | model | published | by the authors' rule | ours | rule and ours differ |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for line in lines(options.folder):
        if options.tasks or not line.benchmark.startswith("BBH "):
            print(row(line))


def row(line: Line) -> str:
    """One line of the table."""
    by_rule = "" if line.by_rule is None else percent(line.by_rule, line.total)
    differing = "" if line.differing is None else str(line.differing)
    cells = (line.benchmark, line.model, percent(line.published, line.total), by_rule, percent(line.ours, line.total))
    return f"| {' | '.join((*cells, differing))} |"


def percent(count: int, total: int) -> str:
    return f"{100 * count / total:.2f} %"


if __name__ == "__main__":
    main()
