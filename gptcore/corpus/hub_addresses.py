"""A data set of the Hugging Face hub as the list of files that hold its rows, for streaming.

The library `datasets` resolves a config and a split to files; they are downloaded like any other http(s) file.
"""

import os

from gptcore.corpus.hub import COMMIT, HubSource, hub_errors, imported_datasets, newest_commit
from gptcore.errors import UserError

PUBLIC = "https://huggingface.co"


def hub_addresses(source: str) -> list[str]:
    """Addresses of the split's files, in row order. Raises Unavailable, and UserError, also if no commit is given."""
    hub = HubSource.parse(source)
    newest = newest_commit(hub)  # its error messages are clearer than those of `datasets`
    if not COMMIT.fullmatch(hub.revision):
        raise UserError(f"{source} moves on, and a stream must be pinned: give it a commit, now revision={newest}")
    datasets = imported_datasets(hub)
    from huggingface_hub import hf_hub_url

    with hub_errors(f"hf://{hub.name}", revision=hub.revision):
        path = f"hf://datasets/{hub.name}"
        builder = datasets.load_dataset_builder(path, hub.config, revision=hub.revision)
    splits = builder.config.data_files or {}
    if hub.split not in splits:
        raise UserError(f"hf://{hub.name}: has no split {hub.split}; it has {', '.join(map(str, splits)) or 'none'}")
    names = [str(file).partition(f"@{hub.revision}/")[2] for file in splits[hub.split]]
    return [hf_hub_url(hub.name, name, repo_type="dataset", revision=hub.revision) for name in names]


def authorization(url: str) -> dict[str, str]:
    """The header with the user's token if `url` is on the hub; a redirect to another host drops it."""
    if not url.startswith(os.environ.get("HF_ENDPOINT", PUBLIC) + "/"):
        return {}
    from huggingface_hub import get_token

    token = get_token()
    return {"Authorization": f"Bearer {token}"} if token else {}
