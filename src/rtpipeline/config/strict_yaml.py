"""YAML as people mean it: a key that is given twice is a mistake, not a replacement."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml

_MERGE = "tag:yaml.org,2002:merge"


class _StrictLoader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = (key_node.tag, str(key_node.value))
            if key in seen and key_node.tag != _MERGE:
                message = f"{key_node.value} is given twice; remove one"
                raise yaml.constructor.ConstructorError(None, None, message, key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_yaml(text: str) -> Any:
    """The content of a YAML text.

    Raises:
        yaml.YAMLError: it is not YAML, gives a key twice, or is nested too deeply.
    """
    loader = _StrictLoader(text)
    try:
        with limited_depth():
            return loader.get_single_data()
    finally:
        loader.dispose()


@contextmanager
def limited_depth() -> Iterator[None]:
    """Around the parsing of YAML: nesting that Python cannot follow is an error of the text.

    Raises:
        yaml.YAMLError: the text is nested too deeply.
    """
    try:
        yield
    except RecursionError as error:
        raise yaml.YAMLError("it is nested too deeply") from error
