"""Models of Hugging Face's hub by name: owner/name or a short one, with @ and a revision.

The hub's client downloads and caches them; HF_ENDPOINT, HF_HOME, HF_TOKEN and HF_HUB_OFFLINE work as it documents them.
"""

import os
import re
from pathlib import Path

from gptcore.corpus.allowed import require_allowed_address
from gptcore.corpus.hub import hub_errors
from gptcore.errors import UserError
from gptcore.tokens.read_huggingface import FILES

SHORT = {
    "gpt2": "openai-community/gpt2",  # 124M (Radford et al. 2019)
    "gpt2-medium": "openai-community/gpt2-medium",  # 350M
    "gpt2-large": "openai-community/gpt2-large",  # 774M
    "gpt2-xl": "openai-community/gpt2-xl",  # 1558M
    "distilgpt2": "distilbert/distilgpt2",  # 82M (Sanh et al. 2019)
}
NAME = re.compile(rf"(?P<name>[\w.-]+/[\w.-]+|{'|'.join(SHORT)})(@(?P<revision>[\w.-]+))?", re.ASCII)
WEIGHTS = ("config.json", "model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors")


def is_hub_name(source: str) -> bool:
    """Whether `source` can be a name on the hub; what is there under that path comes first."""
    return bool(NAME.fullmatch(source)) and not Path(source).exists()


def has_gpt2s_tokenizer(source: str) -> bool:
    """Whether `source` has the tokenizer that `tokenize.tokenizer=gpt2` is, which its own files need not say."""
    return is_hub_name(source) and _name(source)[0] in {*SHORT, *SHORT.values()}


def fetched(source: str) -> Path:
    """The folder in the client's cache with the model of that name. Raises UserError, Unavailable."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # read when the client is imported
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    name, revision = _name(source)
    require_allowed_address(source, f"hf://{SHORT.get(name, name)}")
    files = [*WEIGHTS] if has_gpt2s_tokenizer(source) else [*WEIGHTS, *FILES]
    what = f"{source} (there is no such path here)"
    with hub_errors(what, "model", revision or ""):
        try:
            found = snapshot_download(SHORT.get(name, name), revision=revision, allow_patterns=files)
        except LocalEntryNotFoundError:
            if not constants.HF_HUB_OFFLINE:
                raise
            raise UserError(
                f"{what} is not in the hub's cache, and HF_HUB_OFFLINE forbids to fetch it; to read it from this "
                "machine, name its folder"
            ) from None
    return Path(found)


def lasting_name(source: str) -> str:
    """`source`, with the commit that it stands for now if it is a name on the hub. Raises UserError, Unavailable."""
    return f"{_name(source)[0]}@{fetched(source).name}" if is_hub_name(source) else source


def _name(source: str) -> tuple[str, str | None]:
    found = NAME.fullmatch(source)
    assert found, "is_hub_name"
    return found["name"], found["revision"]
