#!/usr/bin/env bash
# Kills, stops and damages runs for an hour or two: the long versions of what launch/test.sh does.
#
#   bash launch/chaos.sh [--kills=200] [--signals=100] [--runs=10] [--seed=0]
#
# Then it runs the tests that are marked `slow`, among them 1,000 random flips in checkpoints.
set -euo pipefail
# shellcheck source=launch/setup.sh
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

set_up test "$@"
cd "$root"
"$python" launch/bench/chaos.py ${rest[@]+"${rest[@]}"}
"$python" launch/bench/replays.py
exec "$python" -m pytest -m slow tests
