#!/usr/bin/env bash
# Makes .venv with what jaxlab needs, using nothing but Python's own venv and pip. Does nothing where that is done already.
#
#   bash launch/setup.sh [--device=cpu|cuda|tpu] [--extras=test,reference] [--dry_run]
#
# Without --device it looks for an NVIDIA GPU and a TPU, and takes the CPU otherwise. --dry_run prints what would be done.
# PYTHON=/path/to/python3.12 names the Python to make .venv with.
#
# local.sh and test.sh source this file and call `set_up EXTRAS "$@"`, which leaves three variables:
#   root   the clone        python   the Python in .venv        rest   the arguments that were not --device
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=$root/.venv
python=$venv/bin/python
stamp=$venv/jaxlab-stamp        # what is installed, for which hardware; written last, so an interrupted installation goes on
system=${JAXLAB_SYSTEM_ROOT:-}  # tests put another machine's /dev, /proc and /sys here
version_of='import sys; print("%d.%d" % sys.version_info[:2])'
dry_run=''

# Prints a message with values for its %s, in the language that JAXLAB_LANG or else the locale asks for.
words() {
  local template=$1
  shift
  case ${JAXLAB_LANG:-${LC_ALL:-${LC_MESSAGES:-${LANG:-}}}} in
    [zZ][hH]*) template=$(chinese "$template") ;;
  esac
  # shellcheck disable=SC2059 # the template is one of ours
  printf -- "$template\n" "$@"
}

say() { echo "jaxlab: $(words "$@")"; }

fail() {
  say "$@" >&2
  exit 2
}

