"""A compiled program, read from its text: what XLA prints of it, `compiled.as_text()`.

    computations = parse(compiled.as_text())
    for instruction in computations[ENTRY].instructions: …

Only what costs are counted from is read: shapes, operands, called computations, and attributes as they stand.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

ENTRY = ''  # the name under which `parse` gives the computation that a program begins with

BYTES = {'pred': 1, 'token': 0, 'opaque': 0, 's4': 0.5, 'u4': 0.5, 's2': 0.25, 'u2': 0.25}


@dataclass(frozen=True)
class Shape:
    """One array of an instruction's result. `space`: 0 is the large memory of a chip, others are nearer."""

    dtype: str
    dims: tuple[int, ...]
    space: int = 0

    @property
    def size(self) -> int:
        return math.prod(self.dims)

    @property
    def bytes(self) -> int:
        bits = re.search(r'\d+', self.dtype)
        each = BYTES[self.dtype] if self.dtype in BYTES else int(bits[0]) // 8 if bits else 0
        return math.ceil(self.size * each)


@dataclass(frozen=True)
class Instruction:
    name: str
    opcode: str
    shapes: tuple[Shape, ...]  # several where the result is a tuple, nested ones in one row
    operands: tuple[str, ...]
    text: str  # all of its attributes

    def attribute(self, name: str) -> str:
        """Returns an attribute as it stands, '' where it has none: of `dimensions={0,1}` '0,1'."""
        found = re.search(rf'(?:^|[ ,]){name}=(\{{[^{{}}]*\}}|[^,\s]+)', self.text)
        return found[1].strip('{}') if found else ''

    def called(self, name: str) -> list[str]:
        """Returns the computations that an attribute names."""
        found = re.search(rf'(?:^|[ ,]){name}=(\{{[^{{}}]*\}}|%?[\w.\-]+)', self.text)
        return re.findall(r'[\w.\-]+', found[1]) if found else []

    @property
    def op(self) -> str:
        """What the model calls it: 'jit(step)/…/layers/mlp/up/dot_general'; '' where XLA does not know."""
        found = re.search(r'op_name="([^"]*)"', self.text)
        return found[1] if found else ''


@dataclass
class Computation:
    name: str
    instructions: list[Instruction] = field(default_factory=list)
    root: str = ''

    @cached_property
    def by_name(self) -> dict[str, Instruction]:
        return {one.name: one for one in self.instructions}

    @cached_property
    def users(self) -> dict[str, list[Instruction]]:
        """By the name of an instruction, those that it is an operand of."""
        found: dict[str, list[Instruction]] = {}
        for one in self.instructions:
            for operand in dict.fromkeys(one.operands):
                found.setdefault(operand, []).append(one)
        return found


HANDS_ON = ('copy', 'copy-start', 'copy-done', 'bitcast', 'convert')
HEADER = re.compile(r'^(ENTRY )?%?([\w.\-]+) \(.*\) -> .*\{$')
LINE = re.compile(r'^\s+(ROOT )?%?([\w.\-]+) = ')
SHAPE = re.compile(r'([a-z]\w*)\[([\d,<=]*)\](?:\{([^{}]*)\})?')


def parse(text: str) -> dict[str, Computation]:
    """Returns the computations of a module by name; that of its beginning also as `ENTRY`."""
    found: dict[str, Computation] = {}
    current: Computation | None = None
    for line in _whole_lines(text):
        if match := HEADER.match(line):
            current = found[match[2]] = Computation(match[2])
            if match[1]:
                found[ENTRY] = current
        elif current is not None and (match := LINE.match(line)):
            instruction = _instruction(match[2], line[match.end() :])
            current.instructions.append(instruction)
            if match[1]:
                current.root = instruction.name
    return found


def _whole_lines(text: str) -> Iterator[str]:
    """Yields lines; one that goes on in the next, as attributes of kernels do, with what follows it."""
    waiting = ''
    for line in text.splitlines():
        if LINE.match(line) or HEADER.match(line) or line == '}':
            yield waiting
            waiting = line
        else:
            waiting += line
    yield waiting


