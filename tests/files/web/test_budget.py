"""What a browser has to fetch and read before it shows anything."""

import re

from django.conf import settings

STATIC = settings.BASE_DIR / "static"
KB = 1_000


def test_styles_are_at_most_60_kb():
    assert sum(path.stat().st_size for path in STATIC.rglob("*.css")) <= 60 * KB


def test_scripts_are_at_most_150_kb_without_comments_and_indentation():
    """Those are for whoever reads them here, and cost next to nothing once compressed."""
    code = 0
    for path in STATIC.rglob("*.js"):
        lines = (line.strip() for line in path.read_text().splitlines())
        code += sum(len(f"{line}\n".encode()) for line in lines if not re.match(r"//|/?\*", line))

    assert code <= 150 * KB
