"""Workbooks put together part by part, for what no library writes."""

import io
import zipfile
from collections.abc import Iterable, Mapping
from xml.sax.saxutils import escape, quoteattr

from .conftest import TARGET_WIRES

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
STRICT_MAIN = "http://purl.oclc.org/ooxml/spreadsheetml/main"
STRICT_OFFICE = "http://purl.oclc.org/ooxml/officeDocument/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"

ROW = ("KC001", "2023-12", "10", "20", "30")
SHEET, STRINGS, STYLES = "xl/worksheets/sheet1.xml", "xl/sharedStrings.xml", "xl/styles.xml"

Parts = dict[str, str | bytes]


def column(number: int) -> str:
    """Letters of a column from 0."""
    letters = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


def inline(text: str, reference: str = "") -> str:
    """A cell of text that stands in the cell itself."""
    place = f' r="{reference}"' if reference else ""
    return f'<c{place} t="inlineStr"><is><t>{escape(text)}</t></is></c>'


def sheet(*rows: str, before: str = "", after: str = "", main: str = MAIN) -> str:
    """A sheet of rows, each given as its cells; the header of the feed target stands above them."""
    head = "".join(inline(wire, f"{column(number)}1") for number, wire in enumerate(TARGET_WIRES))
    body = "".join(f'<row r="{number}">{cells}</row>' for number, cells in enumerate(rows, 2))
    data = f'<sheetData><row r="1">{head}</row>{body}</sheetData>'
    return f'<?xml version="1.0"?><worksheet xmlns="{main}">{before}{data}{after}</worksheet>'


def row(*cells: str) -> str:
    """Cells of `cells`, text as it is or XML that begins with <c; those of a usual row follow."""
    values = [*cells, *ROW[len(cells) :]]
    return "".join(value if value.startswith("<c") else inline(value) for value in values)


def relations(targets: Iterable[tuple[str, str, str]]) -> str:
    """Relationships: id, type, target."""
    each = "".join(
        f"<Relationship Id={quoteattr(key)} Type={quoteattr(kind)} Target={quoteattr(target)}/>"
        for key, kind, target in targets
    )
    return f'<Relationships xmlns="{_PACKAGE}">{each}</Relationships>'


def parts(
    sheets: Mapping[str, str],
    *,
    states: Mapping[str, str] | None = None,
    strings: Iterable[str] = (),
    styles: str = "",
    properties: str = "",
    main: str = MAIN,
    office: str = OFFICE,
) -> Parts:
    """The parts of a workbook of `sheets`, XML by name. `strings` are the shared ones, each as its content."""
    names = list(sheets)
    shown = dict.fromkeys(names, "visible") | dict(states or {})
    listed = "".join(
        f'<sheet name={quoteattr(name)} sheetId="{number}" state="{shown[name]}" r:id="rId{number}"/>'
        for number, name in enumerate(names, 1)
    )
    targets = [
        (f"rId{number}", f"{office}/worksheet", f"worksheets/sheet{number}.xml") for number in range(1, len(names) + 1)
    ]
    contents = f"{properties}<sheets>{listed}</sheets>"
    found: Parts = {
        "_rels/.rels": relations([("rId1", f"{office}/officeDocument", "xl/workbook.xml")]),
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}">{contents}</workbook>',
    }
    for number, name in enumerate(names, 1):
        found[f"xl/worksheets/sheet{number}.xml"] = sheets[name]
    if strings:
        found[STRINGS] = f'<sst xmlns="{main}">{"".join(f"<si>{string}</si>" for string in strings)}</sst>'
        targets.append(("rStrings", f"{office}/sharedStrings", "sharedStrings.xml"))
    if styles:
        found[STYLES] = f'<styleSheet xmlns="{main}">{styles}</styleSheet>'
        targets.append(("rStyles", f"{office}/styles", "styles.xml"))
    found["xl/_rels/workbook.xml.rels"] = relations(targets)
    return found


def zipped(members: Parts) -> bytes:
    """The package."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return content.getvalue()


def book(*rows: str, before: str = "", after: str = "", **options: object) -> bytes:
    """A workbook of one sheet, see `sheet` and `parts`."""
    return zipped(parts({"Data": sheet(*rows, before=before, after=after)}, **options))  # type: ignore[arg-type]
