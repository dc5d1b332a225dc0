"""The frame of a page: Indonesian, one file, style inside, no script, and forbidden to load anything from elsewhere."""

from collections.abc import Iterable, Sequence
from html import escape

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
# dbt's site runs scripts of its own, which all stand in the file.
SCRIPTED = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:;"
    " font-src data:"
)
TRACKER = "//d1fc8wv8zag5ca.cloudfront.net/2.9.0/sp.js"
ICON = "${require('./assets/favicons/favicon.ico')}"

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #1b1b1b; }
h2 { margin-top: 2.5rem; } h2 code { font-size: 0.8em; color: #555; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; font-size: 0.9rem; }
th, td { border-bottom: 1px solid #ddd; padding: 0.3rem 0.6rem; text-align: left; vertical-align: top; }
th { border-bottom: 2px solid #888; } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
[lang=en]::after { content: " (Inggris)"; color: #777; font-size: 0.85em; }
"""


def page(title: str, body: str) -> str:
    """A whole page. `title` is text, `body` HTML."""
    return (
        f'<!doctype html>\n<html lang="id">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<link rel="icon" href="data:,">\n<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n'
        f"<body>\n<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """A table. `heads` are text, cells HTML; columns whose places are in `numbers` are set right."""
    kinds = [' class="n"' if place in numbers else "" for place in range(len(heads))]
    head = "".join(f"<th{kind}>{escape(text)}</th>" for kind, text in zip(kinds, heads, strict=True))
    lines = [
        "<tr>" + "".join(f"<td{kind}>{cell}</td>" for kind, cell in zip(kinds, row, strict=True)) + "</tr>"
        for row in rows
    ]
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{chr(10).join(lines)}\n</tbody>\n</table>"


def paragraphs(*texts: str) -> str:
    """Paragraphs of text."""
    return "\n".join(f"<p>{escape(text)}</p>" for text in texts)


def without_network(site: str) -> str:
    """dbt's site without the address of its tracker, and forbidden to load anything from elsewhere."""
    policy = f'<meta http-equiv="Content-Security-Policy" content="{SCRIPTED}">'
    return site.replace(TRACKER, "").replace(ICON, "data:,").replace("<head>", f"<head>{policy}", 1)
