"""Writes docs/pipeline.svg, the picture in the README: `python docs/make_picture.py`."""

from pathlib import Path

ROWS = [
    ("host, Python", ["sound", "features", "train (torch)", "quantize", "artefact"], "#e8f0fe"),
    ("host, reference", ["integer twin", "expected states"], "#e6f4ea"),
    ("chip, C", ["generated C", "ELF", "flash", "serial link", "states + cycles"], "#fef3e0"),
]
WIDTH, BOX, GAP, LEFT = 980, 136, 22, 150


def box(x: int, y: int, text: str, fill: str) -> str:
    return (
        f'<rect x="{x}" y="{y}" width="{BOX}" height="44" rx="6" fill="{fill}" stroke="#5f6368"/>'
        f'<text x="{x + BOX // 2}" y="{y + 27}" text-anchor="middle">{text}</text>'
    )


def arrow(x0: int, y0: int, x1: int, y1: int) -> str:
    return f'<line x1="{x0}" y1="{y0}" x2="{x1}" y2="{y1}" stroke="#5f6368" stroke-width="1.5" marker-end="url(#a)"/>'


def column(i: int) -> int:
    return LEFT + i * (BOX + GAP)


def picture() -> str:
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} 330" font-family="sans-serif" font-size="14">',
        f'<rect width="{WIDTH}" height="330" fill="white"/>',
        '<defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#5f6368"/></marker></defs>',
    ]
    columns = [[0, 1, 2, 3, 4], [3, 4], [0, 1, 2, 3, 4]]
    for row, (name, boxes, fill) in enumerate(ROWS):
        y = 30 + 90 * row
        parts.append(f'<text x="12" y="{y + 27}" fill="#5f6368">{name}</text>')
        for i, text in zip(columns[row], boxes, strict=True):
            parts.append(box(column(i), y, text, fill))
            if i > columns[row][0]:
                parts.append(arrow(column(i) - GAP, y + 22, column(i), y + 22))
    half = BOX // 2
    parts += [
        arrow(column(4) + 20, 74, column(3) + half, 120),
        f'<path d="M{column(4) + BOX} 52 h14 v118 H{column(0) + half} v34" fill="none" stroke="#5f6368" '
        'stroke-width="1.5" marker-end="url(#a)"/>',
        f'<line x1="{column(4) + half}" y1="164" x2="{column(4) + half}" y2="210" stroke="#c5221f" '
        'stroke-width="2" stroke-dasharray="5 3"/>',
        f'<text x="{column(4) + half - 8}" y="198" text-anchor="end" fill="#c5221f">compared, every step</text>',
        f'<text x="{LEFT}" y="300" fill="#5f6368">The same ELF runs on the built-in emulator (cycle-model) '
        "with modelled cycles.</text>",
        "</svg>\n",
    ]
    return "\n".join(parts)


if __name__ == "__main__":
    Path(__file__).with_name("pipeline.svg").write_text(picture())
