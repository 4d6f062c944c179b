"""AdamW on an accelerator: one kernel for each parameter, which reads and writes every number once."""

import importlib.util
from collections import Counter

import jax
import pytest

from jaxlab.planning import compiler, drawing, hlo
from tests.experiments import tiny

pytestmark = pytest.mark.skipif(importlib.util.find_spec('libtpu') is None, reason='wants libtpu')

MOMENTS = 2
SIZE = {'model__layers': 8, 'model__width': 256, 'model__scan': True, 'steps_per_call': 1, 'mesh__fsdp': 4}


def kernels(config):
    """Returns of how many kernels each number of arrays is written; those of single numbers are left out.

    They are those of the update: of what is done where the judgement of the step allows it.
    """
    program = hlo.parse(compiler.elsewhere(config, 'v5e:2x2').dump.text)
    branches = [
        program[name].instructions
        for computation in program.values()
        for one in computation.instructions
        if one.opcode == 'conditional'
        for name in one.called('branch_computations')
    ]
    update = max(branches, key=lambda found: sum(one.opcode == 'fusion' for one in found))
    written = [sum(shape.size > 1 for shape in one.shapes) for one in update if one.opcode == 'fusion']
    return Counter(filter(None, written))


@pytest.mark.parametrize('average', [0.0, 0.9])
def test_one_for_each_parameter(corpus, average):
    """However many layers there are. The moving averages of the parameters are written by the same kernels."""
    config = tiny(corpus, **SIZE, average=average, optimizer__weight_decay=0.1)
    parameters = len(jax.tree.leaves(drawing.draw(tiny(corpus, **SIZE)).plan.abstract.params))
    assert kernels(config) == {1 + MOMENTS + (average > 0): parameters}