def _instruction(name: str, rest: str) -> Instruction:
    """Reads 'f32[8]{0} add(%a, %b), metadata={…}'."""
    rest = re.sub(r'/\*.*?\*/', '', rest)
    end = _closing(rest) if rest.startswith('(') else rest.index(' ')
    shapes, rest = rest[:end], rest[end:].lstrip()
    opcode, _, rest = rest.partition('(')
    end = _closing('(' + rest) - 2
    inside, text = rest[:end], rest[end + 1 :].lstrip(', ')
    if opcode in ('constant', 'parameter'):
        return Instruction(name, opcode, shapes_of(shapes), (), f'value={inside}, {text}')
    operands = tuple(re.findall(r'%([\w.\-]+)', inside))
    return Instruction(name, opcode, shapes_of(shapes), operands, text)


def _closing(text: str) -> int:
    """Returns where the parenthesis that a text begins with has been closed."""
    depth = 0
    for place, letter in enumerate(text):
        depth += (letter == '(') - (letter == ')')
        if depth == 0:
            return place + 1
    raise AssertionError(f'no end: {text[:100]}')


def shapes_of(text: str) -> tuple[Shape, ...]:
    """Reads 'f32[4,64]{1,0:T(8,128)S(1)}', or a tuple of such."""
    found = []
    for dtype, dims, layout in SHAPE.findall(text):
        space = re.search(r'S\((\d+)\)', layout)
        sizes = tuple(int(size.lstrip('<=')) for size in dims.split(',') if size)
        found.append(Shape(dtype, sizes, int(space[1]) if space else 0))
    return tuple(found)


# --- loops -----------------------------------------------------------------------------------------------------------


