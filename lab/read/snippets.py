"""A request of the playground as a curl line and in Python, to be copied."""

import json
import os
import shlex
from collections.abc import Mapping
from typing import Any

from lab.read.served import KEY, route

OURS = ("top_k", "min_p", "repetition_penalty")  # fields that OpenAI's client does not know


def curl(address: str, body: Mapping[str, Any]) -> str:
    """A key stays in its variable."""
    header = f' -H "Authorization: Bearer ${KEY}"' if os.environ.get(KEY) else ""
    written = shlex.quote(json.dumps(body, ensure_ascii=False))
    return f"curl {address}{route(body)} -H 'Content-Type: application/json'{header} -d {written}"


def python(address: str, body: Mapping[str, Any]) -> str:
    """With OpenAI's client, whose own fields are named; ours are additional ones."""
    begin, key = ("import os\n\n", f'os.environ["{KEY}"]') if os.environ.get(KEY) else ("", '"none"')
    words = "".join(f"    {name}={value!r},\n" for name, value in body.items() if name not in OURS)
    extra = {name: value for name, value in body.items() if name in OURS}
    what, said = ("chat.completions", "message.content") if "messages" in body else ("completions", "text")
    return (
        f'{begin}from openai import OpenAI\n\nclient = OpenAI(base_url="{address}/v1", api_key={key})\n'
        f'said = client.{what}.create(\n    model="gpt",\n{words}    extra_body={extra!r},\n)\n'
        f"print(said.choices[0].{said})"
    )