# The one table of what is said here and in test.sh, in Chinese. The values keep their order.
chinese() {
  case $1 in
    'found no %s') echo '没有找到 %s' ;;
    '%s is %s') echo '%s 的版本是 %s' ;;
    'Python 3.11 or newer is needed (%s). Install one, e.g. apt install python3.12 python3.12-venv, or name it: PYTHON=/path/to/python3.12')
      echo '需要 Python 3.11 或更新的版本（%s）。请安装一个，例如 apt install python3.12 python3.12-venv，或指明它的位置：PYTHON=/path/to/python3.12' ;;
    'no NVIDIA GPU and no TPU seen') echo '没有发现 NVIDIA GPU 或 TPU' ;;
    'nvidia-smi is here but sees no GPU') echo '有 nvidia-smi，但它没有发现 GPU' ;;
    'the NVIDIA driver is for CUDA %s and jax needs 12 or newer: update the driver to use the GPU')
      echo 'NVIDIA 驱动只支持 CUDA %s，而 jax 需要 12 或更新：要使用 GPU，请更新驱动' ;;
    'an NVIDIA GPU, its driver for CUDA %s') echo '一块 NVIDIA GPU，驱动支持 CUDA %s' ;;
    'an NVIDIA GPU of compute capability %s') echo '一块 NVIDIA GPU，计算能力 %s' ;;
    'a TPU') echo '一块 TPU' ;;
    '--device=cuda, but %s; CUDA 12 runs on every driver since 525') echo '--device=cuda，但是%s；CUDA 12 可用于 525 以来的所有驱动' ;;
    '--device=%s is not one of cpu, cuda, tpu (cuda12 and cuda13 choose the version too).')
      echo '--device=%s 不在 cpu, cuda, tpu 之中（cuda12 和 cuda13 同时指定版本）。' ;;
    '--device needs a value: cpu, cuda or tpu.') echo '--device 需要一个值：cpu、cuda 或 tpu。' ;;
    "%s cannot make a virtual environment. Install what it lacks and try again: apt install python%s-venv (elsewhere: the package that holds Python's venv and ensurepip)")
      echo '%s 无法建立虚拟环境。请安装它缺少的包再试：apt install python%s-venv（其他系统：含有 Python 的 venv 和 ensurepip 的包）' ;;
    '%s is a link, and must be made anew: remove the link and try again.') echo '%s 是一个链接，而它需要重新建立：请删除该链接再试。' ;;
    'would make %s with %s') echo '将会建立 %s，使用 %s' ;;
    'making %s with %s') echo '正在建立 %s，使用 %s' ;;
    '%s could not make %s: see above.') echo '%s 没能建立 %s：原因见上。' ;;
    'would run %s') echo '将会运行 %s' ;;
    "installing jaxlab%s; every word of pip's is in .venv/install.log") echo '正在安装 jaxlab%s；pip 的全部输出在 .venv/install.log 里' ;;
    '  unpacking') echo '  正在解包' ;;
    'the installation failed, for the reason above. If the network is slow or closed, set PIP_INDEX_URL to a mirror near you and try again.')
      echo '安装失败，原因见上。如果网络很慢或不通，请把 PIP_INDEX_URL 设为附近的镜像再试。' ;;
    'installed in %s s; .venv takes %s MB') echo '安装用了 %s 秒；.venv 占 %s MB' ;;
    'jax for the CPU%s') echo '使用 CPU 版的 jax%s' ;;
    'jax[%s]%s; --device=cpu overrides') echo '使用 jax[%s]%s；--device=cpu 可改用 CPU' ;;
    ' (%s)') echo '（%s）' ;;
    'nothing to do') echo '已经就绪，无需安装' ;;
    '%s is not a flag of setup.sh: it knows --device, --extras and --dry_run.') echo '%s 不是 setup.sh 的选项：可用的有 --device、--extras 和 --dry_run。' ;;
    'torch and transformers are not here: tests that compare with them are skipped (launch/setup.sh --extras=reference)')
      echo '没有 torch 和 transformers：跳过与它们比较的测试（launch/setup.sh --extras=reference 可安装）' ;;
    'launch/gpu.sh cannot train here: %s.') echo 'launch/gpu.sh 无法在此训练：%s。' ;;
    'would see that jax finds the %s GPUs of the driver') echo '将会检查 jax 是否找到驱动的 %s 块 GPU' ;;
    'the driver has %s GPUs, and jax finds %s: see above, and what nvidia-smi says; bash launch/setup.sh --device=cuda installs jax anew.')
      echo '驱动有 %s 块 GPU，jax 找到 %s 块：请看上文和 nvidia-smi 的输出；bash launch/setup.sh --device=cuda 可重新安装 jax。' ;;
    'it ended with code 75, and is started again') echo '它以代码 75 结束，现在重新启动' ;;
    'launch/tpu_vm.sh: the name of the machine comes first; --help says more.') echo 'launch/tpu_vm.sh：第一个参数应为机器的名字；--help 有更多说明。' ;;
    'launch/tpu_vm.sh: --zone=… is missing: where the machine stands.') echo 'launch/tpu_vm.sh：缺少 --zone=…：机器所在的区域。' ;;
    'launch/tpu_vm.sh: --workdir=… is missing: what is fetched at the end.') echo 'launch/tpu_vm.sh：缺少 --workdir=…：最后取回的文件夹。' ;;
    'launch/tpu_vm.sh: with --spot, --workdir=gs://… is wanted: what lies on the machine goes with it.')
      echo 'launch/tpu_vm.sh：使用 --spot 时需要 --workdir=gs://…：机器上的内容会随机器一起消失。' ;;
    'launch/tpu_vm.sh: --workdir=%s: a folder below the clone is wanted, or gs://….') echo 'launch/tpu_vm.sh：--workdir=%s：应为本仓库之下的文件夹，或 gs://…。' ;;
    'the queue says %s: gcloud compute tpus queued-resources describe %s says why.') echo '队列状态为 %s：gcloud compute tpus queued-resources describe %s 会说明原因。' ;;
    'takes the machine %s, which is there') echo '使用已有的机器 %s' ;;
    'the run ended without a result (the machine is %s): once more, into the same workdir') echo '运行没有结果就结束了（机器状态：%s）：再来一次，使用同一工作目录' ;;
    'the workdir could not be fetched') echo '无法取回工作目录' ;;
    'the machine %s is kept, and costs money') echo '机器 %s 被保留，会继续计费' ;;
    *) echo "$1" ;;
  esac
}

is_supported() { [[ $1 =~ ^3\.([0-9]+)$ ]] && ((BASH_REMATCH[1] >= 11)); }

# Prints the path of a Python that is new enough: $PYTHON where it is set, else the first of the usual names.
find_python() {
  local name path version seen=''
  for name in ${PYTHON:-python3 python3.13 python3.12 python3.14 python3.11 python}; do
    path=$(type -P "$name") || continue
    version=$("$path" -c "$version_of" 2>/dev/null) || continue # a shim of a Python that is not installed
    if is_supported "$version"; then
      echo "$path"
      return
    fi
    seen+=${seen:+, }$(words '%s is %s' "$name" "$version")
  done
  fail 'Python 3.11 or newer is needed (%s). Install one, e.g. apt install python3.12 python3.12-venv, or name it: PYTHON=/path/to/python3.12' \
    "${seen:-$(words 'found no %s' "${PYTHON:-python3}")}"
}

