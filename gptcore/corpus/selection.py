"""Select which texts of a source become documents: by language, length and uniqueness, up to a limit."""

import hashlib
from collections.abc import Iterator

from gptcore.config.params import Metrics
from gptcore.corpus.documents import Document, document
from gptcore.corpus.formats.records import Text
from gptcore.errors import UserError


class Dropped(Metrics):
    """How many texts were dropped, and why; texts after a limit are not read and so not counted."""

    language: int
    empty: int
    too_short: int
    duplicate: int


class Selection:
    """Filters texts into documents and counts the dropped ones.

    Deduplication stores a 16-byte digest per document: about 100 MB of process memory per million documents.
    """

    def __init__(
        self, languages: tuple[str, ...], min_bytes: int, deduplicate: bool, max_documents: int, max_bytes: int,
        pairs: bool = False,
    ) -> None:  # fmt: skip
        self.languages, self.min_bytes, self.deduplicate = languages, min_bytes, deduplicate
        self.max_documents, self.max_bytes, self.pairs = max_documents, max_bytes, pairs
        self.counts = {"language": 0, "empty": 0, "too_short": 0, "duplicate": 0}
        self.seen: set[bytes] = set()

    @property
    def dropped(self) -> Dropped:
        return Dropped(**self.counts)

    def documents(self, texts: Iterator[Text]) -> Iterator[Document]:
        """Whole documents until the next one would exceed a limit. Raises UserError."""
        count = size = 0
        for text in texts:
            encoded = text.text.encode()
            if not self.takes(text, encoded):
                continue
            if self.max_bytes and size + len(encoded) > self.max_bytes:
                if not count:
                    raise UserError(
                        f"{text.where}: {len(encoded):,} bytes are more than data.max_bytes={self.max_bytes}"
                    )
                return
            count, size = count + 1, size + len(encoded)
            yield document(text.text, text.title, text.turns)
            if count == self.max_documents:
                return  # before the next file is downloaded
        if not count:
            raise UserError(f"data.source: no document is left of it: {self._counted()}")

    def takes(self, text: Text, encoded: bytes) -> bool:
        """Whether a text becomes a document, limits aside; `encoded` is its UTF-8. Raises UserError."""
        if self.languages and text.language not in self.languages:
            self.counts["language"] += 1
        elif not _holds(text):
            if not self.min_bytes:
                what = "no response" if text.turns else "no text"
                raise UserError(f"{text.where}: holds {what}; leave it out, or set data.min_bytes=1 to drop all such")
            self.counts["empty"] += 1
        elif len(encoded) < self.min_bytes:
            self.counts["too_short"] += 1
        elif self.deduplicate and self._known(encoded):
            self.counts["duplicate"] += 1
        else:
            return True
        return False

    def _known(self, encoded: bytes) -> bool:
        before = len(self.seen)
        self.seen.add(hashlib.blake2b(encoded, digest_size=16).digest())
        return len(self.seen) == before

    def _counted(self) -> str:
        reasons = {
            "language": f"in other languages than {', '.join(self.languages)}",
            "empty": "without a response" if self.pairs else "empty or only white space",
            "too_short": f"shorter than data.min_bytes={self.min_bytes}",
        }
        counted = [f"{self.counts[why]:,} {reason}" for why, reason in reasons.items() if self.counts[why]]
        return f"its texts were {', '.join(counted)}" if counted else "it holds no records"


def _holds(text: Text) -> bool:
    """Whether there is something to learn: some text, and of a conversation, every response."""
    responses = Document(title="", text=text.text, turns=text.turns).parts[1::2] if text.turns else [text.text]
    return bool(responses) and all(each.strip() for each in responses)
