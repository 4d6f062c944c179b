#!/usr/bin/env bash
# Trains on the NVIDIA GPUs of this machine; first it sees that the driver and jax agree on them.
#
#   bash launch/gpu.sh [--dry_run] [flags…]      the flags are those of launch/local.sh
#
# A run that hung or lost a device (code 75) is started again, into the same workdir, up to 10 times.
set -euo pipefail
# shellcheck source=launch/setup.sh
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

if [[ ${1:-} == --help || ${1:-} == -h ]]; then
  sed -n '2,6s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
  exit
fi

flags=()
config=(--config="$root/configs/transformer.py")
for argument in "$@"; do
  [[ $argument != --config && $argument != --config=* ]] || config=()
  if [[ $argument == --dry_run ]]; then dry_run=1; else flags+=("$argument"); fi
done
see_gpu || fail 'launch/gpu.sh cannot train here: %s.' "$why"
set_up '' --device=cuda ${flags[@]+"${flags[@]}"}
set -- ${config[@]+"${config[@]}"} ${rest[@]+"${rest[@]}"}
[[ ${1:-} != --config=* || ${2:-} != train ]] || set -- train "$1" "${@:3}"

# How many GPUs the driver has for this process.
count=$(nvidia-smi -L | grep -c '^GPU') || true
if [[ -n ${CUDA_VISIBLE_DEVICES+set} ]]; then
  count=$(tr ',' '\n' <<<"$CUDA_VISIBLE_DEVICES" | grep -c '[0-9A-Za-z]') || true
fi
command=("$python" -m jaxlab.main "$@")
if [[ -n $dry_run ]]; then
  say 'would see that jax finds the %s GPUs of the driver' "$count"
  say 'would run %s' "JAXLAB_DEVICES=$count ${command[*]}"
  exit
fi
seen=$("$python" -c 'import jax; print(len(jax.devices("cuda")))') || seen=0
[[ $seen == "$count" ]] ||
  fail 'the driver has %s GPUs, and jax finds %s: see above, and what nvidia-smi says; bash launch/setup.sh --device=cuda installs jax anew.' "$count" "$seen"

for attempt in {0..10}; do
  code=0
  JAXLAB_DEVICES=$count "${command[@]}" || code=$?
  ((code == 75 && attempt < 10)) || exit "$code"
  say 'it ended with code 75, and is started again'
done
