"""The process that reads what somebody uploaded: limited, without secrets, run for one file.

`python -I program.py ACTION …` has the content on its standard input and gives what is to be
shown on its standard output. A hostile file can at worst end it: then there is no preview.
It is run as a file, so it must import nothing of Drive.
"""

import os
import resource
import sys
from io import BytesIO

MEMORY_BYTES = 1 << 30
CPU_SECONDS = 10
ANSWER_BYTES = 32 << 20
# What a picture of a page has at most, and is wide.
MAX_PIXELS = 6_000_000
PAGE_WIDTH = 1_200
LONG_LINES = 2_000

CANNOT = 3


def limit() -> None:
    """No more memory, time and output than showing one file needs."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (ANSWER_BYTES, ANSWER_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(10)


def highlight(text: str, name: str) -> str:
    """Code as HTML, each token with a class."""
    from pygments import highlight as coloured
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import TextLexer, get_lexer_for_filename
    from pygments.util import ClassNotFound

    try:
        lexer = get_lexer_for_filename(name, text, stripnl=False, ensurenl=False)
    except ClassNotFound:
        lexer = TextLexer(stripnl=False, ensurenl=False)
    return str(coloured(text, lexer, HtmlFormatter(nowrap=True)))


def markdown(text: str) -> str:
    """Markdown as HTML; HTML within it is text, and no picture is fetched from elsewhere."""
    from markdown_it import MarkdownIt

    reader = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    return str(reader.disable("image").render(text))


def compared(old: str, new: str) -> str:
    """Rows of a table as JSON: what (equal, replace, delete, insert), then number and text of
    each side; null where equal lines are left out."""
    import json
    from difflib import SequenceMatcher
    from itertools import zip_longest

    before, after = old.splitlines(), new.splitlines()
    # Its guess at what is noise costs a better answer, and saves long files from taking hours.
    is_long = len(before) + len(after) > LONG_LINES
    rows: list[list[object] | None] = []
    for group in SequenceMatcher(None, before, after, autojunk=is_long).get_grouped_opcodes(3):
        if rows:
            rows.append(None)
        for what, start, end, new_start, new_end in group:
            for one, other in zip_longest(range(start, end), range(new_start, new_end)):
                left = [None, ""] if one is None else [one + 1, before[one]]
                right = [None, ""] if other is None else [other + 1, after[other]]
                rows.append([what, *left, *right])
    return json.dumps(rows)


def pdf_page(data: bytes, number: int) -> bytes:
    """A page (from 1) as a PNG; for 0, how many pages there are."""
    import pypdfium2

    document = pypdfium2.PdfDocument(data)
    if number == 0:
        return str(len(document)).encode()
    page = document[number - 1]
    width, height = page.get_size()
    scale = min(PAGE_WIDTH / width, (MAX_PIXELS / (width * height)) ** 0.5)
    picture = BytesIO()
    page.render(scale=scale).to_pil().convert("RGB").save(picture, "PNG")
    return picture.getvalue()


def main(action: str, argument: str) -> int:
    """What one of them makes of the standard input."""
    limit()
    data = sys.stdin.buffer.read()
    try:
        if action == "pdf":
            answer = pdf_page(data, int(argument))
        elif action == "compare":
            answer = compared(
                data[: int(argument)].decode(), data[int(argument) :].decode()
            ).encode()
        elif action == "markdown":
            answer = markdown(data.decode()).encode()
        else:
            answer = highlight(data.decode(), argument).encode()
    # Whatever a hostile file provokes.
    except Exception as error:  # noqa: BLE001
        sys.stderr.write(f"{type(error).__name__}: {error}"[:300])
        return CANNOT
    sys.stdout.buffer.write(answer)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
