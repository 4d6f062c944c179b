"""How long a step takes at least, by what its chips can do: the roofline (Williams et al. 2009), with links.

    compute   products / (peak · efficiency), and those of attention's kernels / (peak · kernels)
    memory    traffic / bandwidth
    links     bytes sent / bandwidth of the links that can be used

Products and traffic are the same instructions, so the slower of both is what they take together. What is sent goes on
meanwhile, as far as it can; the rest is waited for. That is less where activations are computed again: such work needs
nothing of others. Many slices wait for the slowest of them. The constants are fitted to published measurements by
launch/bench/plan_maxtext.py.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jaxlab.planning.chips import Chip


@dataclass(frozen=True)
class Constants:
    """What no data sheet says."""

    efficiency: float  # the share of the peak that large matrix products reach
    kernels: float  # the same of kernels of attention, which are busy with exponentials as well; assumed, not fitted
    exposed: float  # the share of the time of links that is waited for; above 1, links reach less than their rate
    exposed_again: float  # the same where activations are computed again
    straggle: float = 0.0  # by how much each doubling of the slices lengthens a step


KERNELS = 0.3
FITTED = Constants(efficiency=0.93, kernels=KERNELS, exposed=1.6, exposed_again=1.0, straggle=0.032)


@dataclass(frozen=True)
class Times:
    """Seconds that a step would take if one thing alone took time; nan: not known of this chip."""

    compute: float
    kernels: float
    memory: float
    links: Mapping[tuple[str, ...], float]  # by the mesh axes that the devices of a group differ in

    def step(self, again: bool, constants: Constants = FITTED, slices: int = 1) -> float:
        """Returns the seconds that a step is expected to take; `again`: whether activations are computed again."""
        exposed = constants.exposed_again if again else constants.exposed
        links = sum(self.links.values())
        busy = max(self.compute / constants.efficiency + self.kernels / constants.kernels, self.memory)
        seconds = max(busy, (1 - exposed) * links) + exposed * links
        return seconds * (1 + constants.straggle * math.log2(slices))

    @property
    def bound(self) -> str:
        """Returns which of the three takes longest: 'compute', 'memory' or 'links'."""
        all_three = {'compute': self.compute + self.kernels, 'memory': self.memory, 'links': sum(self.links.values())}
        return max(all_three, key=lambda name: all_three[name])


def times(
    flops: float,
    kernel_flops: float,
    traffic: float,
    sent: Mapping[tuple[str, ...], float],
    peak: float,
    chip: Chip,
    links: Callable[[tuple[str, ...]], float],
) -> Times:
    """Returns the times of a step on one chip.

    Args:
      flops, kernel_flops, traffic: of one chip; the second are some of the first.
      sent: bytes that it sends, by mesh axes.
      peak: FLOPs/s of one chip; 0: not known.
      chip: what is published of it.
      links: mesh axes -> bytes/s that a chip can send along them.
    """
    return Times(
        (flops - kernel_flops) / peak if peak else math.nan,
        kernel_flops / peak if peak else math.nan,
        traffic / chip.bandwidth,
        {axes: count / links(axes) for axes, count in sent.items()},
    )


def torus_bandwidth(chip: Chip, extents: tuple[int, ...], whole: tuple[int, ...]) -> float:
    """Returns the bytes/s that each chip of a group can send, all of its links used alike.

    Args:
      chip: of which they are.
      extents: how many chips the group spans along each dim of the torus.
      whole: how many there are along each dim.
    """
    if not chip.dims:
        return chip.link
    spanned = [(extent, size) for extent, size in zip(extents, whole, strict=True) if extent > 1]
    # Around a ring both ways are used; along a line the array goes to and fro, and each way carries half.
    rings = (2 if extent == size and size % chip.wraps == 0 else 1 for extent, size in spanned)
    return chip.link * max(sum(rings), 1)


def bandwidth_along(mesh: Any, axes: tuple[str, ...], chip: Chip) -> float:
    """Returns `torus_bandwidth` of a group of a mesh's devices that differ in `axes`."""
    import numpy as np

    if not chip.dims:
        return chip.link
    where = np.array([device.coords for device in mesh.devices.flat])
    whole = tuple((where.max(0) - where.min(0) + 1).tolist())
    index = tuple(slice(None) if axis in axes else 0 for axis in mesh.axis_names)
    group = np.array([device.coords for device in np.asarray(mesh.devices)[index].flat])
    extents = tuple(len(set(column.tolist())) for column in group.T)
    return torus_bandwidth(chip, extents[: chip.dims], whole[: chip.dims])
