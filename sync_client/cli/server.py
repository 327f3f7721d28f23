"""What is on the server."""

from typing import Annotated

import typer

from sync_client.cli.device import api_of, opened_store
from sync_client.cli.output import harmless, say, size_text


def list_folder(
    path: Annotated[str, typer.Argument(help="Folder or file of the server.")] = "/",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """List a folder of the server."""
    import json

    from sync_client.listing import items_at

    store = opened_store()
    store.load().signed_in()
    api = api_of(store)
    try:
        items = items_at(api, path)
    finally:
        api.close()
    if as_json:
        say(json.dumps({"schema": 1, "items": items}, indent=2, ensure_ascii=False))
        return
    for item in items:
        if item["type"] == "folder":
            say(f"{'-':>9}  {item['modified_at'][:16]}  {harmless(item['name'])}/")
        else:
            size = size_text(item["size_bytes"])
            say(f"{size:>9}  {item['modified_at'][:16]}  {harmless(item['name'])}")
