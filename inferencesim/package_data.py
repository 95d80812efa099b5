"""The data files of the package: where the shipped ones are, and how any of them is read.

Hardware profiles, models and sites are YAML documents of the same manners: one
mapping, strict keys, an error that names the file, the key and the nearest key
that would have been right. Shipped files and a user's own go the same way.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import typing
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

import inferencesim
from inferencesim.errors import InputError

if typing.TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Document = TypeVar("Document", bound=BaseModel)


def data_folder(name: str) -> Path:
    """Return the folder of shipped data called `name` (``hardware_profiles``, ``scenarios``).

    An installed package carries the folder inside itself; a source checkout has
    it beside the package, at the top of the repository.

    Raises
    ------
    FileNotFoundError
        If neither exists: the installation is broken, which no input can mend.
    """
    package = Path(inferencesim.__file__).parent
    for candidate in (package / name, package.parent / name):
        if candidate.is_dir():
            return candidate
    msg = f"the data folder {name!r} is neither inside nor beside {package}; reinstall inferencesim"
    raise FileNotFoundError(msg)


def shipped_names(folder: Path) -> list[str]:
    """Return the ids of the YAML documents in `folder`, sorted."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def read_text(path: Path, where: str) -> str:
    """Return the text of a user's file.

    Raises
    ------
    InputError
        At `where`, if there is no such file, or it is no UTF-8 text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(where, f"there is no file {str(path)!r}", "Check the path.") from None
    except UnicodeDecodeError:
        raise InputError(
            where, f"{str(path)!r} is not UTF-8 text", "Give a YAML or JSON text file."
        ) from None
    except OSError as problem:
        raise InputError(where, f"{str(path)!r} cannot be read ({problem.strerror})") from None


def read_yaml(path: Path, where: str) -> object:
    """Read one YAML document, refusing a key that is given twice.

    Raises
    ------
    InputError
        With file and line, if the text is no YAML.
    """
    text = read_text(path, where)
    try:
        return yaml.load(text, Loader=_StrictLoader)
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark
        place = f"{path}, line {mark.line + 1}, column {mark.column + 1}" if mark else str(path)
        what = problem.problem or "the text is not valid YAML"
        raise InputError(place, what, "Mend the YAML there, or on the line before.") from None
    except yaml.YAMLError:
        raise InputError(str(path), "the file is not YAML text", "Give a text file in UTF-8.") from None


def read_document(path: Path, model: type[Document], where: str) -> Document:
    """Read the YAML file `path` into `model`.

    Parameters
    ----------
    path : Path
        The file.
    model : type of pydantic.BaseModel
        What the document must be.
    where : str
        The place that named the file, used when the file itself is missing.

    Raises
    ------
    InputError
        Naming file and key path of the first thing wrong, and the nearest valid key.
    """
    return validated(read_yaml(path, where), model, str(path))


def validated(data: object, model: type[Document], where: str) -> Document:
    """Return `data` as a `model`, or say at which key under `where` it is wrong."""
    if not isinstance(data, dict):
        raise InputError(
            where, "the document is not a mapping of keys to values", "Write it as 'key: value' lines."
        )
    try:
        return model.model_validate(data)
    except ValidationError as problem:
        errors = problem.errors(include_url=False)
        # A misspelt key also shows as a missing one; the misspelling is the cause, so it is told first.
        first = next((error for error in errors if error["type"] == "extra_forbidden"), errors[0])
        raise _input_error(first, model, where) from None


def document_digest(document: BaseModel) -> str:
    """Return the SHA-256, in hex, of a document's canonical JSON (sorted keys, no spaces, UTF-8)."""
    data = document.model_dump(mode="json", by_alias=True)
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


class _StrictLoader(yaml.SafeLoader):
    """The safe loader, which also refuses a key given twice: PyYAML would keep the last in silence."""


def _mapping(loader: _StrictLoader, node: yaml.MappingNode) -> dict[Hashable, Any]:
    loader.flatten_mapping(node)
    seen: set[Hashable] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, Hashable):
            raise yaml.MarkedYAMLError(problem="a key must be a plain word", problem_mark=key_node.start_mark)
        if key in seen:
            raise yaml.MarkedYAMLError(
                problem=f"the key {key!r} is given twice", problem_mark=key_node.start_mark
            )
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def _input_error(error: ErrorDetails, model: type[BaseModel], where: str) -> InputError:
    """Turn the first pydantic error into one with a place and a remedy."""
    location = tuple(str(part) for part in error["loc"] if part != "[key]")
    place = f"{where}: {'.'.join(location)}" if location else where
    given = error.get("input")
    if error["type"] == "extra_forbidden" or "[key]" in error["loc"]:
        known = list(_known_keys(model, location[:-1]))
        return InputError(place, f"unknown key {location[-1]!r}", _nearest_key(location[-1], known))
    if error["type"] == "missing":
        return InputError(place, "this key is missing", "Add it.")
    if error["type"] == "literal_error":
        expected = error.get("ctx", {}).get("expected", "")
        return InputError(place, f"{given!r} is not one of {expected}")
    if error["type"] in {"model_type", "model_attributes_type", "dict_type"}:
        return InputError(place, f"{given!r} is not a mapping", "Write its keys below it, indented.")
    message = error["msg"].removeprefix("Value error, ").rstrip(".")
    shown = f" (got {given!r})" if isinstance(given, (str, int, float)) else ""
    return InputError(place, message + shown)


def _nearest_key(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f"Did you mean {near[0]!r}?" if near else f"Known here: {', '.join(known)}."


def _known_keys(model: type[BaseModel], location: tuple[str, ...]) -> Iterator[str]:
    """Yield the keys which are valid at `location` inside `model`."""
    annotation: object = model
    for part in location:
        if typing.get_origin(annotation) in (dict, tuple):
            annotation = next(kind for kind in reversed(typing.get_args(annotation)) if kind is not Ellipsis)
        elif (inner := _model_in(annotation)) is not None:
            fields = inner.model_fields.items()
            annotation = next(
                (field.annotation for name, field in fields if part in (name, field.alias)), None
            )
    if typing.get_origin(annotation) is dict:
        yield from (str(choice) for choice in typing.get_args(typing.get_args(annotation)[0]))
    elif (inner := _model_in(annotation)) is not None:
        for name, field in inner.model_fields.items():
            yield field.alias or name


def _model_in(annotation: object) -> type[BaseModel] | None:
    """Return the model an annotation is, or allows beside None."""
    for candidate in (annotation, *typing.get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None
