#!/usr/bin/env bash
# Lints, checks types and runs the tests.
#
#   bash launch/test.sh [--full] [--device=cpu|cuda|tpu] [pytest arguments…]
#
# Without --full the tests marked `slow` are left out. Paths are the clone's: tests/nn.
set -euo pipefail
# shellcheck source=launch/setup.sh
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

set_up test "$@"
select=(-m 'not slow')
arguments=()
for argument in ${rest[@]+"${rest[@]}"}; do
  case $argument in
    --full) select=() ;;
    *) arguments+=("$argument") ;;
  esac
done

run() {
  say '%s' "$*"
  "$python" -m "$@"
}

cd "$root"
run ruff check .
run ruff format --check .
run mypy
"$python" -c 'import importlib.util as i, sys; sys.exit(not (i.find_spec("torch") and i.find_spec("transformers")))' ||
  say 'torch and transformers are not here: tests that compare with them are skipped (launch/setup.sh --extras=reference)'
# Two processes share the files of tests: one keeps a core busy, and hardly a second one.
exec "$python" -m pytest --numprocesses=2 --dist=loadfile ${select[@]+"${select[@]}"} ${arguments[@]+"${arguments[@]}"}
