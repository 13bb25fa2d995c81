"""Where the registry is: at MLFLOW_TRACKING_URI, or in a database in the checkout. Imports no mlflow (2 s)."""

import os
import re
from pathlib import Path
from urllib.parse import unquote

from gptcore.errors import UserError


def tracking_uri(checkout: Path) -> str:
    """MLFLOW_TRACKING_URI, or a database in the checkout."""
    return os.environ.get("MLFLOW_TRACKING_URI") or embedded_uri(checkout)


def embedded_uri(checkout: Path) -> str:
    """A database in the checkout, whatever characters its path has.

    In a database's URI `?` begins options and `%41` is an A. The driver is named, as MLflow would make a folder of the
    escaped name for a plain `sqlite:///`.
    """
    path = str(checkout / "mlflow.db").replace("%", "%25").replace("?", "%3F")
    return f"sqlite+pysqlite:///{path}"


def check_place(checkout: Path) -> None:
    """Raises UserError if models kept in the checkout could not be loaded: MLflow unescapes even plain paths."""
    if not os.environ.get("MLFLOW_TRACKING_URI") and re.search("%[0-9A-Fa-f]{2}", str(checkout)):
        raise UserError(
            f"MLflow cannot load models from {checkout}, as it takes a % with two digits in a path for another "
            "character; rename the folder, or set MLFLOW_TRACKING_URI to a server"
        )


def sqlite_file(uri: str) -> Path | None:
    """The file behind a SQLite database's URI; None of any other."""
    scheme, _, path = uri.partition(":///")
    return Path(unquote(path.partition("?")[0])) if scheme.partition("+")[0] == "sqlite" else None
