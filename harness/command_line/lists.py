"""Lists as one types them, `3,5` or `price,year`, besides the `[3, 5]` of YAML."""

import json
from typing import Any, get_args, get_origin


def with_brackets(value: Any, kind: Any) -> Any:
    """A text with commas as a list in YAML, if `kind` is the type of a list; any other value as it is.

    An element that has a comma itself needs the brackets and quotes: `["one, with a comma", two]`.
    """
    if get_origin(kind) is not list or not isinstance(value, str) or value.lstrip().startswith("["):
        return value
    parts = [part.strip() for part in value.split(",")] if value.strip() else []
    return json.dumps(parts) if get_args(kind) == (str,) else f"[{', '.join(parts)}]"
