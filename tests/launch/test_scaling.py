"""How training scales: which meshes are looked at, what is said of them, and that they train the same."""

import pytest
import scaling


class Worker:
    """A process that says what it is told to: one device makes 1,000 tokens a second, and several lose a part."""

    def __init__(self, mesh, losses=(2.0, 1.0), peak=0.0):
        self.devices = 1
        for size in mesh.values():
            self.devices *= size
        self.said = {
            'devices': 8,
            'tokens': 1000 * self.devices,
            'rows': 4 * self.devices,
            'losses': list(losses),
            'flops': 3e12 * self.devices,
            'peak': peak,
        }
        self.calls, self.closed = 0, False

    def __call__(self):
        self.calls += 1
        return 100.0 if self.calls == 1 else 1.0 if self.devices == 1 else 1.25  # the first is a warm-up

    def close(self):
        self.closed = True


def test_each_mesh_is_measured_alone_and_beside_one_device(capsys):
    started = []

    def start(mesh):
        assert all(worker.closed for worker in started), 'two would share the memory'
        started.append(Worker(mesh, peak=6e12))
        return started[-1]

    found = scaling.measure(start, 4, scaling.parse('data=8;data=2,fsdp=4'), 3)
    assert list(found) == ['data 1', 'data 8', 'data 2 × fsdp 4'] and [worker.calls for worker in started] == [4] * 3
    one, all_of_them = found['data 1'], found['data 8']
    assert (one['rate'], one['of_one'], one['mfu'], one['devices']) == (1000, 1, 0.5, 1)
    assert (all_of_them['rate'], all_of_them['each'], all_of_them['of_one']) == (6400, 800, 0.8)
    assert all_of_them['mfu'] == 0.4 and all_of_them['devices'] == 8
    assert '6,400 tokens/s' in capsys.readouterr().out


def test_what_the_peak_is_not_known_of_has_no_mfu():
    found = scaling.measure(Worker, 4, [{'fsdp': 2}], 1)
    assert list(found) == ['data 1', 'fsdp 2'] and not any('mfu' in row for row in found.values())


def test_meshes_that_train_something_else_are_noticed():
    def start(mesh):
        return Worker(mesh, losses=(2.0, 1.5 if 'fsdp' in mesh else 1.0))

    with pytest.raises(AssertionError, match=r'losses are 0\.5 apart'):
        scaling.measure(start, 4, scaling.parse('data=8;fsdp=8'), 1)
    scaling.measure(start, 4, scaling.parse('data=8;fsdp=4'), 1)  # of other batches there is nothing to compare


def test_the_usual_ones():
    assert scaling.usual(1, 4) == []
    assert scaling.usual(2, 4) == [{'data': 2}, {'fsdp': 2}, {'tensor': 2}]
    found = scaling.usual(8, 4)
    assert {'data': 8} in found and {'fsdp': 8} in found and {'tensor': 4} in found and {'data': 2, 'fsdp': 4} in found
    assert {'tensor': 8} not in found  # 4 heads
    assert {'data': 6} in scaling.usual(6, 4) and {'data': 4} in scaling.usual(6, 4)


@pytest.mark.parametrize('text', ['', 'data', 'data=0', 'data=2;', 'stage=2', 'data=2 fsdp=2', 'data=-1'])
def test_what_is_no_mesh_is_refused(text):
    with pytest.raises(SystemExit, match='is wanted'):
        scaling.parse(text)
