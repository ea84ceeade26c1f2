"""Lists as one types them, `3,5` or `price,year`, besides the `[3, 5]` of YAML."""

import json
from typing import Any, get_args, get_origin


def with_brackets(value: Any, kind: Any) -> Any:
    """A text with commas as a list in YAML, if `kind` is the type of a list; any other value as it is.

    An element that has a comma itself needs the brackets and quotes: `["one, with a comma", two]`. Numbers in a config
    file are text where a list holds texts, as in `arguments: [--max_epochs, 3]`.
    """
    if get_origin(kind) is not list:
        return value
    texts = get_args(kind) == (str,)
    if texts and isinstance(value, list):
        return [json.dumps(part) if isinstance(part, bool | int | float) else part for part in value]
    if not isinstance(value, str) or value.lstrip().startswith("["):
        return value
    parts = [part.strip() for part in value.split(",")] if value.strip() else []
    return json.dumps(parts) if texts else f"[{', '.join(parts)}]"
