"""What one run of a compiled program costs a device: products, traffic of its memory, what it sends to others.

All of it is counted in the optimized program, and what stands in a loop as often as the loop turns. (XLA's own
`cost_analysis` counts the body of a loop once.)
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from jaxlab.nn import splash
from jaxlab.planning import hlo
from jaxlab.planning.hlo import Computation, Instruction, Shape

KINDS = ('all-gather', 'reduce-scatter', 'all-reduce', 'all-to-all', 'collective-permute', 'ragged-all-to-all')
# They compute nothing and move nothing: names for what is there, or the other half of what was counted.
FREE = {'parameter', 'constant', 'tuple', 'get-tuple-element', 'bitcast', 'partition-id', 'replica-id', 'after-all'}
SLICES = {'dynamic-slice', 'slice', 'gather'}


@dataclass(frozen=True)
class Collective:
    """One instruction that moves an array between the devices of a group."""

    kind: str
    axes: tuple[str, ...]  # of the mesh, in which the devices of a group differ
    members: int
    bytes: int  # of the whole array: gathered, or before it is scattered
    times: float
    op: str

    @property
    def sent(self) -> float:
        """Bytes that each device sends, all times together, in the ring algorithms that use every link alike."""
        share = (self.members - 1) / self.members
        each = {'all-reduce': 2 * share, 'collective-permute': 1.0}.get(self.kind, share)
        return self.times * self.bytes * each


@dataclass(frozen=True)
class Cost:
    """Of one device."""

    flops: float = 0.0  # of matrix products and convolutions, a multiplication and an addition as two
    kernel_flops: float = 0.0  # of these, those of kernels whose insides XLA does not see
    traffic: float = 0.0  # bytes read from and written to its large memory
    unknown: frozenset[str] = frozenset()  # kernels whose products nobody here knows
    collectives: Mapping[str, Collective] = field(default_factory=dict)  # by channel, or by name

    def __add__(self, other: 'Cost') -> 'Cost':
        collectives = dict(self.collectives)
        for channel, one in other.collectives.items():
            # The parts of a collective that is spread over several fusions share a channel: it is one.
            known = collectives.get(channel)
            collectives[channel] = one if known is None or one.times > known.times else known
        return Cost(
            self.flops + other.flops,
            self.kernel_flops + other.kernel_flops,
            self.traffic + other.traffic,
            self.unknown | other.unknown,
            collectives,
        )

    def times(self, number: float) -> 'Cost':
        collectives = {channel: replace(one, times=one.times * number) for channel, one in self.collectives.items()}
        return Cost(self.flops * number, self.kernel_flops * number, self.traffic * number, self.unknown, collectives)


def of_program(text: str, mesh: Mapping[str, int]) -> Cost:
    """Returns the cost of a program.

    Args:
      text: what `compiled.as_text()` returns.
      mesh: the size of each axis, in the order in which devices are counted, as `Mesh.shape` has it.
    """
    return _Counter(hlo.parse(text), mesh).of(hlo.ENTRY)


class _Counter:
    def __init__(self, computations: Mapping[str, Computation], mesh: Mapping[str, int]) -> None:
        self.computations, self.mesh = computations, mesh
        self.known: dict[tuple[str, bool], Cost] = {}

    def of(self, name: str, fused: bool = False) -> Cost:
        """Returns the cost of a computation; of a fused one no traffic: what is between its instructions is nowhere."""
        key = name, fused
        if key not in self.known:
            computation, total = self.computations[name], Cost()
            for one in computation.instructions:
                total += self._of_instruction(one, computation, fused)
            self.known[key] = total
        return self.known[key]

    def _of_instruction(self, one: Instruction, parent: Computation, fused: bool) -> Cost:
        code = one.opcode
        if code in FREE or code.endswith(('-done', '-update')):
            return Cost()
        if code == 'while':
            (body,) = one.called('body')
            return self.of(body, fused).times(hlo.trips(one, parent, self.computations))
        if code == 'conditional':
            branches = one.called('branch_computations') or [
                *one.called('true_computation'),
                *one.called('false_computation'),
            ]
            return max((self.of(name, fused) for name in branches), key=lambda cost: (cost.flops, cost.traffic))
        inner = Cost()
        if code in ('fusion', 'call', 'async-start'):
            for name in one.called('calls') or one.called('to_apply'):
                inner += self.of(name, fused or code == 'fusion')
        if code in ('call', 'async-start'):
            return inner
        traffic = 0.0 if fused else self._traffic(one, parent)
        return inner + self._own(one, parent) + Cost(traffic=traffic)

    def _own(self, one: Instruction, parent: Computation) -> Cost:
        """Returns products and collectives of an instruction itself."""
        kind = one.opcode.removesuffix('-start')
        if kind in KINDS:
            return self._collective(kind, one, parent)
        operands = _operands(one, parent)
        if one.opcode == 'dot':
            return Cost(flops=_of_dot(operands[0], one.shapes[0], one.attribute('lhs_contracting_dims')))
        if one.opcode == 'convolution':
            return Cost(flops=_of_convolution(one, operands[0], operands[1]))
        if one.opcode == 'custom-call':
            return _of_kernel(one, operands)
        return Cost()

    def _collective(self, kind: str, one: Instruction, parent: Computation) -> Cost:
        size = sum(shape.bytes for shape in _operands(one, parent))
        if kind == 'collective-permute':
            pairs = [pair for pair in hlo.pairs(one.text) if pair[0] != pair[1]]
            axes = {axis for pair in pairs for axis in hlo.axes_of(pair, self.mesh)}
            found, members = tuple(axis for axis in self.mesh if axis in axes), 2
        else:
            group = next(iter(hlo.groups(one.text)), list(range(math.prod(self.mesh.values()))))
            found, members = hlo.axes_of(group, self.mesh), len(group)
        if members == 1 or not found:
            return Cost()
        whole = size * members if kind == 'all-gather' else size
        channel = one.attribute('channel_id') or f'{parent.name}/{one.name}'
        return Cost(collectives={channel: Collective(kind, found, members, whole, 1.0, one.op)})

    # --- traffic ---

    def _traffic(self, one: Instruction, parent: Computation) -> float:
        """Returns what an instruction reads from the large memory and writes to it."""
        operands = [_whole(name, parent) for name in one.operands]
        written = float(sum(shape.bytes for shape in one.shapes if not shape.space))
        if one.opcode in SLICES:
            return 2 * written
        if one.opcode == 'dynamic-update-slice':
            return 2 * _in_memory(operands[1])
        if one.opcode == 'scatter':
            return 2 * _in_memory(operands[-1])
        if one.opcode.endswith('-start'):
            source = _in_memory(operands[0])
            return source + (0 if one.shapes[0].space else source)
        if one.opcode != 'fusion':
            return written + sum(map(_in_memory, operands))
        (name,) = one.called('calls')
        inside = self.computations[name]
        parameters = {int(i.attribute('value')): i for i in inside.instructions if i.opcode == 'parameter'}
        read = 0.0
        for number, shapes in enumerate(operands):
            most = _in_memory(shapes)
            read += min(most, _read(parameters[number], inside, most)) if most else 0
        return read + _written(one, inside)


def _operands(one: Instruction, parent: Computation) -> list[Shape]:
    return [shape for name in one.operands for shape in _whole(name, parent)]


def _whole(name: str, parent: Computation) -> tuple[Shape, ...]:
    found = parent.by_name.get(name)
    return found.shapes if found else ()


def _in_memory(shapes: tuple[Shape, ...]) -> float:
    return float(sum(shape.bytes for shape in shapes if not shape.space))


def _read(parameter: Instruction, inside: Computation, most: float) -> float:
    """Returns how much of a fusion's operand is read: of one that is only sliced, the slices."""
    total = 0.0
    for user in inside.users.get(parameter.name, ()):
        if user.opcode in SLICES and user.operands[0] == parameter.name:
            total += sum(shape.bytes for shape in user.shapes)
        elif user.opcode == 'dynamic-update-slice' and user.operands[0] == parameter.name:
            continue  # written in place
        elif user.opcode in ('bitcast', 'get-tuple-element'):
            total += _read(user, inside, most)
        else:
            return most
    return total


