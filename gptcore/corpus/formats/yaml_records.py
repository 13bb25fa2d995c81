"""Records of a YAML file: a list of mappings, or ChatterBot's form, `conversations`, each of them a list of turns."""

import io
from collections.abc import Iterator
from typing import Any

from gptcore.corpus.documents import DOCUMENT_BYTES
from gptcore.corpus.formats.other_content import not_utf8
from gptcore.errors import UserError

ROLES = ("user", "assistant")


def yaml_records(file: io.BufferedReader, address: str, fields: list[str]) -> Iterator[dict[str, Any]]:
    """A conversation is a record with the field `messages`, the first turn being the user's. Raises UserError.

    YAML is read as a whole. Every plain value is the text that it is written as.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    raw = file.read(DOCUMENT_BYTES + 1)
    if len(raw) > DOCUMENT_BYTES:
        raise UserError(f"{address}: is longer than {DOCUMENT_BYTES:,} bytes, too long for YAML; take JSON Lines")
    try:
        content = YAML(typ="base", pure=True).load(raw.decode())
    except UnicodeDecodeError as error:
        raise not_utf8(address, error, 0) from None
    except YAMLError as error:
        raise UserError(f"{address}: is no YAML that can be read: {' '.join(str(error).split())}") from None
    talks = content.get("conversations") if isinstance(content, dict) else None
    records = content if talks is None else [_conversation(each) for each in talks if isinstance(talks, list)]
    if not isinstance(records, list):
        raise UserError(f"{address}: is neither a list of records nor has a list of conversations")
    for number, record in enumerate(records, start=1):
        if not isinstance(record, dict):
            raise UserError(f"{address}: record {number:,}: is no mapping; every record must be one")
        yield record


def _conversation(turns: Any) -> Any:
    """A conversation of a single text is one without a response."""
    said = [turns] if isinstance(turns, str) else turns
    if not isinstance(said, list):
        return said
    return {"messages": [{"role": ROLES[place % 2], "content": each} for place, each in enumerate(said)]}
