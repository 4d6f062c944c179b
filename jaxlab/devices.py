"""What is known of devices: how many there are, their peaks, and what stands in the machine and jax does not see."""

import glob
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import threading
from concurrent.futures import Future
from pathlib import Path

import jax
from jax.sharding import Mesh

from jaxlab.messages import say

# TFLOPs/s of one jax device, as its maker publishes them, for dense matrices: bfloat16, then float32 (on NVIDIA from
# Ampere on in TF32, as jax multiplies by default; on a TPU in bfloat16, for the same reason), then float64; 0: the
# hardware has none, or none is published. Kinds are what `device.device_kind` says, to the last letter: a laptop's
# "RTX 4090 Laptop GPU" is another chip. Sources: NVIDIA's data sheets (where they print "with sparsity", half of it)
# and its white papers of GA102, AD102 and GB202 (with sums in float32); cloud.google.com/tpu/docs. A TPU v2, v3 or 7x
# is two devices to jax, each with half of the chip's peak.
_PEAKS: dict[str, tuple[float, float, float]] = {
    r'NVIDIA (B200|GB200)': (2250, 1125, 40),
    r'NVIDIA (H100 80GB HBM3|H100 SXM.*|H200|H800|GH200.*)': (989, 495, 67),
    r'NVIDIA H100 PCIe': (756, 378, 51),
    r'NVIDIA (H100 NVL|H200 NVL)': (835, 417, 60),
    r'NVIDIA H20': (148, 74, 0),
    r'(NVIDIA )?A[18]00-(SXM4|PCI[Ee]|SXM)-\d+GB|NVIDIA A[18]00 80GB PCIe|NVIDIA A100-PG\d+.*': (312, 156, 19.5),
    r'NVIDIA A40': (149.7, 74.8, 0),
    r'NVIDIA A30': (165, 82, 10.3),
    r'NVIDIA A10': (125, 62.5, 0),
    r'NVIDIA A10G': (70, 35, 0),
    r'NVIDIA L4': (121, 60, 0),
    r'NVIDIA L40': (181, 90.5, 0),
    r'NVIDIA L40S': (362, 183, 0),
    r'NVIDIA L20': (119.5, 59.8, 0),
    r'(NVIDIA )?(Tesla )?V100-SXM[23].*': (0, 15.7, 7.8),  # its matrix units know float16 alone
    r'(NVIDIA )?(Tesla )?V100-PCIE.*': (0, 14, 7),
    r'(NVIDIA )?(Tesla )?T4': (0, 8.1, 0),
    r'NVIDIA RTX A6000': (154.8, 77.4, 0),
    r'NVIDIA RTX 6000 Ada Generation': (364.2, 182.1, 0),
    r'NVIDIA GeForce RTX 3080': (59.5, 29.8, 0),
    r'NVIDIA GeForce RTX 3090': (71, 35.6, 0),
    r'NVIDIA GeForce RTX 3090 Ti': (80, 40, 0),
    r'NVIDIA GeForce RTX 4080': (97.5, 48.7, 0),
    r'NVIDIA GeForce RTX 4090': (165.2, 82.6, 0),
    r'NVIDIA GeForce RTX 5080': (112.6, 56.3, 0),
    r'NVIDIA GeForce RTX 5090': (209.5, 104.8, 0),
    r'TPU v2': (23, 23, 0),
    r'TPU v3': (61.5, 61.5, 0),
    r'TPU v4': (275, 275, 0),
    r'TPU v5 lite|TPU v5e': (197, 197, 0),
    r'TPU v5|TPU v5p': (459, 459, 0),
    r'TPU v6 lite|TPU v6e': (918, 918, 0),
    r'TPU7x': (1153.5, 1153.5, 0),
}


def peak(kind: str, dtype: str) -> float:
    """Returns the peak of one device in FLOPs/s; 0.0 where it is not known.

    Args:
      kind: what jax calls the device, such as 'NVIDIA H100 80GB HBM3'.
      dtype: of what is multiplied: 'bfloat16', 'float32' or 'float64'.
    """
    for pattern, of in _PEAKS.items():
        if re.fullmatch(pattern, kind):
            return 1e12 * dict(zip(('bfloat16', 'float32', 'float64'), of, strict=True)).get(dtype, 0.0)
    return 0.0


def summary(mesh: Mesh) -> str:
    """Returns one line: how many devices of which kind, and how they are laid out."""
    seen, kind = jax.device_count(), mesh.devices.flat[0].device_kind
    if seen == 1:
        return f'1 × {kind}'
    parts = [say('{used} of {seen} × {kind}', used=mesh.size, seen=seen, kind=kind)]
    if shape := ' × '.join(f'{axis} {size}' for axis, size in mesh.shape.items() if size > 1):
        parts.append(say('mesh {shape}', shape=shape))
    if (processes := jax.process_count()) > 1:
        parts.append(say('{count} processes', count=processes))
    return ', '.join(parts)


