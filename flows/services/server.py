"""`prefect server start`, whose SQLite transactions wait for each other: `python -m flows.services.server`.

Prefect begins them DEFERRED. One that reads first and writes after another has written then fails at once with
`database is locked`, whatever the busy timeout: of two idle workers' heartbeats, some do every few minutes. Begun
IMMEDIATE, they wait for their turn. No setting of Prefect's does this; PostgreSQL needs none.
"""

import sys
from contextlib import AbstractAsyncContextManager

from prefect.cli import app
from prefect.server.database.configurations import AioSqliteConfiguration
from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction

begin_transaction = AioSqliteConfiguration.begin_transaction


def begin_immediate(
    configuration: AioSqliteConfiguration, session: AsyncSession, with_for_update: bool = False
) -> AbstractAsyncContextManager[AsyncSessionTransaction]:
    return begin_transaction(configuration, session, with_for_update=True)


if __name__ == "__main__":
    AioSqliteConfiguration.begin_transaction = begin_immediate  # type: ignore[method-assign, assignment]
    sys.argv[1:] = ["--no-prompt", "server", "start"]
    app()
