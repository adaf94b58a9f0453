"""Child process of ``workbook``: prints the rows of a sheet within a limit of memory.

    python sheet_rows.py MEMORY_BYTES FILE [SHEET]

A workbook of a few kilobytes can need any amount of memory, by a cell in the last corner of the sheet or by a long text
that a million cells share, and the library ends the process if it is refused. The first line of the output is a JSON
array with the names of the sheets, line n + 1 one with the cells of row n.
"""

import datetime
import json
import resource
import sys

from python_calamine import CalamineError, CalamineWorkbook, SheetTypeEnum


def main(memory_bytes: int, path: str, name: str | None = None) -> None:
    """Print the rows of a sheet, the first one by default; if there is no such sheet, only the names of the others."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    with CalamineWorkbook.from_path(path) as workbook:
        names = [sheet.name for sheet in workbook.sheets_metadata if sheet.typ == SheetTypeEnum.WorkSheet]
        chosen = names[0] if name is None and names else name
        sheet = workbook.get_sheet_by_name(chosen) if chosen in names else None
        print(json.dumps(names))
        for row in sheet.iter_rows() if sheet and sheet.start else ():
            print(json.dumps(row, default=_to_text))


def _to_text(value: datetime.date | datetime.time | datetime.timedelta) -> str:
    return str(value) if isinstance(value, datetime.timedelta) else value.isoformat()


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]), *sys.argv[2:])
    except CalamineError as error:
        sys.exit(str(error) or type(error).__name__)
