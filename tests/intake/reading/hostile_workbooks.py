"""Workbooks that unfold to more than anyone can hold, or would if a reader let them. Few bytes each."""

import io
import struct
import zipfile
from collections.abc import Callable

from .packages import SHEET, Parts, inline, parts, row, sheet, zipped

MIB = 2**20


def strings_times_uses() -> bytes:
    """One long shared string, named by every cell."""
    cells = '<c t="s"><v>0</v></c>' * 27
    return zipped(parts({"Data": sheet(*[cells] * 100)}, strings=[f"<t>{'x' * 10 * MIB}</t>"]))


def medium_strings_times_uses() -> bytes:
    """A shared string as long as Excel allows, named by so many rows that all of them together are the bomb."""
    cells = row('<c t="s"><v>0</v></c>', '<c t="s"><v>0</v></c>')
    return zipped(parts({"Data": sheet(*[cells] * 40_000)}, strings=[f"<t>{'x' * 32_767}</t>"]))


def strings_in_other_sheets() -> bytes:
    """The same, spread over sheets that are not the one that fits first."""
    cells = '<c t="s"><v>0</v></c>' * 20
    sheets = {"Data": sheet(row())} | {f"S{number}": sheet(*[cells] * 100) for number in range(30)}
    return zipped(parts(sheets, strings=[f"<t>{'x' * 32_767}</t>"]))


def inline_strings() -> bytes:
    """Text of cells that stands in the cells, highly packed."""
    cell = inline("x" * 32_000)
    return zipped(parts({"Data": sheet(*[row(cell, cell)] * 3_000)}))


def results_of_formulas() -> bytes:
    """The same as results of formulas."""
    cell = f'<c t="str"><f>A1</f><v>{"x" * 32_000}</v></c>'
    return zipped(parts({"Data": sheet(*[row(cell, cell)] * 3_000)}))


def many_different_strings() -> bytes:
    """More shared strings than fit, which cannot be packed away."""
    strings = (f"<t>{number:x}-{number * 2654435761 % 2**32:08x}</t>" for number in range(9_000_000))
    return zipped(parts({"Data": sheet(row())}, strings=strings))


def wide_rows() -> bytes:
    """One cell at the right end of each of many rows."""
    rows = "".join(f'<row r="{number}"><c r="XFD{number}"><v>1</v></c></row>' for number in range(2, 300_000))
    return zipped(parts({"Data": sheet().replace("</sheetData>", f"{rows}</sheetData>")}))


def empty_cells() -> bytes:
    """Ten million cells that hold nothing."""
    return zipped(parts({"Data": sheet(row(), "<c/>" * 10_000_000)}))


def empty_rows() -> bytes:
    """Rows without end."""
    return zipped(parts({"Data": sheet().replace("</sheetData>", "<row/>" * 10_000_000 + "</sheetData>")}))


def merged_cells() -> bytes:
    """Merged cells that cover the sheet, many times over."""
    merged = '<mergeCells count="900000">' + '<mergeCell ref="A1:XFD1048576"/>' * 900_000 + "</mergeCells>"
    return zipped(parts({"Data": sheet(row(), after=merged)}))


def the_same_cell() -> bytes:
    """One cell, again and again."""
    return zipped(parts({"Data": sheet(row() + '<c r="A2"><v>1</v></c>' * 1_000_000)}))


def many_sheets() -> bytes:
    """Five thousand sheets."""
    return zipped(parts({f"S{number}": "<worksheet/>" for number in range(5_000)} | {"Data": sheet(row())}))


def many_members() -> bytes:
    """A million entries in the directory of the package."""
    content = io.BytesIO()
    given = zipped(parts({"Data": sheet(row())}))
    end = given.rindex(b"PK\x05\x06")
    offset = struct.unpack("<I", given[end + 16 : end + 20])[0]
    extra = b"".join(
        struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 33, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0)
        + f"{number:07}".encode()
        for number in range(1_000_000)
    )
    content.write(given[:end] + extra)
    # Sixty-four bits, for there are more entries than the old record can count.
    size = end - offset + len(extra)
    place = content.tell()
    content.write(struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1_000_000, 1_000_000, size, offset))
    content.write(struct.pack("<4sLQL", b"PK\x06\x07", 0, place, 1))
    content.write(struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0))
    return content.getvalue()


def overlapping_members() -> bytes:
    """Every sheet is the same packed bytes, so that the package is short for what it unfolds to."""
    sheets = {f"S{number}": "<worksheet/>" for number in range(200)}
    content = zipped(parts(sheets))
    plain = sheet(*['<c r="A2"/>' * 400_000]).encode()
    archive = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.infolist():
            if not member.filename.startswith("xl/worksheets"):
                new.writestr(member.filename, old.read(member))
        with new.open("xl/worksheets/sheet1.xml", "w") as stream:
            stream.write(plain)
        first = new.getinfo("xl/worksheets/sheet1.xml")
        for _ in range(2, 201):
            other = zipfile.ZipInfo(first.filename)
            for name in ("compress_type", "CRC", "compress_size", "file_size", "header_offset", "flag_bits"):
                setattr(other, name, getattr(first, name))
            # zipfile compares the name in the directory with the one in front of the bytes: the sheets share it.
            new.filelist.append(other)
    return archive.getvalue()


