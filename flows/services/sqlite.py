"""Transactions of Prefect's servers on SQLite that wait for each other.

Prefect begins them DEFERRED. One that reads first and writes after another has written then fails at once with
`database is locked`, whatever the busy timeout: of two idle workers' heartbeats, some do every few minutes, and so do
some of the events of a single run. Begun IMMEDIATE, they wait for their turn. No setting of Prefect's does this;
PostgreSQL needs none.
"""

from contextlib import AbstractAsyncContextManager

from prefect.server.database.configurations import AioSqliteConfiguration
from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction

begin_transaction = AioSqliteConfiguration.begin_transaction


def begin_immediate(
    configuration: AioSqliteConfiguration, session: AsyncSession, with_for_update: bool = False
) -> AbstractAsyncContextManager[AsyncSessionTransaction]:
    return begin_transaction(configuration, session, with_for_update=True)


def let_transactions_wait() -> None:
    """In this process, which is about to be a server."""
    AioSqliteConfiguration.begin_transaction = begin_immediate  # type: ignore[method-assign, assignment]