# --- what jax does not see -------------------------------------------------------------------------------------------


def unseen() -> Future[str]:
    """Looks whether the machine has a GPU or TPU that jax does not see. Returns at once: nvidia-smi may take seconds.

    Returns:
      The future of some lines for people, that end with the command that repairs it; '' where there is nothing to say:
      jax sees an accelerator, the machine has none, or the CPU was asked for (JAX_PLATFORMS, which --device=cpu sets).
    """
    found: Future[str] = Future()
    asked_for = jax.config.jax_platforms or ''  # type: ignore[attr-defined]
    if jax.default_backend() != 'cpu' or asked_for.split(',')[0] == 'cpu':
        found.set_result('')
    else:  # a daemon: an nvidia-smi that hangs for good keeps no process from its end
        threading.Thread(target=lambda: found.set_result(describe_unseen(asked_for)), daemon=True).start()
    return found


def describe_unseen(asked_for: str = '', timeout: float = 20) -> str:
    """Returns what `unseen` promises, as if jax saw a CPU alone.

    Args:
      asked_for: what JAX_PLATFORMS says.
      timeout: the seconds that nvidia-smi may take.
    """
    if gpus := nvidia_gpus(timeout):
        hidden = os.environ.get('CUDA_VISIBLE_DEVICES')
        first = say('nvidia-smi sees {gpus}, and jax does not: this run is on the CPU.', gpus=', '.join(gpus))
        if hidden is not None and not re.match(r'\d|GPU-|MIG-', hidden):
            why = say('CUDA_VISIBLE_DEVICES="{value}" hides it. To use it:', value=hidden)
            return f'{first}\n{why}\n    unset CUDA_VISIBLE_DEVICES'
        if any(importlib.util.find_spec(f'jax_cuda{version}_plugin') for version in (12, 13)):
            why = say("jax's CUDA plugin is here and did not start: most often it is for another CUDA than the driver.")
        else:
            why = say('The jax that is installed here is for the CPU alone.')
        device = 'cuda'
    elif sees_tpu():
        first = say('This machine has a TPU, and jax does not see it: this run is on the CPU.')
        if importlib.util.find_spec('libtpu'):
            why = say('libtpu is here and did not start: most often another process holds the TPU.')
        else:
            why = say('The jax that is installed here is for the CPU alone.')
        device = 'tpu'
    elif asked_for:
        return say(
            'JAX_PLATFORMS={platforms} asks for more than a CPU, and there is no GPU or TPU: this run is on the CPU.',
            platforms=asked_for,
        )
    else:
        return ''
    script = os.path.relpath(Path(__file__).parents[1] / 'launch' / 'setup.sh')
    return '\n'.join([first, f'{why} {say("To repair it:")}', f'    bash {script} --device={device}'])


def nvidia_gpus(timeout: float) -> list[str]:
    """Returns the GPUs that nvidia-smi lists, such as ['2 × NVIDIA H100 80GB HBM3']; [] where there is no answer."""
    program = shutil.which('nvidia-smi')
    if program is None:
        return []
    try:
        # In a session of its own: Ctrl-C is for us alone, and what it started ends with it.
        process = subprocess.Popen(
            [program, '-L'], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
        )
    except OSError:
        return []
    try:
        listed, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # and no waiting: where the driver hangs it may not end
        return []
    if process.returncode or not listed.strip() or 'no devices' in listed.lower():
        return []
    names = re.findall(r'^GPU \d+: (.*?)(?: \(UUID.*)?$', listed, re.MULTILINE) or ['NVIDIA GPU']
    return [f'{names.count(name)} × {name}' for name in dict.fromkeys(names)]


def sees_tpu() -> bool:
    """Whether there is a TPU, by the rule of launch/setup.sh: a device file of its own, or one of Google's in VFIO."""
    system = os.environ.get('JAXLAB_SYSTEM_ROOT', '')  # tests put another machine's /dev and /sys here
    if glob.glob(f'{system}/dev/accel[0-9]*'):
        return True
    if not glob.glob(f'{system}/dev/vfio/[0-9]*'):
        return False
    vendors = (Path(path) for path in glob.glob(f'{system}/sys/bus/pci/devices/*/vendor'))
    on_cloud = os.environ.get('TPU_ACCELERATOR_TYPE') or os.environ.get('TPU_WORKER_ID')
    return bool(on_cloud) or any('0x1ae0' in vendor.read_text() for vendor in vendors)
