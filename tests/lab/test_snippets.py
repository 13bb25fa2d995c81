"""What people copy from the playground makes the text that the page shows."""

import json
import runpy
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from gptcore.corpus.chat_template import TEMPLATE
from lab.read import snippets
from lab.read.served import KEY, Text
from tests.support.scratch import wait_until
from tests.support.serving import in_a_thread, served

NUMBERS = {"max_tokens": 9, "temperature": 0.9, "seed": 5, "top_k": 40, "min_p": 0.01, "repetition_penalty": 1.1}


@pytest.mark.usefixtures("one_thread")
def test_curl_and_python_make_the_same_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    said, model = 'it\'s "so" $HOME\n{é}', served(1)
    model = replace(model, tokenizer=replace(model.tokenizer, chat_template=TEMPLATE))
    with in_a_thread(model) as address:
        for asked in ({"prompt": said}, {"messages": [{"role": "user", "content": said}]}):
            body = {**asked, **NUMBERS}
            text = Text(address, body)
            wait_until(lambda text=text: text.is_done)  # type: ignore[misc]
            assert text.text() and not text.error
            (tmp_path / "said.py").write_text(snippets.python(address, body))
            runpy.run_path(str(tmp_path / "said.py"))
            assert capsys.readouterr().out == f"{text.text()}\n"
            done = subprocess.run(["sh", "-c", snippets.curl(address, body)], capture_output=True, check=True)
            (choice,) = json.loads(done.stdout)["choices"]
            assert (choice["message"]["content"] if "messages" in asked else choice["text"]) == text.text()
            monkeypatch.setenv(KEY, "swordfish")  # the second time with a key, which this server does not want
    assert "swordfish" not in snippets.python(address, body) + snippets.curl(address, body)