def _written(one: Instruction, inside: Computation) -> float:
    """Returns what a fusion writes: of an array that it changes in place, what is new."""
    root = inside.by_name[inside.root]
    names = root.operands if root.opcode == 'tuple' else (root.name,)
    if len(names) != len(one.shapes):
        return _in_memory(one.shapes)
    total = 0.0
    for name, shape in zip(names, one.shapes, strict=True):
        while (made := inside.by_name[name]).opcode in ('bitcast', 'copy') and made.operands:
            name = made.operands[0]
        new = made.opcode == 'dynamic-update-slice'
        total += 0 if shape.space else _in_memory(_whole(made.operands[1], inside)) if new else shape.bytes
    return total


# --- products --------------------------------------------------------------------------------------------------------


def _of_dot(left: Shape, out: Shape, contracted: str) -> float:
    return 2.0 * out.size * math.prod(left.dims[int(axis)] for axis in contracted.split(',') if axis)


def _of_convolution(one: Instruction, left: Shape, right: Shape) -> float:
    """On a TPU every matrix product is one: what batched products make of it, windows over zeros, are not counted."""
    labels, _, out_labels = one.attribute('dim_labels').partition('->')
    left_labels, _, right_labels = labels.partition('_')
    out = one.shapes[0]
    window = re.search(r'window=\{([^}]*)\}', one.text)
    settings = dict(part.split('=') for part in window[1].split()) if window else {}
    flops = 2.0 * out.dims[out_labels.index('b')] * out.dims[out_labels.index('f')]
    flops *= right.dims[right_labels.index('i')]
    for number, label in enumerate(sorted(letter for letter in out_labels if letter.isdigit())):

        def setting(name: str, default: str, number: int = number) -> str:
            return settings[name].split('x')[number] if name in settings else default

        flops *= _valid(
            left.dims[left_labels.index(label)],
            out.dims[out_labels.index(label)],
            int(setting('size', '1')),
            int(setting('stride', '1')),
            int(setting('pad', '0_0').split('_')[0]),
            int(setting('lhs_dilate', '1')),
            int(setting('rhs_dilate', '1')),
        )
    return flops


