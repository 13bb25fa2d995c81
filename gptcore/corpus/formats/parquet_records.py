"""Records of Parquet files, read page by page."""

import io
from collections.abc import Iterator
from typing import Any

from gptcore.corpus.formats.csv_records import two_columns
from gptcore.corpus.formats.template import column_of, no_field
from gptcore.corpus.formats.unpack import seekable
from gptcore.errors import UserError

BATCH_ROWS = 64


def parquet_records(file: io.BufferedReader, address: str, fields: list[str]) -> Iterator[dict[str, Any]]:
    """Raises UserError, also if two columns have the name of one of `fields`, or a page does not match its checksum."""
    import pyarrow
    import pyarrow.parquet

    with seekable(file) as source:
        try:
            # read single pages, not whole row groups: some writers put the whole file into one row group
            table = pyarrow.parquet.ParquetFile(
                source, buffer_size=1 << 20, pre_buffer=False, page_checksum_verification=True
            )
            names = table.schema_arrow.names
            columns = {column_of(field, names): field for field in fields}
            for column, field in columns.items():
                if names.count(column) != 1:
                    raise two_columns(column, address) if column in names else no_field(field, "", names, address)
            for batch in table.iter_batches(BATCH_ROWS, columns=list(columns) or None):
                yield from batch.to_pylist()
        except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
            raise UserError(f"{address}: is no Parquet that can be read: {' '.join(str(error).split())}") from None
