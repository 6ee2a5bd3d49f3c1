#!/usr/bin/env bash
# Builds the sdist and from it the wheel, installs the wheel where nothing else is, and makes the whole
# journey there, with a Hub on this machine. PYTHON builds and makes the environment; PIP_FLAGS go to pip, as in the
# Makefile.
set -euo pipefail
repository=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-$repository/.venv/bin/python}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$python" -P -m build --no-isolation --outdir "$work/dist" "$repository" >"$work/build.log" || { cat "$work/build.log"; exit 1; }
(cd "$work/dist" && ls -l)
"$python" -m venv "$work/venv"
# shellcheck disable=SC2086
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check ${PIP_FLAGS:-} -c "$repository/constraints.txt" \
  "$work"/dist/*.whl

mkdir "$work/empty"
cd "$work/empty"
export PATH="$work/venv/bin:$PATH"
unset PYTHONPATH VIRTUAL_ENV

python - "$work/venv" "$repository" <<'EOF'
"""What has to be inside: every card and recipe of the repository, the tiny models, and every public name."""
import sys
from pathlib import Path

import distill

package = Path(distill.__file__).parent
assert package.is_relative_to(sys.argv[1]), f"'{package}' is not what was installed"
for folder, pattern in (("data_cards", "*.md"), ("recipes", "*.yaml")):
    shipped, ours = ({path.name for path in (root / folder).glob(pattern)} for root in (package, Path(sys.argv[2])))
    assert shipped == ours != set(), f"{folder}: {shipped ^ ours}"
for name in ("py.typed", "assets/teacher/model.safetensors", "assets/student/model.safetensors"):
    assert (package / name).is_file(), name
for name in distill.__all__:
    getattr(distill, name)
EOF

"$python" "$repository/scripts/with_local_hub.py" python -P "$repository/scripts/try_story.py"
echo "the wheel does what the repository does"
