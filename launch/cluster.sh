#!/usr/bin/env bash
# Trains in N processes on this machine's CPU, over Gloo, as N machines would: to try what is meant for many.
#
#   bash launch/cluster.sh N [--cpu_devices=K] [--dry_run] [flags…]      the flags are those of launch/local.sh
#
# Each process has K simulated devices (1 unless told). Where one ends, all end; the same command then goes on.
set -euo pipefail
# shellcheck source=launch/setup.sh
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

if [[ ${1:-} == --help || ${1:-} == -h ]]; then
  sed -n '2,6s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
  exit
fi

set_up '' --device=cpu "$@"
set -- ${rest[@]+"${rest[@]}"}

config=(--config="$root/configs/transformer.py")
for argument in "$@"; do
  [[ $argument != --config && $argument != --config=* ]] || config=()
done
exec "$python" -m jaxlab.parallel.group "$@" ${config[@]+"${config[@]}"}
