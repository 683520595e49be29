"""The server process of the embedded AWS: moto's application behind cheroot's HTTP server.

:class:`infra_scripts.embedded.EmbeddedAws` starts it as a child. It writes its port to standard
output once it answers, and ends when its standard input ends: with its parent, however that dies.
"""

import io
import os
import signal
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from threading import RLock, Thread
from typing import Any, Final
from wsgiref.types import StartResponse, WSGIEnvironment

from cheroot.wsgi import Server
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

from infra_scripts.embedded import events, listing, queue, statistics
from infra_scripts.embedded.access import Access

HOST = "127.0.0.1"
THREADS = 128  # each long poll occupies one for up to 20 s
BACKLOG = 1024  # with cheroot's 5, a client that opens ten connections at once waited 1 s
IDLE_SECONDS = 120  # how long a kept-alive connection may be idle
CONNECTIONS = 1000  # kept alive; a service has 20, so with cheroot's 10 most requests open one
PRELOADED: Final = ("s3", "sqs")  # moto needs half a second for the first use of a service


class Application(DomainDispatcherApplication):
    """moto's dispatcher, faster, and with S3 requests one at a time.

    For every request moto searches the directories of its 180 services, which takes longer than
    answering it, and always finds the same. Its S3 checks and writes in two steps, so that two
    conditional writes could both succeed, and overwriting an object cut off whoever was reading it.
    """

    def __init__(self) -> None:
        super().__init__(_create_app)
        self._s3 = RLock()
        for service in PRELOADED:
            self.app_instances[service] = create_backend_app(service)

    @cache  # noqa: B019 -- there is one instance, and it lives as long as the process
    def get_backend_for_host(self, host: str | None) -> Any:
        """What moto finds, remembered."""
        return super().get_backend_for_host(host)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ["RAW_URI"] = environ["REQUEST_URI"]  # else moto decodes "%20" inside a key
        application = self.get_application(environ)
        if application is not self.app_instances["s3"]:
            return application(environ, start_response)
        environ["PATH_INFO"] = environ["RAW_URI"].partition("?")[0]
        # A slow sender must not hold the lock.
        environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read())
        with self._s3:
            return application(environ, start_response)


def _create_app(service: Any) -> Any:
    if service == "cloudformation":
        # Only now: moto's imports two dozen other services, which takes a second.
        from infra_scripts.embedded import cloudformation

        cloudformation.install()
    return create_backend_app(service)


def _end_with_parent() -> None:
    while sys.stdin.buffer.read(1024):
        pass
    os._exit(0)


def main() -> None:
    """Serve until standard input ends; the arguments are the port, 0 for a free one, and a file.

    The file, which may be left out, gets the calls, see :mod:`.access`.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    queue.install()
    events.install()
    listing.install()
    statistics.install()
    record = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    server = Server(
        (HOST, int(sys.argv[1])),
        Access(Application(), record),
        numthreads=THREADS,
        request_queue_size=BACKLOG,
    )
    server.timeout = IDLE_SECONDS
    server.keep_alive_conn_limit = CONNECTIONS
    try:
        server.prepare()
    except OSError as error:
        sys.exit(f"cannot listen on {HOST}:{sys.argv[1]}: {error}")
    Thread(target=_end_with_parent, daemon=True).start()
    print(server.bind_addr[1], flush=True)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # moto's prints must not reach the parent
    server.serve()


if __name__ == "__main__":
    main()
