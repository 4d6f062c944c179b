#!/usr/bin/env bash
# Trains on a Cloud TPU: makes the machine or takes the one of that name, installs, trains on all workers, fetches the
# workdir, and deletes the machine.
#
#   bash launch/tpu_vm.sh NAME --zone=ZONE --type=v5litepod-8 --workdir=… [flags of jaxlab.main…]
#     --image=v2-alpha-tpuv5-lite   the software of the machine; Python 3.11 or newer is brought where it has none
#     --project=…  --spot           as gcloud has them; what is preempted is made again, and goes on in the same workdir
#     --queued                      waits in the queue of queued resources
#     --keep                        leaves the machine as it is (it costs money until it is deleted)
#     --dry_run                     prints the commands
#
# Several workers, and machines that can be preempted, want --workdir=gs://…: what lies on a machine goes with it.
set -euo pipefail
# shellcheck source=launch/setup.sh
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

name=${1:-}
if [[ $name == --help || $name == -h ]]; then
  sed -n '2,12s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
  exit
fi
[[ -n $name && $name != -* ]] || fail 'launch/tpu_vm.sh: the name of the machine comes first; --help says more.'
shift
zone='' type=v5litepod-8 image=v2-alpha-tpuv5-lite workdir='' spot='' queued='' keep='' flags=()
where=()
for argument in "$@"; do
  case $argument in
    --zone=*) zone=${argument#*=} ;;
    --project=*) where+=("$argument") ;;
    --type=*) type=${argument#*=} ;;
    --image=*) image=${argument#*=} ;;
    --spot) spot=1 ;;
    --queued) queued=1 ;;
    --keep) keep=1 ;;
    --dry_run) dry_run=1 ;;
    --workdir=*) workdir=${argument#*=} flags+=("$argument") ;;
    *) flags+=("$argument") ;;
  esac