def _valid(size: int, out: int, window: int, stride: int, pad: int, spread: int, reach: int) -> int:
    """Returns how many products of one spatial axis are of numbers, and not of the zeros around and between them."""
    end, count = (size - 1) * spread, 0
    for k in range(window):
        places = range(k * reach - pad, k * reach - pad + out * stride, stride)
        count += sum(0 <= place <= end and place % spread == 0 for place in places)
    return count


def _of_kernel(one: Instruction, operands: list[Shape]) -> Cost:
    name = one.attribute('custom_call_target').strip('"')
    if 'gemm' in name or 'matmul' in name:  # NVIDIA's libraries
        found = re.search(r'"lhs_contracting_dimensions":\[([^\]]*)\]', one.text)
        return Cost(flops=_of_dot(operands[0], one.shapes[0], found[1].replace('"', '') if found else ''))
    arrays = [shape for shape in operands if len(shape.dims) >= 3 and shape.dtype in ('bf16', 'f16', 'f32')]
    if 'fmha' in name and arrays:  # cuDNN's attention, [b t n k] or [b n t k]
        t = arrays[0].dims[-2]
        flops = (10.0 if 'Backward' in name else 4.0) * arrays[0].size * t
        return Cost(flops=flops, kernel_flops=flops)
    if name == 'tpu_custom_call' and 'splash' in one.name + one.op and arrays:
        flops = splash.flops(arrays[0].dims, backward='dkv' in one.name)
        return Cost(flops=flops, kernel_flops=flops)
    if name in ('tpu_custom_call', 'mosaic_gpu', '__gpu$xla.gpu.triton', 'triton_kernel_call'):
        return Cost(unknown=frozenset({one.name}))
    return Cost()
