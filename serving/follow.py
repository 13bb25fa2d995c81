"""Follow an alias of the registry: ask who has it, open that version beside the one that serves, and swap.

In a thread that nobody waits for: a registry that hangs delays neither requests nor the end of the server.
"""

import logging
import threading
import time
from dataclasses import dataclass, field

from gptcore.errors import Unavailable, UserError
from serving.model import Served, open_served, registry
from serving.service import Candidate, Service

log = logging.getLogger(__name__)
AGAIN_SECONDS = 60.0  # before a version that was refused is tried again: somebody may have mended it


@dataclass
class Follower:
    alias: str
    tried: float = 0.0
    stopped: bool = False
    hint: threading.Event = field(default_factory=threading.Event)

    def start(self, service: Service) -> None:
        threading.Thread(target=self._run, args=(service,), name="follow", daemon=True).start()

    def stop(self) -> None:
        self.stopped = True
        self.hint.set()

    def hasten(self) -> None:
        """Look now: somebody says that the alias has moved. Whether it has, the registry alone says."""
        self.hint.set()

    def _run(self, service: Service) -> None:
        while not self.stopped:
            self.hint.wait(service.options.poll_seconds)
            self.hint.clear()
            if not self.stopped:
                self.look(service)

    def look(self, service: Service) -> None:
        """Serve the holder of the alias from now on, if it can be served. No error ends the following."""
        try:
            number = self._holder()
            service.registry_error = "" if number else f"no version has the alias {self.alias}"
            if number == service.served.number:
                service.refused = Candidate()
            elif number and self._is_to_try(number, service):
                self._try(number, service)
        except UserError as error:
            self._note(service, str(error))
        except Exception as error:
            log.exception("the registry was not read")
            self._note(service, f"{type(error).__name__}: {error}")

    def _try(self, number: int, service: Service) -> None:
        self.tried = time.monotonic()
        try:
            served = open_served(f"gpt@{number}", service.options.int8)
        except Unavailable:
            raise
        except Exception as error:  # whatever somebody has registered must not end what serves
            why = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            service.refused = Candidate(number, why)
            log.warning("version %d has the alias %s and is refused: %s", number, self.alias, why)
            return
        self._swap(served, service)

    def _swap(self, served: Served, service: Service) -> None:
        before, service.refused = service.served.number, Candidate()
        service.swap(served)
        service.metrics.swaps.inc()
        log.warning("version %d serves from now on, instead of version %d", served.number, before)

    def _is_to_try(self, number: int, service: Service) -> bool:
        return number != service.refused.number or time.monotonic() - self.tried > AGAIN_SECONDS

    def _holder(self) -> int | None:
        with registry() as opened:
            return opened.aliases().get(self.alias)

    def _note(self, service: Service, why: str) -> None:
        if service.registry_error != why:
            log.warning("%s; version %d serves on", why, service.served.number)
        service.registry_error = why
