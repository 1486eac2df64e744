"""`acesandbox serve`: runs of whole programs over HTTP, in SandboxFusion's form (`_run_code` has the form itself).

    GET  /v1/ping    "pong"
    POST /run_code   one run; the answer comes when it has ended

Answers other than 200 are {"detail": text}, never a traceback:

    422  the request asks for what cannot be served; the text names the field
    504  this service is at fault, or has too much to do: nothing is said about the program, and asking again is
         sensible. Never 429 or 503, because this is the one status after which verl's client does ask again
    400  no HTTP, or headers that cannot be read
    403  a POST with an Origin header: it comes from a page in a browser
    404  another path; 405: another method for the path; 501: a method that nothing here has
    411  no Content-Length, more than one, or no number; 413: the body is too long
    414  the address is too long; 431: a header is too long, or there are too many
    415  Content-Type is not application/json
    500  a bug of this service, which its standard error names
    505  HTTP 2 or later

One thread per connection reads and answers; one thread per sandbox runs programs, first come, first served.
Everything is bounded: connections, requests in flight, the size of one body and of all bodies held at a time, the time
in which a request must arrive, and the time until its answer, which is how long verl's client waits for one. The bytes
of a body count from before it is read until it is answered; the texts and files made of it take a few times as many.

There is no authentication. Whoever reaches the port can have programs run: contained, and at your cost.
"""

from __future__ import annotations

import io
import json
import socket
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from socketserver import TCPServer
from time import monotonic, sleep
from typing import Any

from ._errors import BadInput, SandboxError
from ._run_code import IN_FLIGHT, PORT, Refused, Request
from ._sandbox import Sandbox
from ._verdict import RunResult

MAX_IN_FLIGHT = 1 << 14
SPARE_CONNECTIONS = (
    256  # beside those with a request in flight: kept alive, still sending, or about to hear 504
)
MAX_BODY = 64 << 20
MAX_BODIES = 1 << 30  # of all requests together
ARRIVAL_S = 30.0  # for a whole request, counted from the connection or from the answer before
SEND_S = 30.0
HANG_UP_S = 2.0
EARLY_S = 2.0  # before the client gives up: a run is ended then, and its end must still get there
CLOSING_S = 3.0
MAX_NOTICES = 50  # per status: clients choose the texts of some, and must not crowd out the others

PING, RUN_CODE = "/v1/ping", "/run_code"


class Service:
    """Sandboxes behind a port. Starts at once; ends with `close`, or at the end of a `with` block.

    Attributes:
        url: of `POST /run_code`.
        loopback: nobody but this machine can reach it.
    """

    def __init__(
        self,
        sandboxes: Sequence[Sandbox],
        host: str = "127.0.0.1",
        port: int = PORT,
        in_flight: int = IN_FLIGHT,
        say: Callable[[str], None] | None = None,
    ) -> None:
        """
        Args:
            sandboxes: each runs one program at a time, so let each have one worker: a sandbox of several may queue a
                run behind one that hangs. All alike; their limits are the most that a request gets. The first is opened
                now, the others when they are needed; all are closed with the service.
            host: address or name to listen on.
            port: 0: any free one.
            in_flight: most requests that wait or run; what comes beyond is answered 504.
            say: takes each kind of trouble once, as a line of text; from any thread.

        Raises:
            BadInput: it cannot listen there, or `port` or `in_flight` is out of range.
            SandboxError: the first sandbox cannot be opened.
        """
        if not 1 <= in_flight <= MAX_IN_FLIGHT:
            raise BadInput(f"the requests in flight must be from 1 to {MAX_IN_FLIGHT}, not {in_flight}")
        if not 0 <= port <= 0xFFFF:  # getaddrinfo would take it modulo 65536
            raise BadInput(f"the port must be from 0 to 65535, not {port}")
        sandboxes[0].open()
        self._runs = _Runs(sandboxes, in_flight, say or (lambda text: None))
        try:
            family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            self._server = _Server(family, address, self._runs, in_flight + SPARE_CONNECTIONS)
        except (OSError, ValueError) as error:  # ValueError: a name that no name can be, e.g. a..b
            self._runs.close()
            reason = getattr(error, "strerror", None) or error
            raise BadInput(
                f"cannot listen on {host}:{port}: {reason}; --host and --port say "
                "where, and --port 0 takes any free port"
            ) from None
        except BaseException:
            self._runs.close()
            raise
        bound, self.port = self._server.server_address[:2]
        bound = str(bound)
        self.loopback = ip_address(bound.partition("%")[0]).is_loopback
        self.url = f"http://{f'[{bound}]' if ':' in bound else bound}:{self.port}{RUN_CODE}"
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.1},
            name="acesandbox-serve",
            daemon=True,
        )
        self._thread.start()

    def close(self) -> None:
        """Takes no more requests, answers those in flight with 504, ends the workers. Idempotent."""
        self._runs.refuse()
        self._server.stop_accepting()
        self._thread.join()
        self._runs.close()
        self._server.hang_up()

    def answers(self) -> dict[int, int]:
        """How many requests for runs were answered with each HTTP status."""
        return dict(self._runs.answers)

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class _TooLate(Exception):
    """The run could not be had while somebody waited for it."""


