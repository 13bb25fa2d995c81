"""Serve a model over HTTP in OpenAI's form: `make serve`, or `python -m serving --model gpt@champion`.

It follows the alias: a promotion or rollback changes what is served, and no request notices.
"""

import argparse
import errno
import ipaddress
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from types import FrameType

from gptcore.config.environment import check_environment
from gptcore.errors import MISTAKE_EXIT_CODE, UNAVAILABLE_EXIT_CODE, Unavailable, UserError
from serving.options import Options

GRACE_SECONDS = 30
SWITCH_SECONDS = 0.0005  # between the thread that computes and the event loop; Python's 5 ms is many tokens


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    of = Options()
    parser = argparse.ArgumentParser(prog="python -m serving", description=(__doc__ or "").split("\n\n")[0])
    add = parser.add_argument
    add("--model", default=of.model, help="gpt@champion (default), gpt@3, a model folder, gpt2 ..")
    add("--host", default="127.0.0.1", help="address to listen on; %(default)s if not given")
    add("--port", type=int, default=8000, help="%(default)s if not given")
    add("--slots", type=int, default=of.slots, help="sequences that run at once; %(default)s if not given")
    add("--queue", type=int, default=of.queue, help="sequences that may wait; more get 429; %(default)s if not given")
    said = "that compute; if not given, one for each core, and for a small model one, or two from 32 slots on"
    add("--threads", type=int, default=of.threads, help=said)
    add("--deadline", type=float, default=of.deadline_seconds, help="seconds for a request; %(default)g if not given")
    add("--poll", type=float, default=of.poll_seconds, help="seconds between two looks at the alias; %(default)g")
    add("--body", type=int, default=of.body_bytes, help="bytes that a request may have; %(default)s if not given")
    add("--rate", type=int, default=0, help="requests a minute for each key; any number if not given")
    add("--grace", type=int, default=GRACE_SECONDS, help="seconds for open requests after SIGTERM; %(default)s")
    add("--precision", choices=["float32", "bfloat16"], default=of.precision)
    add("--int8", action="store_true", help="weights in 8 bits, on a CPU: a quarter of the memory")
    add("--log-prompts", action="store_true", help="write the text of each prompt to the log")
    add("--new-key", action="store_true", help="print a key, and its hash for GPTCORE_API_KEYS, and end")
    return parser.parse_args(words)


def options(given: argparse.Namespace) -> Options:
    return Options(
        model=given.model, slots=given.slots, queue=given.queue, threads=given.threads, deadline_seconds=given.deadline,
        poll_seconds=given.poll, body_bytes=given.body, requests_per_minute=given.rate, precision=given.precision,
        int8=given.int8, log_prompts=given.log_prompts,
    )  # fmt: skip


def serve(given: argparse.Namespace) -> None:
    """Until SIGINT or SIGTERM. Raises UserError."""
    import uvicorn

    from gptcore.generation.complete import FEWEST_SLOTS
    from serving.app import make_app
    from serving.follow import Follower
    from serving.keys import Guard, known_keys
    from serving.model import alias_of, open_served
    from serving.service import Service

    least = {"slots": FEWEST_SLOTS, "deadline": 0.1, "poll": 0.1, "body": 1, "grace": 1}
    for name in ("port", "slots", "queue", "threads", "deadline", "poll", "body", "rate", "grace"):
        value = least.get(name, 0)
        if getattr(given, name) < value:
            raise UserError(f"--{name} {getattr(given, name)} is not at least {value}")
    keys = known_keys()
    if not keys and not _is_loopback(given.host):
        logging.warning("without GPTCORE_API_KEYS, everybody who reaches %s:%d may ask", given.host, given.port)
    if given.int8 and given.precision != Options().precision:
        raise UserError(f"--int8 has a precision of its own; leave out --precision {given.precision}")
    service = Service(options(given), open_served(given.model, given.int8))
    alias = alias_of(given.model)
    app = make_app(service, Guard(keys, given.rate), Follower(alias) if alias else None)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=given.grace,
        timeout_keep_alive=30, h11_max_incomplete_event_size=1 << 16,
    )  # fmt: skip
    with listener(given.host, given.port) as listening:
        logging.warning("%s serves at http://%s:%d", service.served.fingerprint, given.host, listening.getsockname()[1])
        uvicorn.Server(config).run(sockets=[listening])


def listener(host: str, port: int) -> socket.socket:
    """Raises UserError."""
    try:
        made = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        said = "another program has it" if getattr(error, "errno", 0) == errno.EADDRINUSE else str(error)
        raise UserError(f"cannot listen on {host}:{port}: {said}; choose another with --host and --port") from None
    # its connections inherit it. Without it a stream on a kept connection waits 40 ms for the client's delayed ACK
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


def main() -> None:
    given = arguments()
    if given.new_key:
        from serving.keys import new_key

        print("key   {}\nhash  {}".format(*new_key()))
        return
    # before torch is imported: threads that wait for work in a spin take the time of those that compute
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # large weights in pages of 2 MB are read up to a tenth faster
    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s", level=logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    sys.setswitchinterval(SWITCH_SECONDS)
    for each in (signal.SIGINT, signal.SIGTERM):  # uvicorn ends by them, and then sends them again
        signal.signal(each, _end)
    try:
        check_environment()
        serve(given)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(UNAVAILABLE_EXIT_CODE if isinstance(error, Unavailable) else MISTAKE_EXIT_CODE) from None


if __name__ == "__main__":
    main()
