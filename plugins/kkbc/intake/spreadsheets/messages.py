"""What the process that reads a workbook says, as its parent reads it."""

import msgspec

from kkbc.intake.spreadsheets.sheet import Row


class Sheet(msgspec.Struct, tag="sheet"):
    """One sheet, in the order in which they are asked for a header: its first rows that hold something."""

    name: str
    hidden: bool
    top: list[Row]


class Sheets(msgspec.Struct, tag="sheets"):
    """That was all of them. The number of one of them, from 0, is the answer that is waited for."""

    date1904: bool


class Rows(msgspec.Struct, tag="rows"):
    """Rows of the sheet that was asked for."""

    rows: list[Row]


class End(msgspec.Struct, tag="end"):
    """The workbook has been read to its end."""


class Refused(msgspec.Struct, tag="refused"):
    """The workbook cannot be read. `detail` holds nothing that the branch wrote."""

    detail: str


Message = Sheet | Sheets | Rows | End | Refused

decode = msgspec.json.Decoder(Message).decode