done
[[ -n $zone ]] || fail 'launch/tpu_vm.sh: --zone=… is missing: where the machine stands.'
[[ -n $workdir ]] || fail 'launch/tpu_vm.sh: --workdir=… is missing: what is fetched at the end.'
[[ -z $spot || $workdir == gs://* ]] || fail 'launch/tpu_vm.sh: with --spot, --workdir=gs://… is wanted: what lies on the machine goes with it.'
[[ $workdir == gs://* || $workdir != /* ]] || fail 'launch/tpu_vm.sh: --workdir=%s: a folder below the clone is wanted, or gs://….' "$workdir"
where+=(--zone="$zone")
pause=${JAXLAB_PAUSE:-30} # seconds between two looks

cloud() { gcloud compute tpus "$1" "$2" "${@:3}" "${where[@]}"; }

# Runs a command, or prints it.
act() {
  if [[ -n $dry_run ]]; then
    [[ $1 != cloud ]] || set -- gcloud compute tpus "${@:2}" "${where[@]}"
    printf '%q ' "$@"
    echo
  else
    "$@"
  fi
}

on() { act cloud tpu-vm ssh "$name" --worker="$1" --command="$2"; }

# Prints the state of the machine, '' where there is none.
state() { [[ -n $dry_run ]] || cloud tpu-vm describe "$name" --format='value(state)' 2>/dev/null || true; }

delete() {
  if [[ -n $queued ]]; then
    act cloud queued-resources delete "$name" --force --quiet
  else
    act cloud tpu-vm delete "$name" --quiet
  fi
}

make() {
  local now='' tier=()
  [[ -z $spot ]] || tier=(--spot)
  if [[ -z $queued ]]; then
    act cloud tpu-vm create "$name" --accelerator-type="$type" --version="$image" ${tier[@]+"${tier[@]}"}
    return
  fi
  act cloud queued-resources create "$name" --node-id="$name" --accelerator-type="$type" --runtime-version="$image" ${tier[@]+"${tier[@]}"}
  while [[ -z $dry_run && $now != ACTIVE ]]; do
    now=$(cloud queued-resources describe "$name" --format='value(state.state)')
    case $now in
      FAILED | SUSPENDED) fail 'the queue says %s: gcloud compute tpus queued-resources describe %s says why.' "$now" "$name" ;;
      ACTIVE) ;;
      *) sleep "$pause" ;;
    esac
  done
}

# What runs on each worker. run.sh stands beside the clone; its log and its exit code lie there too.
write_scripts() {
  git -C "$root" ls-files -z | tar -C "$root" --null -T - -czf "$folder/jaxlab.tgz"
  cat >"$folder/install.sh" <<'END'
set -euo pipefail
mkdir -p ~/jaxlab && tar -xzf ~/jaxlab.tgz -C ~/jaxlab
new() { "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
for PYTHON in python3 python3.13 python3.12 python3.11 none; do ! new "$PYTHON" || break; done
if [[ $PYTHON == none ]]; then # images of today have 3.10
  python3 -m pip install --quiet --user uv && ~/.local/bin/uv python install 3.12 && PYTHON=$(~/.local/bin/uv python find 3.12) ||
    { sudo apt-get -qq update && sudo apt-get -qq install -y python3.11 python3.11-venv && PYTHON=python3.11; }
fi
PYTHON=$PYTHON bash ~/jaxlab/launch/setup.sh --device=tpu
[[ ! -e ~/jaxlab/wants_gs ]] || ~/jaxlab/.venv/bin/python -m pip install --quiet gcsfs
END
  {
    echo 'cd ~/jaxlab'
    printf 'JAX_PLATFORMS=tpu,cpu PYTHONUNBUFFERED=1 .venv/bin/python -m jaxlab.main'
    printf ' %q' ${flags[@]+"${flags[@]}"}
    echo ' >~/run.log 2>&1 </dev/null &'
    # shellcheck disable=SC2016 # it is for the other machine
    echo 'echo $! >~/run.pid; code=0; wait $! || code=$?; echo $code >~/run.code'
  } >"$folder/run.sh"
}

install() {
  act cloud tpu-vm scp "$folder/jaxlab.tgz" "$folder/install.sh" "$folder/run.sh" "$name": --worker=all || return
  [[ $workdir != gs://* ]] || on all 'mkdir -p ~/jaxlab && touch ~/jaxlab/wants_gs' || return
  on all 'bash ~/install.sh'
}

# Starts the run on all workers, which outlives this connection, and shows its log until it ends.
train() {
  on all 'rm -f ~/run.code ~/run.pid; touch ~/run.log; nohup setsid bash ~/run.sh >/dev/null 2>&1 & sleep 2' || return
  # shellcheck disable=SC2016 # it is for the other machine
  on 0 'tail -n +1 -F --pid="$(cat ~/run.pid)" ~/run.log; sleep 1'
}

fetch() {
  mkdir -p "$root/runs"
  if [[ $workdir == gs://* ]]; then
    act gcloud storage rsync --recursive "$workdir" "$root/runs/${workdir##*/}"
  else
    act cloud tpu-vm scp --recurse "$name:jaxlab/$workdir" "$root/runs/" --worker=0
  fi
}

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
write_scripts
trap 'on all "kill -TERM \$(cat ~/run.pid)" || true' INT # it saves, and ends

for attempt in {0..100}; do
  case $(state) in
    READY) say 'takes the machine %s, which is there' "$name" ;;
    '') make ;;
    *) # preempted, stopped or broken: it cannot be started again
      delete
      make
      ;;
  esac
  code=''
  if install && train; then
    [[ -n $dry_run ]] || code=$(on 0 'cat ~/run.code' 2>/dev/null) || code=''
  fi
  [[ -z $dry_run ]] || break
  [[ -z $code || $code == 75 ]] || break
  ((attempt < 100)) || break
  say 'the run ended without a result (the machine is %s): once more, into the same workdir' "$(state)"
  sleep "$pause"
done
[[ -z $dry_run ]] || code=0
fetch || say 'the workdir could not be fetched'
if [[ -n $keep ]]; then
  say 'the machine %s is kept, and costs money' "$name"
else
  delete
fi
exit "${code:-1}"
