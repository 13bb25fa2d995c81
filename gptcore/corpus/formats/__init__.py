"""File formats: a fetched file comes in; its records, and of each the text, go out, in the memory of one record.

`unpack.py` opens gzip and zstd, `records.py` chooses the reader (`json_records.py`, `csv_records.py`,
`parquet_records.py`), `template.py` puts the fields of a record together, `other_content.py` names what a file is when
it is no text. Read `records.py` first.
"""
