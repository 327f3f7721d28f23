"""What templates say of sizes, times and icons."""

from datetime import datetime
from typing import Any

from django import template
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from files.web import icons, words

register = template.Library()


@register.simple_tag
def icon(name: str, extra: str = "") -> SafeString:
    """An icon of the sprite. Decoration only: what it means stands beside it in words."""
    return format_html(
        '<svg class="icon{}" aria-hidden="true"><use href="{}#i-{}"></use></svg>',
        f" {extra}" if extra else "",
        icons_url(),
        name,
    )


@register.simple_tag
def icons_url() -> str:
    """Where the sprite is; the address changes with its content."""
    return f"{reverse('web:icons')}?v={icons.sprite_version()}"


@register.simple_tag
def kinds() -> dict[str, Any]:
    """The table of file kinds, for the page's script."""
    return words.KINDS


@register.filter
def size(size_bytes: int | None) -> str:
    """ "2.1 MB"; a dash for what has no size."""
    return "–" if size_bytes is None else words.size(size_bytes)


@register.filter
def exact_size(size_bytes: int | None) -> str:
    """The exact number of bytes; nothing for what has no size."""
    return "" if size_bytes is None else words.exact_size(size_bytes)


@register.filter
def ago(moment: datetime) -> SafeString:
    """A <time>: relative in the text, exact in the title."""
    return _time(moment, words.ago(moment, timezone.now()), "")


@register.filter
def ahead(moment: datetime) -> SafeString:
    """The same for a moment to come."""
    return _time(moment, words.ahead(moment, timezone.now()), " data-ahead")


def _time(moment: datetime, text: str, mark: str) -> SafeString:
    return format_html(
        '<time datetime="{}" title="{} UTC"{}>{}</time>',
        moment.isoformat(),
        f"{moment:%A, %d %B %Y, %H:%M:%S}",
        mark,
        text,
    )
