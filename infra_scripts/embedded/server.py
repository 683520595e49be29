"""The server process of the embedded AWS: moto's application behind cheroot's HTTP server.

Started by :class:`infra_scripts.embedded.EmbeddedAws` as a child: it writes its port to standard
output once it answers, and ends when its standard input ends, that is with its parent, however
that dies.
"""

import io
import os
import signal
import sys
from collections.abc import Iterable
from functools import cache
from threading import RLock, Thread
from typing import Any, Final

from cheroot.wsgi import Server
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

from infra_scripts.embedded import events, listing, queue

HOST = "127.0.0.1"
THREADS = 128  # each long poll holds one for up to 20 s
BACKLOG = 1024  # with cheroot's 5, clients that connect ten times at once waited a second
IDLE_SECONDS = 120  # a kept-alive connection may rest this long
PRELOADED: Final = ("s3", "sqs")  # first use of a service takes moto half a second


class Application(DomainDispatcherApplication):
    """moto's dispatcher, faster, and with S3 requests one at a time.

    moto looks at a directory of each of its 180 services for every request, which takes longer
    than answering it; the answer never changes. Its S3 checks and writes in two steps, so that
    two conditional writes could both succeed, and overwriting an object broke a reader off.
    """

    def __init__(self) -> None:
        super().__init__(create_backend_app)
        self._s3 = RLock()
        for service in PRELOADED:
            self.app_instances[service] = create_backend_app(service)

    @cache  # noqa: B019 -- there is one instance, and it lives as long as the process
    def get_backend_for_host(self, host: str | None) -> Any:
        return super().get_backend_for_host(host)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ["RAW_URI"] = environ["REQUEST_URI"]  # or moto decodes "%20" inside a key
        application = self.get_application(environ)
        if application is not self.app_instances["s3"]:
            return application(environ, start_response)
        environ["PATH_INFO"] = environ["RAW_URI"].partition("?")[0]
        # A slow sender must not hold the lock.
        environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read())
        with self._s3:
            return application(environ, start_response)


def _end_with_parent() -> None:
    while sys.stdin.buffer.read(1024):
        pass
    os._exit(0)


def main() -> None:
    """Serve until standard input ends; the argument is the port, 0 for a free one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to handle
    queue.install()
    events.install()
    listing.install()
    server = Server(
        (HOST, int(sys.argv[1])), Application(), numthreads=THREADS, request_queue_size=BACKLOG
    )
    server.timeout = IDLE_SECONDS
    try:
        server.prepare()
    except OSError as error:
        sys.exit(f"cannot listen on {HOST}:{sys.argv[1]}: {error}")
    Thread(target=_end_with_parent, daemon=True).start()
    print(server.bind_addr[1], flush=True)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what moto prints is no answer of ours
    server.serve()


if __name__ == "__main__":
    main()
