"""Workbooks written cell by cell, as the formats define them: ECMA-376 (.xlsx) and OpenDocument 1.3 (.ods)."""

import datetime
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

_HEAD = '<?xml version="1.0" encoding="UTF-8"?>'
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
# Three styles: none, date, date and time.
_FORMATS = '<xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="22"/>'
_DAY_ZERO = datetime.datetime(1899, 12, 30)
_ODS = "urn:oasis:names:tc:opendocument:xmlns:"


def write_xlsx(path: Path, sheets: Mapping[str, Sequence[Sequence[object]]]) -> None:
    """Write a workbook of some sheets; None is no cell."""
    write_xlsx_xml(
        path, {name: "".join(_row(number, row) for number, row in enumerate(rows, 1)) for name, rows in sheets.items()}
    )


def write_xlsx_xml(path: Path, sheets: Mapping[str, str], shared: str = "") -> None:
    """Write a workbook, given the rows of each sheet and the shared strings as XML."""
    numbers = range(1, len(sheets) + 1)
    listed = "".join(
        f'<sheet name="{escape(name)}" sheetId="{number}" r:id="rId{number}"/>'
        for number, name in zip(numbers, sheets, strict=True)
    )
    targets = {number: ("worksheet", f"worksheets/sheet{number}.xml") for number in numbers}
    targets |= {len(sheets) + 1: ("styles", "styles.xml"), len(sheets) + 2: ("sharedStrings", "sharedStrings.xml")}
    links = "".join(
        f'<Relationship Id="rId{number}" Type="{_OFFICE}/{kind}" Target="{target}"/>'
        for number, (kind, target) in targets.items()
    )
    package = f'<Relationship Id="rId1" Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/>'
    types = '<Default Extension="xml" ContentType="application/xml"/>'
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types">{types}</Types>',
        "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">{package}</Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><sheets>{listed}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">{links}</Relationships>',
        "xl/styles.xml": f'<styleSheet xmlns="{_MAIN}"><cellXfs>{_FORMATS}</cellXfs></styleSheet>',
        "xl/sharedStrings.xml": f'<sst xmlns="{_MAIN}">{shared}</sst>',
        **{
            f"xl/worksheets/sheet{number}.xml": f'<worksheet xmlns="{_MAIN}"><sheetData>{rows}</sheetData></worksheet>'
            for number, rows in zip(numbers, sheets.values(), strict=True)
        },
    }
    _write_zip(path, parts)


def write_ods(path: Path, rows: Sequence[Sequence[str]]) -> None:
    """Write an OpenDocument workbook of one sheet of texts."""
    cells = [
        "".join(
            f'<table:table-cell office:value-type="string"><text:p>{escape(cell)}</text:p></table:table-cell>'
            for cell in row
        )
        for row in rows
    ]
    table = "".join(f"<table:table-row>{row}</table:table-row>" for row in cells)
    names = "".join(f' xmlns:{name}="{_ODS}{name}:1.0"' for name in ("office", "table", "text"))
    content = (
        f"<office:document-content{names}><office:body><office:spreadsheet>"
        f'<table:table table:name="Sheet1">{table}</table:table>'
        "</office:spreadsheet></office:body></office:document-content>"
    )
    kind = "application/vnd.oasis.opendocument.spreadsheet"
    entries = "".join(
        f'<manifest:file-entry manifest:full-path="{name}" manifest:media-type="{kind}"/>'
        for name in ("/", "content.xml")
    )
    manifest = f'<manifest:manifest xmlns:manifest="{_ODS}manifest:1.0">{entries}</manifest:manifest>'
    _write_zip(path, {"mimetype": kind, "content.xml": content, "META-INF/manifest.xml": manifest})


def _write_zip(path: Path, parts: Mapping[str, str]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content if name == "mimetype" else _HEAD + content)


def _row(number: int, row: Sequence[object]) -> str:
    cells = "".join(_cell(f"{chr(65 + index)}{number}", value) for index, value in enumerate(row) if value is not None)
    return f'<row r="{number}">{cells}</row>'


def _cell(place: str, value: object) -> str:
    match value:
        case bool():
            return f'<c r="{place}" t="b"><v>{int(value)}</v></c>'
        case int() | float():
            return f'<c r="{place}"><v>{value}</v></c>'
        case datetime.datetime():
            return f'<c r="{place}" s="2"><v>{(value - _DAY_ZERO) / datetime.timedelta(days=1)}</v></c>'
        case datetime.date():
            return f'<c r="{place}" s="1"><v>{(value - _DAY_ZERO.date()).days}</v></c>'
    return f'<c r="{place}" t="inlineStr"><is><t xml:space="preserve">{escape(str(value))}</t></is></c>'
