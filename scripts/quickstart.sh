#!/bin/sh
# The main job on the embedded tiny models: every command is printed before it runs.
set -eu
cd "$(dirname "$0")/.."
# Models this small are faster on one thread.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
R=runs/quickstart
RECIPE="--recipe quickstart"
SPLITS="-b arithmetic:test -b arithmetic:ood"

run() {
    printf '\n\033[1m$ distill %s\033[0m\n' "$*" >&2
    distill "$@"
}

run curate arithmetic $RECIPE --out $R/groups
run inspect $R/groups
run train $R/groups $RECIPE --method sft --out $R/sft
run train $R/groups $RECIPE --method advdistill --out $R/advdistill
run eval tiny-teacher $SPLITS $RECIPE --out $R/eval-teacher
run eval tiny-student $SPLITS $RECIPE --out $R/eval-base
run eval $R/sft $SPLITS $RECIPE --out $R/eval-sft
run eval $R/advdistill $SPLITS $RECIPE --out $R/eval-advdistill
run compare $R/eval-base $R/eval-teacher $R/eval-sft $R/eval-advdistill
