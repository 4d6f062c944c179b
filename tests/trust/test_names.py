"""A name that somebody else chose stays in its folder."""

import pytest

from jaxlab.trust.names import inside


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'secret').write_text('secret')
    (tmp_path / 'other').mkdir()
    (tmp_path / 'other/secret').write_text('secret')
    (tmp_path / 'home/below').mkdir(parents=True)
    (tmp_path / 'home/below/file').write_text('mine')
    (tmp_path / 'home/link').symlink_to(tmp_path / 'secret')
    (tmp_path / 'home/folder').symlink_to(tmp_path / 'other')
    (tmp_path / 'home/dangling').symlink_to(tmp_path / 'nothing')
    (tmp_path / 'home/within').symlink_to('below/file')
    return tmp_path / 'home'


def test_what_lies_there_is_found(folder):
    assert inside(folder, 'below/file').read_text() == 'mine' and inside(folder, 'within').read_text() == 'mine'
    assert inside(folder, 'not/there/yet') == folder / 'not/there/yet' and inside(folder, '...') == folder / '...'


@pytest.mark.parametrize(
    'name',
    [
        *('..', '../secret', 'below/../../secret', 'below/..', '.', './below/file', 'below/./file', 'below//file', ''),
        *(
            '/etc/passwd',
            '//server/file',
            'C:\\file',
            'C:file',
            '..\\secret',
            'below\\..\\..\\secret',
            'below/',
            'a\0b',
        ),
        *('link', 'folder', 'folder/secret', 'folder/new', 'dangling', 'below/../link'),
    ],
)
def test_what_leaves_is_refused(folder, name):
    with pytest.raises(ValueError):
        inside(folder, name)


def test_a_folder_may_itself_be_reached_by_a_link(folder, tmp_path):
    """As where all runs lie on another disk."""
    (tmp_path / 'runs').symlink_to(folder)
    assert inside(tmp_path / 'runs', 'below/file').read_text() == 'mine'
    with pytest.raises(ValueError):
        inside(tmp_path / 'runs', 'link')