def trips(loop: Instruction, parent: Computation, computations: Mapping[str, Computation]) -> int:
    """Returns how often a `while` turns: as XLA says, or read off its condition; 1 where neither tells."""
    if known := re.search(r'"known_trip_count":\{"n":"(\d+)"\}', loop.text):
        return int(known[1])
    (name,) = loop.called('condition')
    condition = computations[name]
    for compare in _comparisons(condition, computations):
        place, limit, direction = compare
        start = _start(loop, parent, place)
        if start is not None:
            turns = limit - start + (direction == 'LE')
            return max(-(-turns // max(_stride(loop, place, computations), 1)), 0)
    return 1


def _comparisons(condition: Computation, computations: Mapping[str, Computation]) -> Iterator[tuple[int, int, str]]:
    """Yields (place in the carry, limit, direction) of a condition such as carry[place] < limit."""
    root = condition.by_name[condition.root]
    inside, given = condition, {}
    if root.opcode == 'fusion':
        (name,) = root.called('calls')
        inside = computations[name]
        given = {
            one.name: root.operands[int(one.attribute('value'))]
            for one in inside.instructions
            if one.opcode == 'parameter'
        }
        root = inside.by_name[inside.root]
    if root.opcode != 'compare' or (direction := root.attribute('direction')) not in ('LT', 'LE'):
        return

    def outside(name: str) -> Instruction | None:
        name = _through(name, inside)
        return condition.by_name.get(_through(given.get(name, name), condition)) or inside.by_name.get(name)

    left, right = (outside(name) for name in root.operands)
    if left and right and left.opcode == 'get-tuple-element' and right.opcode == 'constant':
        yield int(left.attribute('index')), int(right.attribute('value')), direction


def _through(name: str, computation: Computation) -> str:
    """Follows what only hands its operand on."""
    while (one := computation.by_name.get(name)) and one.opcode in HANDS_ON:
        name = one.operands[0]
    return name


def _start(loop: Instruction, parent: Computation, place: int) -> int | None:
    carry = parent.by_name.get(loop.operands[0])
    if carry is None or carry.opcode != 'tuple':
        return None
    begin = parent.by_name.get(_through(carry.operands[place], parent))
    if begin is None or begin.opcode != 'constant':
        return None
    return int(begin.attribute('value'))


def _stride(loop: Instruction, place: int, computations: Mapping[str, Computation]) -> int:
    (name,) = loop.called('body')
    body = computations[name]
    root = body.by_name[body.root]
    if root.opcode != 'tuple':
        return 1
    after = body.by_name.get(_through(root.operands[place], body))
    if after is None or after.opcode != 'add':
        return 1
    constants = [body.by_name[name] for name in after.operands if body.by_name[name].opcode == 'constant']
    return int(constants[0].attribute('value')) if constants else 1


# --- groups ----------------------------------------------------------------------------------------------------------


def groups(text: str) -> list[list[int]]:
    """Returns the devices that a collective puts together, in each of XLA's three ways to write them.

    {{0,1},{2,3}}; [2,4]<=[4,2]T(1,0); mesh['a'=2,'b'=4] {'b'}. [] where there are none: all are one group.
    """
    if found := LISTED.search(text):
        return [[int(n) for n in group.split(',') if n] for group in re.findall(r'\{([\d,]*)\}', found[1])]
    if found := COUNTED.search(text):
        return _iota(found[1])
    if found := OF_MESH.search(text):
        return _of_mesh(found[1], found[2] or '', found[3])
    return []


IOTA = r'\[[\d,]+\]<=\[[\d,]+\](?:T\([\d,]+\))?'
LISTED = re.compile(r'replica_groups=\{(\{[\d,]*\}(?:,\{[\d,]*\})*)\}')
COUNTED = re.compile(rf'replica_groups=({IOTA})')
OF_MESH = re.compile(rf'replica_groups=mesh\[([^\]]*)\](?: ?, ?device_ids=\(?({IOTA})\)?)? \{{([^}}]*)\}}')


def _iota(text: str) -> list[list[int]]:
    import numpy as np

    shape, dims, order = re.fullmatch(r'\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?', text).groups()  # type: ignore[union-attr]
    numbers = np.arange(math.prod(_ints(dims))).reshape(_ints(dims))
    if order:
        numbers = numbers.transpose(_ints(order))
    return numbers.reshape(_ints(shape)).tolist()


def _of_mesh(mesh: str, devices: str, over: str) -> list[list[int]]:
    import numpy as np

    axes = {name: int(size) for name, size in re.findall(r"'([^']*)'=(\d+)", mesh)}
    numbers = np.array(_iota(devices)).reshape(-1) if devices else np.arange(math.prod(axes.values()))
    names, sizes, wanted = list(axes), list(axes.values()), []
    for name, before, size in re.findall(r"'([^']*)'(?::\((\d+)\)(\d+))?", over):
        place = names.index(name)
        if size:  # a part of an axis: what is before it, itself, what is after it
            parts = [int(before), int(size), sizes[place] // int(before) // int(size)]
            names[place : place + 1] = [f'{name}<', f'{name}=', f'{name}>']
            sizes[place : place + 1] = parts
            name = f'{name}='
        wanted.append(name)
    grid = numbers.reshape(sizes)
    last = [names.index(name) for name in wanted]
    grid = np.moveaxis(grid, last, range(-len(last), 0))
    return grid.reshape(-1, math.prod(sizes[place] for place in last)).tolist()


def _ints(text: str) -> list[int]:
    return [int(part) for part in text.split(',')]


def pairs(text: str) -> list[tuple[int, int]]:
    """Returns (from, to) of a `collective-permute`."""
    found = re.search(r'source_target_pairs=\{(.*?\})\}', text)
    return [(int(a), int(b)) for a, b in re.findall(r'\{(\d+),(\d+)\}', found[1])] if found else []


def axes_of(members: Sequence[int], shape: Mapping[str, int]) -> tuple[str, ...]:
    """Returns the mesh axes that devices of a group differ in; they are counted along the mesh, its last axis first."""
    import numpy as np

    places = np.unravel_index(np.asarray(members), tuple(shape.values()))
    return tuple(axis for axis, place in zip(shape, places, strict=True) if len(set(place.tolist())) > 1)
