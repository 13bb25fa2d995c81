"""Transactions of Prefect's server on SQLite: one that reads before it writes, while another writes."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy

if TYPE_CHECKING:  # Prefect's server is imported by the test alone: each test process collects all tests, and runs some
    from prefect.server.database.configurations import AioSqliteConfiguration


async def both(configuration: "AioSqliteConfiguration") -> int:
    """What two such transactions at once leave of two additions."""
    engine = await configuration.engine()

    async def add_one() -> None:
        session = await configuration.session(engine)
        async with session, configuration.begin_transaction(session):
            await session.execute(sqlalchemy.text("SELECT * FROM added"))
            await asyncio.sleep(0.05)
            await session.execute(sqlalchemy.text("UPDATE added SET number = number + 1"))

    try:
        async with engine.begin() as connection:
            await connection.execute(sqlalchemy.text("CREATE TABLE added (number int)"))
            await connection.execute(sqlalchemy.text("INSERT INTO added VALUES (0)"))
        await asyncio.gather(add_one(), add_one())
        async with engine.connect() as connection:
            return int(await connection.scalar(sqlalchemy.text("SELECT number FROM added")))
    finally:
        await engine.dispose()


def test_transactions_of_our_server_wait_for_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.server.database.configurations import AioSqliteConfiguration

    from flows.services.sqlite import begin_immediate

    with pytest.raises(sqlalchemy.exc.OperationalError, match="database is locked"):  # else Prefect has mended it
        asyncio.run(both(AioSqliteConfiguration(f"sqlite+aiosqlite:///{tmp_path}/prefect.db")))
    monkeypatch.setattr(AioSqliteConfiguration, "begin_transaction", begin_immediate)
    assert asyncio.run(both(AioSqliteConfiguration(f"sqlite+aiosqlite:///{tmp_path}/ours.db"))) == 2
