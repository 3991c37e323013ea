"""A fork server that serves test after test, so that few of them wait for torch to be loaded."""

from __future__ import annotations

import resource
import select
from collections.abc import Iterable, Mapping

from common.runner.scheduling.fork_server import ForkServer

_OF_EACH_TEST = "PYTEST_CURRENT_TEST"


class _KeptServer(ForkServer):
    """A server that goes on when its user has ended."""

    def serves(self, environment: Mapping[str, str]) -> bool:
        return super().serves({**environment, _OF_EACH_TEST: self._environment[_OF_EACH_TEST]})

    def close(self) -> None:
        """Leaves the server to the next test."""

    def end(self) -> None:
        super().close()

    @property
    def is_there(self) -> bool:
        """Whether it goes on: it says nothing here but its end."""
        return not select.select([self._socket], [], [], 0)[0]


class KeptServers:
    """Stands for the class `ForkServer`: gives the last server again if it does what is asked for.

    It does if it has the environment and the modules; it may have loaded more, for earlier tests.
    """

    is_possible = staticmethod(ForkServer.is_possible)

    def __init__(self) -> None:
        self._asked: tuple[object, ...] = ()
        self._modules: dict[str, None] = {}
        self._server: _KeptServer | None = None

    def __call__(self, environment: Mapping[str, str], modules: Iterable[str]) -> ForkServer:
        needed = self._modules | dict.fromkeys(modules)
        asked = {**environment, _OF_EACH_TEST: ""}, resource.getrlimit(resource.RLIMIT_FSIZE)
        is_it = self._asked == asked and self._modules == needed
        if self._server is None or not is_it or not self._server.is_there:
            self.end()
            self._server = _KeptServer(environment, needed)
            self._asked, self._modules = asked, needed
        return self._server

    def end(self) -> None:
        """Ends the server, if there is one."""
        if self._server is not None:
            self._server.end()
            self._server = None
