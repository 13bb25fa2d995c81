"""Addresses without their secrets: user name and password before the host, and signatures and tokens behind the `?`.

What names an address goes through `redacted` where it is shown or stored.
"""

import re
from urllib.parse import unquote

# Of http(s) a name alone may be a token; of other schemes, as in ssh://git@host, it is none. A password may hold a `/`
# or `@` that ought to be quoted, but no port ends in an `@`.
USER = re.compile(
    r"(?:(?<=http://)|(?<=https://)|(?<=://)(?=[^/?#\s@]*:))"
    r"([^/?#\s]*|[^/?#\s:@\[]*:(?!\d*(?:[/?#\s]|$))[^\s@]*)@",
    re.IGNORECASE,
)
PARAMETER = re.compile(
    r"(?<=[?&;#])"
    r"([\w.-]*(?:signature|token|secret|passw(?:or)?d|credential|access[_-]?key(?:[_-]?id)?|api[_-]?key)"
    r"|(?:[\w.-]*[_-])?(?:sig|key|pwd|auth|jwt))"
    r"=[^&;#\s]+",
    re.IGNORECASE,
)


def redacted(text: str) -> str:
    """`text` with `***` for each secret in an address."""
    return PARAMETER.sub(r"\1=***", USER.sub("***@", text))


def without_secrets(address: str) -> str:
    """`address` itself. Raises ValueError if it holds a secret."""
    parameter = PARAMETER.search(address) if "://" in address else None
    if not parameter and not USER.search(address):
        return address
    what = f"the secret `{parameter[1]}`" if parameter else "a user name or password"
    raise ValueError(
        f"holds {what}, which would be stored with all that is made of it; user and password belong into ~/.netrc, "
        "keys of S3 into AWS_PROFILE or the environment, and a file behind a signed address can be fetched by hand"
    )


def split_credentials(address: str) -> tuple[str, dict[str, str]]:
    """The address without user name and password, and these: empty if there are none."""
    found = USER.search(address)
    if not found:
        return address, {}
    user, _, password = found[1].partition(":")
    named = {"username": user, "password": password} if password else {"access_token": user}
    return USER.sub("", address, count=1), {name: unquote(value) for name, value in named.items()}