# Sets `device` to cuda12 or cuda13 and says in `why`; fails, with the reason in `why`, where no usable GPU answers.
see_gpu() {
  local table cuda capability
  why=$(words 'no NVIDIA GPU and no TPU seen')
  type -P nvidia-smi >/dev/null || return 1
  why=$(words 'nvidia-smi is here but sees no GPU')
  table=$(nvidia-smi 2>/dev/null) && [[ $table =~ CUDA[A-Z\ ]*Version[\ ]*:[\ ]*([0-9]+) ]] || return 1
  cuda=${BASH_REMATCH[1]}
  why=$(words 'the NVIDIA driver is for CUDA %s and jax needs 12 or newer: update the driver to use the GPU' "$cuda")
  ((cuda >= 12)) || return 1
  why=$(words 'an NVIDIA GPU, its driver for CUDA %s' "$cuda")
  device=cuda$((cuda == 12 ? 12 : 13))
  for capability in $(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null); do
    if [[ $capability =~ ^([0-9]+)\.([0-9]+)$ ]] && ((BASH_REMATCH[1] * 10 + BASH_REMATCH[2] < 75)); then
      device=cuda12 # CUDA 13 has dropped these GPUs
      why=$(words 'an NVIDIA GPU of compute capability %s' "$capability")
    fi
  done
}

sees_tpu() {
  local file
  for file in "$system"/dev/accel[0-9]*; do [[ ! -e $file ]] || return 0; done
  # Newer TPUs stand in /dev/vfio, like any device that is handed to a virtual machine. 0x1ae0 is Google.
  for file in "$system"/dev/vfio/[0-9]*; do
    [[ -e $file ]] || continue
    [[ -z ${TPU_ACCELERATOR_TYPE:-}${TPU_WORKER_ID:-} ]] || return 0
    ! grep -qs 0x1ae0 "$system"/sys/bus/pci/devices/*/vendor || return 0
  done
  return 1
}

# Sets `device` to cpu, cuda12, cuda13 or tpu, and `why`, from what was asked for (may be '') and from the machine.
choose_device() {
  local asked=$1
  device=cpu
  why="--device=$asked"
  case $asked in
    cpu) ;;
    tpu | cuda12 | cuda13) device=$asked ;;
    cuda)
      if ! see_gpu; then
        device=cuda12
        why=$(words '--device=cuda, but %s; CUDA 12 runs on every driver since 525' "$why")
      fi
      ;;
    '')
      if ! see_gpu && sees_tpu; then
        device=tpu
        why=$(words 'a TPU')
      fi
      ;;
    *) fail '--device=%s is not one of cpu, cuda, tpu (cuda12 and cuda13 choose the version too).' "$asked" ;;
  esac
}

# Prints what choose_device depends on. Costs nothing, where nvidia-smi may take seconds: so a second call starts at once.
describe_hardware() {
  local driver=''
  [[ ! -r $system/proc/driver/nvidia/version ]] || driver=$(<"$system/proc/driver/nvidia/version")
  echo "$(type -P nvidia-smi) ${driver//$'\n'/ }" "$system"/dev/accel[0-9]* "$system"/dev/vfio/[0-9]*
}

venv_version() { "$python" -I -S -c "$version_of" 2>/dev/null || echo none; }

# Whether .venv has a Python new enough, pip, and no plugin for another CUDA than $1's, which jax would load beside it.
can_install() {
  local plugin
  is_supported "$(venv_version)" && "$python" -m pip --version >/dev/null 2>&1 || return 1
  for plugin in "$venv"/lib/python*/site-packages/jax_cuda*_plugin; do
    [[ ! -e $plugin || $1 != cuda* || $plugin == */jax_"$1"_plugin ]] || return 1
  done
}

make_venv() {
  local base version
  base=$(find_python)
  # To make it anew empties the folder: that of somebody else, if it is a link.
  [[ ! -L $venv ]] || fail '%s is a link, and must be made anew: remove the link and try again.' "$venv"
  if ! "$base" -c 'import ensurepip, venv' 2>/dev/null; then
    version=$("$base" -c "$version_of")
    fail "%s cannot make a virtual environment. Install what it lacks and try again: apt install python%s-venv (elsewhere: the package that holds Python's venv and ensurepip)" \
      "$base" "$version"
  fi
  if [[ -n $dry_run ]]; then
    say 'would make %s with %s' "$venv" "$base"
  else
    say 'making %s with %s' "$venv" "$base"
    "$base" -m venv --clear "$venv" || fail '%s could not make %s: see above.' "$base" "$venv"
  fi
}

