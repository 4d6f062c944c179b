"""What is published of chips: memory, its bandwidth, and the links between chips. Peaks stand in `jaxlab.devices`.

Sources: cloud.google.com/tpu/docs/{v4,v5e,v5p,v6e}, whose "bidirectional" bandwidth of a chip is twice what all of its
links send (v4: of 2400 Gbit/s, as its page said before); NVIDIA's data sheets of A100, H100 and H200, whose NVLink
joins the eight GPUs of one machine.
"""

import re
from dataclasses import dataclass

GB, GIB = 1e9, 1 << 30
RESERVED = 258 << 20  # what libtpu 0.0.42 says of a v5e


@dataclass(frozen=True)
class Chip:
    """One device, as JAX counts them."""

    name: str
    kinds: str  # what `device.device_kind` says, a regular expression
    memory: int  # bytes that programs have, as XLA says; where it does not, what is published
    bandwidth: float  # bytes/s of that memory
    link: float  # bytes/s that one link sends; of a GPU, that it sends to all others of its machine
    dims: int = 0  # of the torus: a chip has two links along each; 0: no torus, every device reaches every other
    wraps: int = 0  # along a torus dim of a multiple of so many chips the last is next to the first
    reserved: int = 0  # bytes of the memory that XLA keeps for itself


CHIPS = (
    Chip('v4', r'TPU v4', 32 * GIB, 1200 * GB, 50 * GB, dims=3, wraps=4, reserved=RESERVED),
    Chip('v5e', r'TPU v5 lite|TPU v5e', int(15.75 * GIB), 819 * GB, 50 * GB, dims=2, wraps=16, reserved=RESERVED),
    Chip('v5p', r'TPU v5|TPU v5p', int(95.74 * GIB), 2765 * GB, 100 * GB, dims=3, wraps=4, reserved=RESERVED),
    Chip('v6e', r'TPU v6 lite|TPU v6e', int(31.25 * GIB), 1638 * GB, 100 * GB, dims=2, wraps=16, reserved=RESERVED),
    Chip('A100', r'(NVIDIA )?A100-.*40GB', 40 * GIB, 1555 * GB, 300 * GB),
    Chip('A100', r'(NVIDIA )?A100.*', 80 * GIB, 2039 * GB, 300 * GB),
    Chip('H100 PCIe', r'NVIDIA H100 PCIe', 80 * GIB, 2000 * GB, 64 * GB),
    Chip('H100', r'NVIDIA H100.*', 80 * GIB, 3350 * GB, 450 * GB),
    Chip('H200', r'NVIDIA H200.*', int(141 * GB), 4800 * GB, 450 * GB),
)


def find(kind: str) -> Chip | None:
    """Returns what is known of a kind of device, such as 'TPU v5 lite'; None: nothing."""
    return next((chip for chip in CHIPS if re.fullmatch(chip.kinds, kind)), None)
