"""What of an address is secret: found, refused, and shown as `***`."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptcore.addresses import redacted, split_credentials, without_secrets
from gptcore.errors import Unavailable, UserError

SECRET = {
    "https://me:hunter2@example.org/a.txt": "https://***@example.org/a.txt",
    "http://hunter2@example.org:8080/a?b=c": "http://***@example.org:8080/a?b=c",
    "s3://AKIA:hunter2/with+slash@bucket/key": "s3://***@bucket/key",
    "hf://me:hunter2@owner/name": "hf://***@owner/name",
    "ssh://git:hunter2@example.org/a": "ssh://***@example.org/a",
    "https://me:hunter2@ss@example.org/a": "https://***@example.org/a",
    "https://b.s3.amazonaws.com/a.txt?X-Amz-Expires=60&X-Amz-Signature=hunter2#sha256=00":
        "https://b.s3.amazonaws.com/a.txt?X-Amz-Expires=60&X-Amz-Signature=***#sha256=00",
    "https://storage.googleapis.com/b/a?GoogleAccessId=me&X-Goog-Signature=hunter2":
        "https://storage.googleapis.com/b/a?GoogleAccessId=me&X-Goog-Signature=***",
    "https://acct.blob.core.windows.net/c/a?sv=2024&sig=hunter2%3D&se=1":
        "https://acct.blob.core.windows.net/c/a?sv=2024&sig=***&se=1",
    **{f"https://example.org/a?b=c&{name}=hunter2": f"https://example.org/a?b=c&{name}=***"
       for name in ("Signature", "AWSAccessKeyId", "X-Amz-Security-Token", "token", "access_token", "accessToken",
                    "private_token", "api_key", "apikey", "key", "client_secret", "password", "auth")},
}  # fmt: skip
HARMLESS = [
    "https://example.org/a.txt?download=true&page=2", "https://example.org:8080/@scope/package@1.2",
    "ssh://git@example.org/a.git", "git@example.org:a/b.git", "s3://bucket/a@b/c", "package://name/1.0/a@b.txt",
    "hf://owner/name?split=train&revision=abc", "https://example.org/a?tokenizer=gpt2&keys=3&monkey=1",
    "texts/?key=1.txt", "http://[::1]:8080/a@b", "http://localhost:80",
]  # fmt: skip


@pytest.mark.parametrize("address", SECRET)
def test_a_secret_is_refused_and_shown_nowhere(address: str) -> None:
    assert redacted(address) == SECRET[address]
    with pytest.raises(ValueError, match=r"holds (a user|the secret) .*~/\.netrc.*AWS_PROFILE") as error:
        without_secrets(address)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("address", HARMLESS)
def test_an_address_without_secrets_stays_as_it_is(address: str) -> None:
    assert without_secrets(address) == address
    if "://" in address:
        assert redacted(address) == address


@given(st.text(min_size=1), st.text(min_size=4), st.sampled_from(["https", "http", "s3", "postgresql"]))
def test_a_password_of_any_characters(user: str, password: str, scheme: str) -> None:
    address = f"{scheme}://{quote(user, safe='')}:{quote(password, safe='')}@example.org/a"
    assert redacted(f"cannot read {address}; try again") == f"cannot read {scheme}://***@example.org/a; try again"
    assert split_credentials(address) == (f"{scheme}://example.org/a", {"username": user, "password": password})


def test_a_user_name_alone_is_a_token() -> None:
    assert split_credentials("https://hunter2@example.org/a") == ("https://example.org/a", {"access_token": "hunter2"})
    assert split_credentials("git@example.org:a/b.git") == ("git@example.org:a/b.git", {})


@pytest.mark.parametrize("kind", [UserError, Unavailable])
def test_no_error_line_shows_one(kind: type[UserError]) -> None:
    line = "`git push https://me:hunter2@example.org/a` failed: no answer from /b?sig=hunter2&c=d"
    assert str(kind(line)) == "`git push https://***@example.org/a` failed: no answer from /b?sig=***&c=d"
