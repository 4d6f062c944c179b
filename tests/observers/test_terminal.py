"""A real process in a real terminal (a pseudo-terminal of 80 × 24): Ctrl-C, and going on."""

import fcntl
import os
import re
import select
import struct
import subprocess
import sys
import termios
import time

import pytest

from jaxlab.checkpoint import Checkpoints
from tests.experiments import ROOT, TRANSFORMER, write_corpus

# Makes a terminal the process's own, so that Ctrl-C typed there is a signal to it, and then becomes the command.
LOGIN = 'import os, sys; os.login_tty(int(sys.argv[1])); os.execv(sys.argv[2], sys.argv[2:])'
ESCAPE = re.compile(r'\x1b(\[[0-9;?]*[A-Za-z])')


class Session:
    """A process that has a terminal of its own, and what it wrote there."""

    def __init__(self, folder, *flags: str):
        self.master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 80, 0, 0))
        self.before = termios.tcgetattr(slave)
        environment = {**os.environ, 'TERM': 'xterm-256color', 'JAXLAB_CACHE': str(folder / 'cache')}
        environment |= {'XLA_FLAGS': '', 'COLUMNS': '', 'LINES': ''}
        command = [sys.executable, '-m', 'jaxlab.main', f'--config={TRANSFORMER}:tiny', *flags]
        self.process = subprocess.Popen(
            [sys.executable, '-c', LOGIN, str(slave), *command], cwd=ROOT, env=environment, pass_fds=[slave]
        )
        self.slave, self.written = slave, ''

    def read(self, until: str = '') -> str:
        """Reads until a text appears on the screen, or to the end of the process."""
        end = time.monotonic() + 240
        while time.monotonic() < end:
            if until and until in ESCAPE.sub('', self.written):
                return self.written
            if select.select([self.master], [], [], 0.2)[0]:
                self.written += os.read(self.master, 65536).decode('utf-8', 'replace')
            elif self.process.poll() is not None:
                return self.written
        raise AssertionError(f'nothing came: {self.written[-2000:]}')

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def session(tmp_path):
    write_corpus(tmp_path / 'corpus')
    opened = []

    def start(*flags: str) -> Session:
        always = [f'--workdir={tmp_path / "run"}', f'--config.data.path={tmp_path / "corpus"}', '--config.log.every=1']
        opened.append(Session(tmp_path, *always, *flags))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


def test_ctrl_c_saves_and_gives_the_terminal_back(session, tmp_path):
    first = session('--config.steps=100000', '--config.checkpoint.every=100000', '--config.evaluate.every=0')
    first.read(until='tokens/s')
    assert re.search(r'compiling the step … \d+\.\d s', first.written), 'it ticked'
    os.write(first.master, b'\x03')  # what Ctrl-C types; the terminal makes a signal of it
    text = first.read()
    assert first.process.wait() == 130
    assert 'SIGINT: saving, then ending' in text
    assert text.rindex('\x1b[?25h') > text.rindex('\x1b[?25l'), 'the cursor can be seen'
    assert termios.tcgetattr(first.slave) == first.before
    assert not text.partition('\x1b[?1049h')[1], 'it stays on the screen that one scrolls back'
    lines = ESCAPE.sub('', text).split('\r\n')
    assert lines[-1] == '' and lines[-2].endswith(f'train --workdir={tmp_path / "run"}'), 'no half line'
    saved = Checkpoints(tmp_path / 'run').latest()
    assert saved and f'step {saved:>6}/100000' in ESCAPE.sub('', text), 'the line of the last step stays'

    second = session(f'--config.steps={saved + 3}', '--config.log.sample_every=0', '--config.evaluate.every=0')
    text = ESCAPE.sub('', second.read())
    assert second.process.wait() == 0
    assert f'resumed at step {saved}\r\n' in text and f'step {saved + 3}/{saved + 3}' in text
