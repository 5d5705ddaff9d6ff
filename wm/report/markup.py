"""Pieces of an HTML document that needs no other file and no network; all words are escaped here."""

import base64
from collections.abc import Mapping, Sequence
from html import escape

STYLE = """
body { margin: 0; background: #f4f4f1; color: #1c1c1a; font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 1160px; margin: 0 auto; padding: 20px 20px 60px; }
h1 { font-size: 28px; line-height: 1.2; margin: 0 0 6px; }
h2 { font-size: 21px; margin: 40px 0 6px; padding-top: 14px; border-top: 1px solid #d5d5cf; }
h3 { font-size: 16px; margin: 20px 0 4px; }
p { max-width: 85ch; margin: 6px 0; }
dl { margin: 10px 0; font-size: 17px; }
dt { font-weight: 650; }
dd { margin: 0 0 8px; }
nav { margin: 10px 0 0; font-size: 14px; }
nav a { margin-right: 14px; color: #4b3a86; }
.cards, .pair { display: grid; gap: 14px; align-items: start; }
.cards { grid-template-columns: repeat(auto-fit, minmax(230px, 1fr)); margin: 14px 0; align-items: stretch; }
.pair { grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr)); }
.card, figure { background: #fff; border: 1px solid #ddd; border-radius: 8px; padding: 10px 14px; }
.card b { display: block; font-size: 27px; line-height: 1.25; font-weight: 650; }
.card span, figcaption { font-size: 14px; color: #4a4a44; }
figure { margin: 10px 0; }
figure img, figure video { display: block; width: 100%; height: auto; margin-bottom: 6px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; background: #fff; font-size: 14px; margin: 10px 0; }
th, td { border: 1px solid #ddd; padding: 4px 10px; text-align: right; white-space: nowrap; }
th { background: #ecece6; font-weight: 600; }
th:first-child, td:first-child { text-align: left; }
pre { font: 14px ui-monospace, monospace; background: #ecece6; padding: 8px 12px; border-radius: 6px;
  overflow-x: auto; }
summary { cursor: pointer; margin: 8px 0; }
"""


def document(title: str, *parts: str) -> str:
    """The whole file."""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
{"".join(parts)}</main>
</body>
</html>
"""


def heading(level: int, words: str) -> str:
    """A heading."""
    return f"<h{level}>{escape(words)}</h{level}>\n"


def paragraph(words: str) -> str:
    """Running text."""
    return f"<p>{escape(words)}</p>\n"


def answers(pairs: Mapping[str, str]) -> str:
    """Questions with their answers."""
    lines = (f"<dt>{escape(q)}</dt><dd>{escape(a)}</dd>\n" for q, a in pairs.items())
    return f"<dl>\n{''.join(lines)}</dl>\n"


def commands(lines: Sequence[str]) -> str:
    """What to type."""
    return f"<pre>{escape(chr(10).join(lines))}</pre>\n"


def links(titles: Mapping[str, str]) -> str:
    """The way to the sections, by anchor."""
    found = (f'<a href="#{escape(anchor)}">{escape(title)}</a>' for anchor, title in titles.items())
    return f"<nav>{''.join(found)}</nav>\n"


def section(anchor: str, title: str, *parts: str) -> str:
    """A part of the page under its heading."""
    return f'<section id="{escape(anchor)}">\n{heading(2, title)}{"".join(parts)}</section>\n'


def cards(figures: Sequence[tuple[str, str]]) -> str:
    """Figures in large type, and what each is."""
    found = (
        f'<div class="card"><b>{escape(figure)}</b><span>{escape(words)}</span></div>\n'
        for figure, words in figures
    )
    return f'<div class="cards">\n{"".join(found)}</div>\n'


def pair(left: str, right: str) -> str:
    """Two figures, side by side where there is room."""
    return f'<div class="pair">\n{left}{right}</div>\n'


def folded(words: str, *parts: str) -> str:
    """What is shown on request."""
    return f"<details><summary>{escape(words)}</summary>\n{''.join(parts)}</details>\n"


def chart(svg: bytes, alt: str, caption: str) -> str:
    """A drawing with its caption."""
    return _image(svg, "image/svg+xml", alt, caption)


def picture(png: bytes, alt: str, caption: str) -> str:
    """A picture with its caption."""
    return _image(png, "image/png", alt, caption)


def film(webm: bytes, caption: str) -> str:
    """A film with its caption."""
    video = f'<video controls muted loop playsinline src="{inside(webm, "video/webm")}"></video>'
    return f"<figure>{video}\n<figcaption>{escape(caption)}</figcaption></figure>\n"


def _image(content: bytes, kind: str, alt: str, caption: str) -> str:
    image = f'<img src="{inside(content, kind)}" alt="{escape(alt)}">'
    return f"<figure>{image}\n<figcaption>{escape(caption)}</figcaption></figure>\n"


def inside(content: bytes, kind: str) -> str:
    """A file inside the page, as a data: address."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; the first column is of names."""
    lines = ["".join(f"<th>{escape(name)}</th>" for name in head)]
    lines += ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    body = "".join(f"<tr>{line}</tr>\n" for line in lines)
    return f'<div class="scroll"><table>\n{body}</table></div>\n'
