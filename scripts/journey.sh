#!/usr/bin/env bash
# The whole story in the current folder, by the 'distill' and 'python' that are on the PATH: from nothing to a dataset and
# a better student that others load from a Hub.
#   python scripts/with_local_hub.py scripts/journey.sh
set -euo pipefail
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"

run() {
  printf '\n$ %s\n' "$*"
  "$@"
}
run distill --version
run distill list sources
run distill doctor tiny-student
run distill init
run distill curate arithmetic --recipe recipe.yaml --limit 60 --out runs/groups
run distill inspect runs/groups --html groups.html
run distill export runs/groups --to sft --out data/sft
run distill publish runs/groups me/arithmetic-groups --licence apache-2.0
run distill train runs/groups --recipe recipe.yaml --method sft --out runs/sft
run distill eval tiny-student --recipe recipe.yaml --limit 100 --out runs/eval-base
run distill eval runs/sft --recipe recipe.yaml --limit 100 --out runs/eval-sft
run distill compare runs/eval-base runs/eval-sft --html comparison.html
run distill publish runs/sft me/arithmetic-student --licence apache-2.0 --eval runs/eval-sft
python - <<'EOF'
"""What came out is read by others, from the folder and from the Hub."""
from datasets import load_dataset
from transformers import AutoModelForCausalLM

exported = load_dataset("data/sft", split="train")
published = load_dataset("me/arithmetic-groups", "sft", split="train")
assert exported["messages"] == published["messages"]
assert load_dataset("me/arithmetic-groups", split="train").num_rows == published.num_rows > 50
student, fetched = (AutoModelForCausalLM.from_pretrained(name) for name in ("runs/sft/student", "me/arithmetic-student"))
assert all((a == b).all() for a, b in zip(student.parameters(), fetched.parameters(), strict=True))
EOF
