"""Who may ask, and how often. The server knows the sha256 of each key and never a key."""

import hashlib
import hmac
import os
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from gptcore.errors import UserError
from serving.refusals import Refusal

VARIABLE = "GPTCORE_API_KEYS"
SHA256 = re.compile("[0-9a-f]{64}")


def new_key() -> tuple[str, str]:
    """A key, and what of it belongs into GPTCORE_API_KEYS."""
    key = f"sk-{secrets.token_urlsafe(32)}"
    return key, hashlib.sha256(key.encode()).hexdigest()


def known_keys() -> tuple[str, ...]:
    """The hashes in GPTCORE_API_KEYS. Raises UserError, which does not show what is there: it may be a key."""
    hashes = tuple(re.split(r"[\s,]+", os.environ.get(VARIABLE, "").strip().lower()))
    if hashes == ("",):
        return ()
    if wrong := [place for place, each in enumerate(hashes, start=1) if not SHA256.fullmatch(each)]:
        raise UserError(
            f"{VARIABLE}: word {wrong[0]} is no sha256 in hexadecimal; `python -m serving --new-key` makes a key and "
            "its hash"
        )
    return hashes


@dataclass
class Guard:
    """Checks the key of a request, and counts the requests of each key in the last minute."""

    hashes: Sequence[str] = ()
    per_minute: int = 0
    tokens: dict[str, tuple[float, float]] = field(default_factory=dict)  # what is left, and when

    def admit(self, authorization: str | None) -> None:
        """Raises Refusal: 401, 429."""
        key = self._key(authorization or "")
        if not self.per_minute:
            return
        now, rate = time.monotonic(), self.per_minute / 60
        left, since = self.tokens.get(key, (float(self.per_minute), now))
        left = min(float(self.per_minute), left + (now - since) * rate)
        if left < 1:
            wait = {"Retry-After": str(max(1, round((1 - left) / rate)))}
            said = f"more than {self.per_minute:,} requests a minute"
            raise Refusal(429, said, "rate_limit_exceeded", headers=wait)
        self.tokens[key] = (left - 1, now)

    def _key(self, authorization: str) -> str:
        if not self.hashes:
            return ""
        scheme, _, key = authorization.partition(" ")
        digest = hashlib.sha256(key.strip().encode()).hexdigest()
        found = [each for each in self.hashes if hmac.compare_digest(each, digest)]  # all, whichever it is
        if scheme.lower() != "bearer" or not found:
            said = "send a key of this server as `Authorization: Bearer KEY`"
            raise Refusal(401, said, "invalid_api_key", headers={"WWW-Authenticate": "Bearer"})
        return digest
