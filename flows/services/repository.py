"""The git repository that containers and pods clone: deployments hold its address, a block its credentials."""

import os
import subprocess
from pathlib import Path

from prefect.blocks.core import Block
from prefect.types import SecretDict

from gptcore.addresses import split_credentials

BLOCK = "repository"


class GitCredentials(Block):
    """User name and password, or access token, of a git repository, as Prefect's git_clone takes them.

    The server encrypts them. (Of a dictionary in a Secret block, its API would show each value in clear.)
    """

    _block_type_name = "gptcore git credentials"
    _block_type_slug = "gptcore-git-credentials"

    value: SecretDict


def settle_repository() -> tuple[str, str]:
    """Save the credentials of GPTCORE_REPOSITORY, or of origin; the address without them, and a word about them.

    Those of an earlier call are kept for the same address, and for no other.
    """
    address, credentials = split_credentials(os.environ.get("GPTCORE_REPOSITORY") or _origin())
    if not credentials and (known := _known()).get("repository") == address:
        credentials = known
    value = {**credentials, "repository": address} if credentials else {}
    GitCredentials(value=SecretDict(value)).save(BLOCK, overwrite=True)
    if not value:
        return address, "no credentials"
    if not address.startswith("https://"):
        return address, "its credentials stay unused, as Prefect sends them over https alone"
    return address, f"its credentials are in the block {GitCredentials._block_type_slug}/{BLOCK}"


def _origin() -> str:
    ask = ["git", "remote", "get-url", "origin"]
    done = subprocess.run(ask, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _known() -> dict[str, str]:
    try:
        block = GitCredentials.load(BLOCK)
    except ValueError:
        return {}
    assert isinstance(block, GitCredentials)
    return block.value.get_secret_value()