# Shows the large downloads out of pip's long report, so that a slow network can be seen to move.
show_downloads() {
  local line
  while IFS= read -r line; do
    case $line in
      *Downloading*' MB)'*) echo "  ${line#"${line%%[![:space:]]*}"}" ;;
      'Installing collected packages'*) words '  unpacking' ;;
    esac
  done
}

# pip_install [EXTRA…]
pip_install() {
  local names="$*" log=$venv/install.log
  local what=$root${names:+[${names// /,}]}
  local command=("$python" -m pip install --disable-pip-version-check -c "$root/third_party/constraints.txt" -e "$what")
  if [[ -n $dry_run ]]; then
    say 'would run %s' "${command[*]}"
    return
  fi
  say "installing jaxlab%s; every word of pip's is in .venv/install.log" "${names:+[${names// /,}]}"
  SECONDS=0
  if ! PYTHONUNBUFFERED=1 "${command[@]}" 2>"$log.errors" | tee "$log" | show_downloads; then
    grep ERROR "$log.errors" | head -n 3 >&2 || tail -n 3 "$log.errors" >&2
    fail 'the installation failed, for the reason above. If the network is slow or closed, set PIP_INDEX_URL to a mirror near you and try again.'
  fi
  say 'installed in %s s; .venv takes %s MB' "$SECONDS" "$(du -sm "$venv" | cut -f1)"
}

# set_up 'EXTRA EXTRA…' [--device=…] [arguments…]
set_up() {
  local extras asked='' device why='' hardware pinned extra missing=''
  local old_root='' old_version='' old_pinned='' old_hardware='' old_device='' have=''
  extras=$1
  shift
  rest=()
  while (($#)); do
    case $1 in
      --device=*) asked=${1#*=} ;;
      --device)
        (($# > 1)) || fail '--device needs a value: cpu, cuda or tpu.'
        asked=$2
        shift
        ;;
      *) rest+=("$1") ;;
    esac
    shift
  done

  if [[ -r $stamp ]]; then
    for extra in old_root old_version old_pinned old_hardware old_device have; do
      IFS= read -r "${extra?}" || true
    done <"$stamp"
  fi
  hardware=$(describe_hardware)
  if [[ -z $asked && $hardware == "$old_hardware" ]]; then
    device=$old_device
  else
    choose_device "$asked"
  fi
  case $asked in # what was asked for must work; what was only seen may fall back to the CPU
    '') ;;
    cpu) export JAX_PLATFORMS=cpu ;;
    tpu) export JAX_PLATFORMS=tpu,cpu ;;
    *) export JAX_PLATFORMS=cuda,cpu ;;
  esac

  [[ $device == cpu ]] || extras+=" $device"
  pinned=$(cat "$root/pyproject.toml" "$root/third_party/constraints.txt" | cksum)
  [[ $pinned == "$old_pinned" ]] || have=''
  [[ "$root $(venv_version)" == "$old_root $old_version" ]] || have='' # a moved clone, another Python
  for extra in base $extras; do
    [[ " $have " == *" $extra "* ]] || missing+=" $extra"
  done

  if [[ -n $missing ]]; then
    case $device in
      cpu) say 'jax for the CPU%s' "${why:+$(words ' (%s)' "$why")}" ;;
      *) say 'jax[%s]%s; --device=cpu overrides' "$device" "${why:+$(words ' (%s)' "$why")}" ;;
    esac
    if [[ -n $old_root && "$root $(venv_version)" != "$old_root $old_version" ]] || ! can_install "$device"; then
      make_venv
    fi
    # shellcheck disable=SC2086 # words
    pip_install $extras
    have+=$missing
  elif [[ -n $dry_run ]]; then
    say 'nothing to do'
  fi
  if [[ -n $dry_run || -z $missing && ( -n $asked || $hardware == "$old_hardware" ) ]]; then
    return
  fi
  if [[ -z $asked ]]; then
    old_hardware=$hardware
    old_device=$device
  fi
  printf '%s\n' "$root" "$(venv_version)" "$pinned" "$old_hardware" "$old_device" "$have" >"$stamp"
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
  extras=''
  arguments=()
  previous=''
  for argument in "$@"; do
    case $argument in
      --extras=*) extras=${argument#*=} ;;
      --dry_run) dry_run=1 ;;
      --help | -h)
        sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
        exit
        ;;
      *)
        [[ $argument == --device || $argument == --device=* || $previous == --device ]] ||
          fail '%s is not a flag of setup.sh: it knows --device, --extras and --dry_run.' "$argument"
        arguments+=("$argument")
        ;;
    esac
    previous=$argument
  done
  set_up "${extras//,/ }" ${arguments[@]+"${arguments[@]}"}
fi