class _Runs:
    """Hands programs to the sandboxes, one at a time each."""

    def __init__(self, sandboxes: Sequence[Sandbox], in_flight: int, say: Callable[[str], None]) -> None:
        self.answers: Counter[int] = Counter()
        self._sandboxes = tuple(sandboxes)
        self._limits = sandboxes[0].limits
        self._free = deque(reversed(self._sandboxes))
        self._most = in_flight
        self._say = say
        self._said: dict[int, set[str]] = {}
        self._lock = threading.Lock()
        self._under_way = 0
        self._held = 0
        self._closing = False
        self._threads = ThreadPoolExecutor(len(self._sandboxes), "acesandbox-run")

    def answer(self, body: bytes) -> tuple[int, dict[str, Any]]:
        """What a request gets: the HTTP status, and the JSON."""
        with self._lock:
            taken = self._under_way < self._most
            self._under_way += taken
        try:
            code, value = self._answer(body) if taken else (504, {"detail": "too many requests in flight"})
        finally:
            with self._lock:
                self._under_way -= taken
        self.answered(code, value["message"] if code == 200 else value["detail"])
        return code, value

    def answered(self, code: int, text: str) -> None:
        """Counts the answer to a request for a run, and says what it has to tell."""
        with self._lock:
            self.answers[code] += 1
        if text and code != 500:  # that one has been said, with what the client is not told
            self.notice(code, f"{RUN_CODE}: {text if code == 200 else f'{code}: {text}'}")

    def notice(self, code: int, text: str) -> None:
        """Says a trouble once. Each status has a budget of its own."""
        with self._lock:
            said = self._said.setdefault(code, set())
            ending = self._closing and code != 500  # a bug is one then, too
            if ending or text in said or len(said) >= MAX_NOTICES:
                return
            said.add(text)
            last = len(said) == MAX_NOTICES
        self._say(f"{text} (said once{f'; no more is said about {code}' if last else ''})")

    def hold(self, size: int) -> bool:
        """Whether there is room for a body of so many bytes; if so it is taken, until `let_go`."""
        with self._lock:
            room = self._held + size <= MAX_BODIES
            self._held += size * room
        return room

    def let_go(self, size: int) -> None:
        with self._lock:
            self._held -= size

    def _answer(self, body: bytes) -> tuple[int, dict[str, Any]]:
        arrived = monotonic()
        try:
            request = Request(body, self._limits)
            deadline = arrived + request.patience_s - EARLY_S
            run = self._threads.submit(self._run, request, deadline)
            try:
                result = run.result(deadline + EARLY_S / 2 - monotonic())
            finally:
                run.cancel()  # has no effect on one that was started: that one ends by its limits
            return 200, request.answer(result)
        except (Refused, BadInput) as error:
            return 422, {"detail": str(error)}
        except _TooLate as error:
            return 504, {"detail": str(error)}
        except TimeoutError:
            return 504, {"detail": "no worker was free in the time that the client waits"}
        except SandboxError as error:
            return 504, {"detail": f"the sandbox could not run it: {error}"}
        except CancelledError:
            return 504, {"detail": "the service is closing"}
        except Exception as error:
            if self._closing:  # the threads take no more work
                return 504, {"detail": "the service is closing"}
            self.notice(500, f"{RUN_CODE}: a fault of this service: {type(error).__name__}: {error}")
            return 500, {"detail": "a fault of this service; its standard error says which"}

    def _run(self, request: Request, deadline: float) -> RunResult:
        left = deadline - monotonic()
        if left < request.run_s:  # it could be ended by the clock before it has had its time
            raise _TooLate("no worker was free in the time that the client waits")
        limits = request.limits(self._limits, wall_s=left)
        sandbox = self._free.pop()  # there are as many as threads; the one used last is the one that is up
        try:
            result = sandbox.run(request.code, request.stdin, request.files, limits=limits)
        finally:
            self._free.append(sandbox)
        if result.wall_s >= limits.wall_s:
            raise _TooLate("the machine is too busy to give the program its time while the client waits")
        return result

    def refuse(self) -> None:
        """From now on nothing new is run."""
        self._closing = True
        self._threads.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """Ends what runs, and the workers."""
        self.refuse()
        with ThreadPoolExecutor(len(self._sandboxes)) as threads:
            list(threads.map(Sandbox.close, self._sandboxes))
        self._threads.shutdown()


