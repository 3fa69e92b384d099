"""JSON documents changed in one entry, as an editor would."""

import json

MISSING = object()


def edited(document, path, value):
    """The document with the entry at that path changed, or left out."""
    copy = json.loads(json.dumps(document))
    place = copy
    for key in path[:-1]:
        place = place[key]
    if value is MISSING:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return copy