def declared_too_small() -> bytes:
    """A sheet that unfolds to much more than the directory says."""
    content = bytearray(zipped(parts({"Data": sheet(row(), "<c/>" * 5_000_000)})))
    entry = content.rindex(SHEET.encode()) - 46
    content[entry + 24 : entry + 28] = (1_000).to_bytes(4, "little")
    return bytes(content)


def declared_too_long() -> bytes:
    """A sheet that says that it unfolds to 4 GiB."""
    content = bytearray(zipped(parts({"Data": sheet(row())})))
    entry = content.rindex(SHEET.encode()) - 46
    content[entry + 24 : entry + 28] = (2**32 - 2).to_bytes(4, "little")
    return bytes(content)


def entities(inner: str, body: str = "&l9;") -> bytes:
    """A sheet whose document type declares entities."""
    data = sheet(f'<c r="A2" t="str"><v>{body}</v></c>')
    return zipped(parts({"Data": data.replace("<worksheet", f"<!DOCTYPE worksheet [{inner}]><worksheet", 1)}))


def billion_laughs() -> bytes:
    """Entities of entities."""
    levels = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    return entities(f'<!ENTITY l0 "ha">{levels}')


def quadratic_blowup() -> bytes:
    """One long entity, many times."""
    return entities(f'<!ENTITY l9 "{"x" * 100_000}">', "&l9;" * 100_000)


def external_entity() -> bytes:
    """An entity that is a file of the reader's machine."""
    return entities('<!ENTITY l9 SYSTEM "file:///etc/hostname">')


def external_document_type() -> bytes:
    """A document type that lies elsewhere."""
    data = sheet(row()).replace("<worksheet", '<!DOCTYPE w SYSTEM "http://127.0.0.1:9/w.dtd"><worksheet', 1)
    return zipped(parts({"Data": data}))


def deep_nesting() -> bytes:
    """Ten million tags within each other."""
    return zipped(parts({"Data": sheet(row(), before="<a>" * 10_000_000)}))


def long_attribute() -> bytes:
    """A tag of 50 MB."""
    return zipped(parts({"Data": sheet(row(), before=f'<a b="{"x" * 50_000_000}"/>')}))


def names_without_end() -> bytes:
    """Two million tags, no two alike."""
    return zipped(parts({"Data": sheet(row(), before="".join(f"<a{n:x}/>" for n in range(2_000_000)))}))


def gigantic_styles() -> bytes:
    """Formats of cells without end."""
    xfs = '<xf numFmtId="14"/>' * 3_000_000
    return zipped(parts({"Data": sheet(row())}, styles=f"<cellXfs>{xfs}</cellXfs>"))


def gigantic_drawing() -> bytes:
    """A part of 3 GiB that nobody needs."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, text in parts({"Data": sheet(row())}).items():
            archive.writestr(name, text)
        with archive.open("xl/drawings/drawing1.xml", "w", force_zip64=True) as part:
            for _ in range(3 * 1024):
                part.write(bytes(MIB))
    return content.getvalue()


def nested_archives() -> bytes:
    """A workbook within a workbook within a workbook."""
    content = zipped(parts({"Data": sheet(row())}))
    for _ in range(50):
        members: Parts = parts({"Data": sheet(row())}) | {"xl/embeddings/book.xlsx": content}
        content = zipped(members)
    return content


# What becomes of each: rejected for this reason, or None for rows.
HOSTILE: dict[Callable[[], bytes], str | None] = {
    strings_times_uses: "UNREADABLE",
    medium_strings_times_uses: "UNREADABLE",
    strings_in_other_sheets: "UNREADABLE",
    inline_strings: "UNREADABLE",
    results_of_formulas: "UNREADABLE",
    many_different_strings: "UNREADABLE",
    wide_rows: "UNREADABLE",
    empty_cells: "UNREADABLE",
    empty_rows: "UNREADABLE",
    merged_cells: None,
    the_same_cell: None,
    many_sheets: None,
    many_members: "UNREADABLE",
    overlapping_members: "UNREADABLE",
    declared_too_small: "UNREADABLE",
    declared_too_long: "UNREADABLE",
    billion_laughs: "UNREADABLE",
    quadratic_blowup: "UNREADABLE",
    external_entity: "UNREADABLE",
    external_document_type: "UNREADABLE",
    deep_nesting: "UNREADABLE",
    long_attribute: "UNREADABLE",
    names_without_end: "UNREADABLE",
    gigantic_styles: None,
    gigantic_drawing: None,
    nested_archives: None,
}
