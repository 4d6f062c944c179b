"""N processes on this machine, over Gloo, that train as one: started together, told together, ended together.

python -m jaxlab.parallel.group N [--cpu_devices=K] [--dry_run] [arguments of jaxlab.main]

Process 0 has the screen; what the others print is kept, and shown where one of them ends first and nobody says why. The
first Ctrl-C or SIGTERM is handed to process 0, of whom all others hear; a second one ends all at once.
"""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

from jaxlab.errors import UserError
from jaxlab.messages import say

GLANCE = 0.1  # seconds between two looks
GRACE = 10.0  # seconds that the others have to end by themselves, where one has said why it ends
LINES = 12  # of what a process has printed, at most
HANDED_ON = (signal.SIGINT, signal.SIGTERM)
ASKED = (0, 128 + signal.SIGINT, 128 + signal.SIGTERM)  # exit codes of a run that ended as it should


def main(arguments: Sequence[str]) -> int:
    """Runs a command line; returns the exit code.

    Raises:
      UserError: it cannot be read.
    """
    if not arguments or not re.fullmatch(r'[1-9]\d*', arguments[0]):
        raise UserError(
            'launch/cluster.sh {given}: the number of processes comes first, as in launch/cluster.sh 2'
            ' --cpu_devices=4.',
            given=arguments[0] if arguments else '',
        )
    count, devices, rest, dry_run = int(arguments[0]), 1, [], False
    for argument in arguments[1:]:
        if found := re.fullmatch(r'--cpu_devices=([1-9]\d*)', argument):
            devices = int(found[1])
        elif argument == '--dry_run':
            dry_run = True
        else:
            rest.append(argument)
    if rest and not rest[0].startswith('-') and rest[0] != 'train':
        raise UserError('launch/cluster.sh: {verb} is for one process; several can train.', verb=rest[0])
    command = [sys.executable, '-m', 'jaxlab.main', *rest]
    port = free_port()
    variables = [variables_of(process, count, devices, port) for process in range(count)]
    if dry_run:
        for own in variables:
            print(' '.join([*(f'{name}={shlex.quote(value)}' for name, value in own.items()), shlex.join(command)]))
        return 0
    with tempfile.TemporaryDirectory(prefix='jaxlab-') as folder:
        return Group(command, variables, Path(folder)).run()


def variables_of(process: int, count: int, devices: int, port: int) -> dict[str, str]:
    """Returns what one process is told; see cluster.py."""
    flags = re.sub(r'--xla_force_host_platform_device_count=\d+', '', os.environ.get('XLA_FLAGS', ''))
    return {
        'JAXLAB_COORDINATOR': f'localhost:{port}',
        'JAXLAB_PROCESSES': str(count),
        'JAXLAB_PROCESS': str(process),
        'JAXLAB_DEVICES': str(count * devices),
        'JAX_PLATFORMS': 'cpu',
        'XLA_FLAGS': f'{flags} --xla_force_host_platform_device_count={devices}'.strip(),
        'TF_CPP_MIN_LOG_LEVEL': os.environ.get('TF_CPP_MIN_LOG_LEVEL', '3'),  # what is said is said by us
    }


def free_port() -> int:
    """Returns a port that nobody listens on."""
    with socket.socket() as free:
        free.bind(('localhost', 0))
        return free.getsockname()[1]


class Group:
    """The processes.

    Args:
      command: what each runs.
      variables: what each is told beside the variables of this one.
      folder: for what processes print that have no screen.
    """

    def __init__(self, command: Sequence[str], variables: Sequence[Mapping[str, str]], folder: Path) -> None:
        self._command, self._variables, self._folder = command, variables, folder
        self._running: list[subprocess.Popen[bytes]] = []
        self._codes: dict[int, int] = {}  # of those that have ended, in that order
        self._heard = 0

    def run(self) -> int:
        """Starts all, and waits for their end; returns the exit code."""
        before = {number: signal.signal(number, self._handle) for number in HANDED_ON}
        try:
            for process, own in enumerate(self._variables):
                self._running.append(self._start(process, own))
            return self._wait()
        finally:
            self._kill()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _start(self, process: int, own: Mapping[str, str]) -> 'subprocess.Popen[bytes]':
        environment = {**os.environ, **own}
        if process == 0:  # each in a session of its own: Ctrl-C is for this one
            return subprocess.Popen(self._command, env=environment, start_new_session=True)
        with self._log(process).open('wb') as log:
            return subprocess.Popen(
                self._command,
                env=environment,
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _log(self, process: int) -> Path:
        return self._folder / f'{process}.log'

    def _wait(self) -> int:
        until = None  # those that are left have so long to end by themselves
        while len(self._codes) < len(self._running):
            for process, child in enumerate(self._running):
                if process not in self._codes and (code := child.poll()) is not None:
                    self._codes[process] = code
                    if code < 0:
                        return self._killed(process, -code)
                    if code not in ASKED and until is None:
                        until = time.monotonic() + GRACE
            if until is not None and time.monotonic() > until:
                break
            time.sleep(GLANCE)
        bad = {process: code for process, code in self._codes.items() if code not in ASKED}
        if not bad:
            return self._codes[0]
        first, code = next(iter(bad.items()))
        if 0 not in self._codes:
            self._kill()
            about = {'process': first, 'processes': len(self._running), 'code': code}
            _tell(say('process {process} of {processes} ended with code {code}, and so all end. It said:', **about))
            lines = self._log(first).read_text('utf-8', 'replace').splitlines()
            print('\n'.join(lines[-LINES:]), file=sys.stderr, flush=True)
        return code

    def _killed(self, process: int, number: int) -> int:
        """Ends all, since a signal has ended one; returns the exit code."""
        self._kill()  # first: what they have to say of it is the same
        if not self._heard:
            _tell(
                say(
                    'process {process} of {processes} was ended by {signal}, and so all end. The same command goes on'
                    ' from the newest checkpoint.',
                    process=process,
                    processes=len(self._running),
                    signal=signal.Signals(number).name,
                )
            )
        return 128 + (self._heard or number)

    def _kill(self) -> None:
        for child in self._running:
            if child.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
        for child in self._running:
            child.wait()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._heard:
            self._kill()
            return
        self._heard = number
        name = signal.Signals(number).name
        with suppress(RuntimeError, OSError):  # it came in the middle of another print, or nobody reads
            print('\n' + say('{name}: saving, then ending; once more ends at once', name=name), flush=True)
        if self._running and self._running[0].poll() is None:
            self._running[0].send_signal(signal.SIGTERM)  # JAX tells the others


def _tell(sentence: str) -> None:
    print(f'jaxlab: {sentence}', file=sys.stderr, flush=True)


if __name__ == '__main__':
    try:
        sys.exit(main(sys.argv[1:]))
    except UserError as error:
        _tell(str(error))
        sys.exit(2)
