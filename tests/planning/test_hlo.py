"""Programs read from their text: shapes, loops, groups of devices."""

import pytest

from jaxlab.planning import hlo

MESH = {'data': 2, 'fsdp': 2, 'tensor': 2}

PROGRAM = """HloModule jit_f, is_scheduled=true

%body.1 (carry: (s32[], f32[8])) -> (s32[], f32[8]) {
  %carry = (s32[], f32[8]{0}) parameter(0)
  %n = s32[] get-tuple-element(%carry), index=0
  %two = s32[] constant(2)
  %next = s32[] add(%n, %two)
  %x = f32[8]{0} get-tuple-element(%carry), index=1
  ROOT %both = (s32[], f32[8]{0}) tuple(%next, %x)
}

%condition.1 (carry.1: (s32[], f32[8])) -> pred[] {
  %carry.1 = (s32[], f32[8]{0}) parameter(0)
  %n.1 = s32[] get-tuple-element(%carry.1), index=0
  %limit = s32[] constant(11)
  ROOT %less = pred[] compare(%n.1, %limit), direction=LT
}

ENTRY %main.2 (x.1: f32[8]) -> f32[8] {
  %x.1 = f32[8]{0:T(256)S(1)} parameter(0), metadata={op_name="x"}
  %zero = s32[] constant(1)
  %begin = (s32[], f32[8]{0}) tuple(%zero, %x.1)
  %loop = (s32[], f32[8]{0}) while(%begin), condition=%condition.1, body=%body.1, metadata={op_name="jit(f)/while"}
  %kernel = (bf16[2,4]{1,0:T(8,128)(2,1)}, s8[3]{0}) custom-call(%x.1, /*index=1*/%zero), custom_call_target="it", \
frontend_attributes={kernel_metadata={
"more":"{\\"block\\": 512}"
}}, metadata={op_name="jit(f)/kernel"}
  ROOT %y = f32[8]{0} get-tuple-element(%loop), index=1
}
"""


def test_instructions():
    entry = hlo.parse(PROGRAM)[hlo.ENTRY]
    assert (entry.name, entry.root, len(entry.instructions)) == ('main.2', 'y', 6)
    kernel = entry.by_name['kernel']
    assert [(shape.dtype, shape.dims, shape.bytes) for shape in kernel.shapes] == [
        ('bf16', (2, 4), 16),
        ('s8', (3,), 3),
    ]
    assert (kernel.operands, kernel.op) == (
        ('x.1', 'zero'),
        'jit(f)/kernel',
    )  # attributes of several lines are read over
    assert entry.by_name['x.1'].shapes[0].space == 1
    assert [one.name for one in entry.users['x.1']] == ['begin', 'kernel']


def test_a_loop_whose_turns_nobody_says():
    """From 1, by 2, below 11."""
    computations = hlo.parse(PROGRAM)
    entry = computations[hlo.ENTRY]
    assert hlo.trips(entry.by_name['loop'], entry, computations) == 5
    inclusive = hlo.parse(PROGRAM.replace('direction=LT', 'direction=LE'))
    assert hlo.trips(entry.by_name['loop'], inclusive[hlo.ENTRY], inclusive) == 6
    limit = '%limit = s32[] '
    unknown = hlo.parse(PROGRAM.replace(f'{limit}constant(11)', f'{limit}get-tuple-element(%carry.1), index=0'))
    assert hlo.trips(entry.by_name['loop'], unknown[hlo.ENTRY], unknown) == 1


@pytest.mark.parametrize(
    ('text', 'first', 'axes'),
    [
        ('replica_groups={{0,1},{2,3},{4,5},{6,7}}', [0, 1], ('tensor',)),
        ('replica_groups={{0,2,4,6},{1,3,5,7}}', [0, 2, 4, 6], ('data', 'fsdp')),
        ('replica_groups=[1,8]<=[8]', [0, 1, 2, 3, 4, 5, 6, 7], ('data', 'fsdp', 'tensor')),
        ('replica_groups=[4,2]<=[4,2]T(1,0)', [0, 2], ('fsdp',)),
        ('replica_groups=[4,2]<=[2,4]T(1,0)', [0, 4], ('data',)),
        ("replica_groups=mesh['axis_0'=4,'axis_1'=2] {'axis_0'}", [0, 2, 4, 6], ('data', 'fsdp')),
        ("replica_groups=mesh['axis_0'=8] {'axis_0'}", [0, 1, 2, 3, 4, 5, 6, 7], ('data', 'fsdp', 'tensor')),
        ("replica_groups=mesh['a'=8] {'a':(2)2}", [0, 2], ('fsdp',)),
    ],
)
def test_groups(text, first, axes):
    found = hlo.groups(f'channel_id=1, {text}, dimensions={{0}}')
    assert found[0] == first and sorted(member for group in found for member in group) == list(range(8))
    assert {hlo.axes_of(group, MESH) for group in found} == {axes}


def test_pairs():
    assert hlo.pairs('channel_id=9, source_target_pairs={{0,7},{1,0}}, x={}') == [(0, 7), (1, 0)]
