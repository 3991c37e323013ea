"""A fork server that serves test after test, so that few of them wait for torch to be loaded."""

from __future__ import annotations

import resource
from collections.abc import Iterable, Mapping

from common.runner.scheduling.fork_server import ForkedProcess, ForkServer

_OF_EACH_TEST = "PYTEST_CURRENT_TEST"


class _KeptServer(ForkServer):
    """A server that goes on when its user has ended."""

    def start(self, environment: Mapping[str, str]) -> ForkedProcess | None:
        return super().start({**environment, _OF_EACH_TEST: self._environment[_OF_EACH_TEST]})

    def close(self) -> None:
        """Leaves the server to the next test."""

    def end(self) -> None:
        super().close()

    @property
    def is_there(self) -> bool:
        return self._process.poll() is None


class KeptServers:
    """Stands for the class `ForkServer`: gives the last server again if it is what is asked for."""

    is_possible = staticmethod(ForkServer.is_possible)

    def __init__(self) -> None:
        self._asked: tuple[object, ...] = ()
        self._server: _KeptServer | None = None

    def __call__(self, environment: Mapping[str, str], modules: Iterable[str]) -> ForkServer:
        modules = tuple(modules)
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        asked = {**environment, _OF_EACH_TEST: ""}, modules, limit
        if self._server is None or self._asked != asked or not self._server.is_there:
            self.end()
            self._asked, self._server = asked, _KeptServer(environment, modules)
        return self._server

    def end(self) -> None:
        """Ends the server, if there is one."""
        if self._server is not None:
            self._server.end()
            self._server = None
