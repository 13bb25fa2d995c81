"""PostgreSQL for the Prefect server of `make ui`, where GPTCORE_POSTGRES names one; otherwise it uses SQLite."""

import asyncio
import os

from asyncpg import InterfaceError, PostgresError
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

from gptcore.errors import Unavailable, UserError

DRIVER = "postgresql+asyncpg"
PATIENCE_SECONDS = 10.0


def prefect_database() -> dict[str, str]:
    """Settings for the server, from GPTCORE_POSTGRES. Raises UserError if it is no address or does not let us in."""
    address = os.environ.get("GPTCORE_POSTGRES")
    if not address:
        return {}
    try:
        is_one = make_url(address).drivername == DRIVER
    except (ArgumentError, ValueError):  # of a port that is no number
        is_one = False
    if not is_one:
        raise UserError(f"GPTCORE_POSTGRES={address}: must begin with {DRIVER}:// and name host and database")
    try:
        asyncio.run(asyncio.wait_for(_ask(address), PATIENCE_SECONDS))
    except (OSError, TimeoutError) as error:
        said = " ".join(str(error).split()) or f"no answer within {PATIENCE_SECONDS:.0f} s"
        raise Unavailable(f"GPTCORE_POSTGRES={address} cannot be reached: {said}") from None
    except (PostgresError, InterfaceError, SQLAlchemyError) as error:
        raise UserError(f"GPTCORE_POSTGRES={address} lets nobody in: {' '.join(str(error).split())}") from None
    return {"PREFECT_SERVER_DATABASE_CONNECTION_URL": address}


async def _ask(address: str) -> None:
    engine = create_async_engine(address)
    try:
        async with engine.connect():
            pass
    finally:
        await engine.dispose()
