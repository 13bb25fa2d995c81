"""Runs between a flow and its command, to stop the command's process group however the flow dies, even by kill -9.

`python -I -S tasks/process/watchdog.py ALIVE OUTPUT COMMAND...` leads the group. ALIVE is the read end of a pipe whose
write end only the flow holds: when it closes, the flow is gone. OUTPUT is the read end of the command's output, kept
open so that the command's last writes have a reader and succeed. Imports only fast modules: this starts in 20 ms.
"""

import os
import select
import signal
import sys
import time
from _thread import start_new_thread

GRACE_SECONDS = 25.0


def main(alive: int, output: int, command: list[str]) -> None:
    """Run the command and end as it does: with its exit code, or by the same signal."""
    signal.signal(signal.SIGINT, lambda *_: None)  # the command receives it too, and does not inherit this handler
    os.set_inheritable(alive, False)
    os.set_inheritable(output, False)
    child = os.posix_spawnp(command[0], command, os.environ)
    os.close(sys.stdout.fileno())  # so that the output ends with the command
    os.close(sys.stderr.fileno())
    start_new_thread(_end_with_the_flow, (alive, output))
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        os._exit(os.waitstatus_to_exitcode(status))
    if os.WTERMSIG(status) != signal.SIGKILL:
        signal.signal(os.WTERMSIG(status), signal.SIG_DFL)
    os.kill(os.getpid(), os.WTERMSIG(status))


def _end_with_the_flow(alive: int, output: int) -> None:
    os.read(alive, 1)
    os.killpg(0, signal.SIGINT)
    give_up = time.monotonic() + GRACE_SECONDS
    while (left := give_up - time.monotonic()) > 0:
        readable, _, _ = select.select([output], [], [], left)
        if readable and not os.read(output, 65536):
            break
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
