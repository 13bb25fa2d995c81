"""Requests made from the OpenAPI document: no answer is a failure of the server, and each is as the document says."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings

from serving.options import Options
from serving.service import Service
from tests.support.serving import listening, served

pytestmark = pytest.mark.usefixtures("one_thread")


def test_every_answer_is_as_the_document_says() -> None:
    import schemathesis  # a second, which not every test process needs
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    def fuzz(address: str) -> list[str]:
        whole, asked = schemathesis.openapi.from_url(f"{address}/openapi.json"), []
        for found in whole.exclude(path_regex="^/batches").get_all_operations():  # they need Prefect: test_batches.py
            operation = found.ok()

            @given(case=operation.as_strategy())
            @settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
            def run(case: schemathesis.Case) -> None:
                case.call_and_validate(timeout=60, excluded_checks=[positive_data_acceptance])

            run()
            asked.append(operation.label)
        return asked

    async def served_here() -> list[str]:
        async with listening(Service(Options(slots=4, queue=64), served(1))) as (_, address):
            return await asyncio.to_thread(fuzz, address)

    assert {"POST /v1/completions", "POST /generate", "GET /ready"} <= set(asyncio.run(served_here()))
