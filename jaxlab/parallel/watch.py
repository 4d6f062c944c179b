"""Where one of several processes is gone, all end within seconds, and one sentence says why.

Each process holds a connection to process 0. The kernel closes it with the process, however that ends, and looks after
hosts that lost their power or network (keep-alive): so nothing has to beat, and a process that is only busy, stopped or
short of time is never taken for dead. Whoever ends by itself and alone says why first.

Process 0 says it for all; where process 0 itself is gone, process 1 does.
"""

import json
import os
import secrets
import selectors
import socket
import sys
import threading
import time
from contextlib import suppress
from typing import Any

from jaxlab.errors import UserError
from jaxlab.messages import say
from jaxlab.trust.secrets import hidden

AGAIN = 75  # exit code, EX_TEMPFAIL of sysexits.h: whoever is told so starts all again; see `jaxlab.trust.watchdog`
IDLE, EVERY, TIMES = 4, 2, 3  # seconds of keep-alive: a host that does not answer is gone after 10
BROKEN = 8.0  # seconds after which a failure of what all compute together is this process's own
LINGER = 2.0  # seconds between saying why one ends and ending: the others have heard it then


class Watch:
    """The connections of one process; a context. Where an exception ends it, this process and all others end.

    Args:
      process: the number of this one.
      processes: how many there are.
      listens: where the others connect to, in process 0.
      address: what the others are told: JSON of hosts, port and a word that only they know.
    """

    def __init__(self, process: int, processes: int, listens: socket.socket | None, address: str) -> None:
        self.address = address
        self._process, self._processes, self._listens = process, processes, listens
        self._links: dict[socket.socket, dict[str, Any]] = {}
        self._ready = selectors.DefaultSelector()
        self._ending = threading.Lock()  # one sentence, and one end
        self._thread = threading.Thread(target=self._watch, name='processes', daemon=True)

    @classmethod
    def of_first(cls, processes: int, host: str = '') -> 'Watch':
        """Returns the watch of process 0.

        Args:
          processes: how many there are.
          host: what the others call this machine; '': what it calls itself.
        """
        both = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if both else socket.AF_INET
        listens = socket.create_server(('', 0), family=family, backlog=processes, dualstack_ipv6=both)
        address = json.dumps([host or socket.gethostname(), listens.getsockname()[1], secrets.token_hex(16)])
        return cls(0, processes, listens, address)

    @classmethod
    def of_other(cls, process: int, processes: int, address: str) -> 'Watch':
        """Returns the watch of another process, by the address of the first."""
        return cls(process, processes, None, address)

    def __enter__(self) -> 'Watch':
        host, port, word = json.loads(self.address)
        if self._listens:
            self._ready.register(self._listens, selectors.EVENT_READ)
        else:
            with suppress(OSError):  # a network that lets through JAX alone: JAX ends the process, later
                link = socket.create_connection((host, port), timeout=30)
                link.settimeout(None)
                self._keep(link, {'process': 0, 'host': host})
                _send(link, {'word': word, 'process': self._process, 'host': socket.gethostname()})
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, *trace: object) -> None:
        if error is not None:
            self.leave(error)
        self._ending.acquire()  # whatever the others do now, this one is done
        self._say({'done': True})

    def leave(self, error: BaseException) -> None:
        """Ends this process, and with it all others, for what an exception says. Does not return."""
        if not isinstance(error, UserError | SystemExit | KeyboardInterrupt):
            # What all compute together fails everywhere when one is gone: the watch ends this process meanwhile.
            time.sleep(BROKEN)
        self._ending.acquire()
        code = 2 if isinstance(error, UserError) else 130 if isinstance(error, KeyboardInterrupt) else 1
        why = str(error) if isinstance(error, UserError) else f'{type(error).__name__}: {_first_line(error)}'
        if not isinstance(error, UserError | KeyboardInterrupt):
            sys.excepthook(type(error), error, error.__traceback__)
        elif self._process == 0:
            tell(why)
        self._say({'end': [self._process, socket.gethostname(), code, why]})
        time.sleep(LINGER)
        end(code)

    # --- the thread --------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        while True:
            for key, _ in self._ready.select():
                if key.fileobj is self._listens:
                    self._take()
                else:
                    self._hear(key.fileobj)

    def _take(self) -> None:
        """Takes a connection; whose it is, it says first."""
        assert self._listens is not None
        with suppress(OSError):
            link, _ = self._listens.accept()
            self._keep(link, {'process': -1, 'host': ''})

    def _keep(self, link: socket.socket, about: dict[str, Any]) -> None:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (('TCP_KEEPIDLE', IDLE), ('TCP_KEEPINTVL', EVERY), ('TCP_KEEPCNT', TIMES)):
            if hasattr(socket, name):  # not on every system
                link.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        self._links[link] = about | {'heard': b''}
        self._ready.register(link, selectors.EVENT_READ)

    def _hear(self, link: Any) -> None:
        """Hears what another says; that it is gone, too."""
        about = self._links[link]
        try:
            data = link.recv(1 << 16)
        except OSError:
            data = b''
        if not data:
            self._ready.unregister(link)
            del self._links[link]
            if about['process'] >= 0 and 'done' not in about:
                self._lost(about['process'], about['host'])
            return
        *lines, about['heard'] = (about['heard'] + data).split(b'\n')
        for line in lines:
            said = json.loads(line)
            if about['process'] < 0:
                if said.pop('word', '') != json.loads(self.address)[2]:
                    self._ready.unregister(link)
                    del self._links[link]
                    return
                about |= said
            elif 'end' in said:
                self._told(*said['end'])
            else:
                about |= said

    def _lost(self, process: int, host: str) -> None:
        """Ends this process, since another is gone."""
        self._ending.acquire()
        why = say(
            'process {process} of {processes} on {host} is gone, and so all end. The same command goes on from the'
            ' newest checkpoint.',
            process=process,
            processes=self._processes,
            host=host,
        )
        if self._process == 0:
            self._say({'end': [process, host, AGAIN, why]})
        time.sleep(LINGER)  # the others hear it; and a launcher on this machine sees more, says that, and ends all
        if self._process == (0 if process else 1):
            tell(why)
        end(AGAIN)

    def _told(self, process: int, host: str, code: int, why: str) -> None:
        """Ends this process, since another has said why it ends."""
        self._ending.acquire()
        if self._process == 0:
            tell(
                say(
                    'process {process} of {processes} on {host} has ended, and so do all: {why}',
                    process=process,
                    processes=self._processes,
                    host=host,
                    why=why,
                )
            )
        self._leave_as([process, host, code, why])

    def _leave_as(self, why: list[Any]) -> None:
        if self._process == 0:
            self._say({'end': why})
            time.sleep(LINGER)
        end(why[2])

    def _say(self, what: dict[str, Any]) -> None:
        for link in [*self._links]:
            with suppress(OSError):
                _send(link, what)


def _send(link: socket.socket, what: dict[str, Any]) -> None:
    link.sendall(json.dumps(what).encode() + b'\n')


def tell(sentence: str) -> None:
    """Says a sentence as `jaxlab.main` says the user's mistakes."""
    with suppress(OSError, ValueError):
        print(f'jaxlab: {hidden(sentence)}', file=sys.stderr, flush=True)


def end(code: int) -> None:
    """Ends the process without what waits for others at the end of a Python program."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [''])[0][:300] or type(error).__name__