class _Server(ThreadingHTTPServer):
    """A bounded number of connections. What comes beyond waits in the kernel's queue for one to end."""

    daemon_threads = True
    request_queue_size = 1024
    allow_reuse_port = False  # a second service on the port must be told so, not share it

    def __init__(self, family: int, address: Any, runs: _Runs, most: int) -> None:
        self.address_family = family
        self.runs = runs
        self._most = most
        self._open: set[Any] = set()
        self._changed = threading.Condition()
        self._ending = False
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer would ask the network for our name, which may take seconds

    def get_request(self) -> tuple[Any, Any]:
        try:
            return super().get_request()
        except OSError:  # out of file descriptors: not again at once
            sleep(0.1)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._changed:
            self._changed.wait_for(lambda: len(self._open) < self._most or self._ending)
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        with self._changed:
            self._open.discard(request)
            self._changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news; anything else is said in a line."""
        error = sys.exception()
        if not isinstance(error, OSError):
            self.runs.notice(500, f"a fault of this service: {type(error).__name__}: {error}")

    def stop_accepting(self) -> None:
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        self.shutdown()
        self.server_close()

    def hang_up(self) -> None:
        """Ends the connections: what is being answered is answered, if the client takes it soon."""
        for how in (socket.SHUT_RD, socket.SHUT_RDWR):  # who waits for a request sees the end of the stream
            with self._changed:
                for connection in self._open:
                    try:
                        connection.shutdown(how)
                    except OSError:
                        pass
                if self._changed.wait_for(lambda: not self._open, CLOSING_S):
                    return


class _Arrival(io.RawIOBase):
    """What a client sends, up to a moment: one that sends a byte at a time is cut off like one that sends none."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._until = 0.0

    def within(self, seconds: float) -> None:
        self._until = monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._until - monotonic()
        if left <= 0:
            raise TimeoutError("the request did not arrive in time")
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "acesandbox", ""
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self._arrival = _Arrival(self.connection)
        self.rfile = io.BufferedReader(self._arrival)

    def handle_one_request(self) -> None:
        self._arrival.within(ARRIVAL_S)
        super().handle_one_request()

    def do_GET(self) -> None:
        if "Content-Length" in self.headers or "Transfer-Encoding" in self.headers:
            self.close_connection = True  # a body would be taken for the next request
        self._answer(*(self._refusal("GET") or (200, "pong")))

    def do_POST(self) -> None:
        refusal = self._refusal("POST")
        if refusal is not None:
            self._refuse_unread(*refusal)
            return
        size = self._size()
        if size is None:
            return
        runs = self.server.runs
        if not runs.hold(size):
            detail = "too many bytes of requests in flight"
            runs.answered(504, detail)
            self._refuse_unread(504, {"detail": detail})
            return
        try:
            body = self.rfile.read(size)
            if len(body) < size:
                self.close_connection = True
            else:
                self._answer(*runs.answer(body))
        finally:
            runs.let_go(size)

    def _refusal(self, method: str) -> tuple[int, dict[str, str]] | None:
        """What to answer to a request that asks for nothing that there is, as its head shows."""
        path = self.path.partition("?")[0]
        methods = {PING: "GET", RUN_CODE: "POST"}
        if path not in methods:
            return 404, {"detail": f"there is no {path[:80]}; there are GET {PING} and POST {RUN_CODE}"}
        if methods[path] != method:
            return 405, {"detail": f"{path} is for {methods[path]}"}
        if method == "GET":
            return None
        if "Origin" in self.headers:
            # A page whose name was made to lead to this machine may send what it likes: to the browser, it talks to
            # its own server. But the browser says where the page is from, and nothing but a browser does.
            return 403, {"detail": "Origin: must not be there; pages in a browser are not served"}
        if self.headers.get_content_type() != "application/json":
            # Any page in a browser may send other types to this machine; for this one it would have to ask first.
            return 415, {"detail": "Content-Type: must be application/json"}
        return None

    def _size(self) -> int | None:
        """The length of the request's body; None if it was refused."""
        lengths = self.headers.get_all("Content-Length", [])
        sound = len(lengths) == 1 and lengths[0].isascii() and lengths[0].isdigit()
        if not sound or "Transfer-Encoding" in self.headers:
            detail = "Content-Length: must be there, once, and be the number of bytes"
            self._refuse_unread(411, {"detail": detail})
            return None
        if len(lengths[0]) > 15 or int(lengths[0]) > MAX_BODY:
            detail = f"the body: at most {MAX_BODY:,} bytes are taken, not {lengths[0][:20]}"
            self._refuse_unread(413, {"detail": detail})
            return None
        return int(lengths[0])

    def _refuse_unread(self, code: int, value: dict[str, str]) -> None:
        """Answers, and lets the client finish sending: closed at once, it would be cut off before it has read why."""
        self.close_connection = True
        self._answer(code, value)
        self.connection.shutdown(socket.SHUT_WR)
        self._arrival.within(HANG_UP_S)
        while self.rfile.read1(1 << 16):
            pass

    def _answer(self, code: int, value: object) -> None:
        data = json.dumps(value).encode("ascii")
        self.connection.settimeout(SEND_S)
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the base class refuses by itself: no HTTP, an unknown method, headers without end."""
        del explain
        self.close_connection = True
        self._answer(code, {"detail": message or "the request cannot be read"})

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a line per request of a training run helps nobody."""
