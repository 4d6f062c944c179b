#!/usr/bin/env bash
# Lints, checks types and runs the tests.
#
#   bash launch/test.sh [--full] [--device=cpu|cuda|tpu] [pytest arguments…]
#
# Without --full the tests marked `slow` are left out. Paths are the clone's: tests/nn. Where all tests are run, two
# processes share them: one keeps a core busy, and hardly a second one.
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
if [[ ${#arguments[@]} -gt 0 ]]; then
  exec "$python" -m pytest ${select[@]+"${select[@]}"} ${arguments[@]+"${arguments[@]}"}
fi
JAXLAB_TESTS=$(mktemp -d)  # each file of tests that one of them begins is a folder in it
export JAXLAB_TESTS
code=0
set -m # or the second one ignores Ctrl-C, and so does all that it starts
"$python" -m pytest ${select[@]+"${select[@]}"} >"$JAXLAB_TESTS.log" 2>&1 &
second=$!
set +m
trap 'kill "$second" 2>/dev/null || true; rm -rf "$JAXLAB_TESTS" "$JAXLAB_TESTS.log"' EXIT
"$python" -m pytest ${select[@]+"${select[@]}"} || code=$?
wait "$second" || code=$?
cat "$JAXLAB_TESTS.log"
exit $code
