#!/usr/bin/env bash
# Trains the transformer, on a machine that has nothing but Python 3.11 or newer.
#
#   bash launch/local.sh [--device=cpu|cuda|tpu] [flags…]             python -m jaxlab.main --config=configs/transformer.py [flags…]
#   bash launch/local.sh --config=configs/transformer.py:small …      the same with another config or size
#   bash launch/local.sh generate --workdir=runs/… --prompt='def '    any other verb
#
# The first call installs into .venv; later ones start at once.
set -euo pipefail
# shellcheck source=launch/setup.sh
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

if [[ ${1:-} == --help || ${1:-} == -h ]] && [[ ! -e $stamp ]]; then
  sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" # before anything is installed the program cannot speak for itself
  exit
fi

set_up '' "$@"
set -- ${rest[@]+"${rest[@]}"}

# Training needs a config, every other verb reads the one in its workdir.
config=(--config="$root/configs/transformer.py")
[[ ${1:--} == -* || $1 == train ]] || config=()
for argument in "$@"; do
  [[ $argument != --config && $argument != --config=* ]] || config=()
done
verb=()
if [[ ${1:--} != -* ]]; then
  verb=("$1")
  shift
fi
exec "$python" -m jaxlab.main ${verb[@]+"${verb[@]}"} ${config[@]+"${config[@]}"} "$@"
