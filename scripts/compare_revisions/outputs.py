"""Stores the outputs of a case in a form that can be compared bit for bit."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file

Outputs = dict[str, np.ndarray | str]
"""Name of an output -> an array, or the JSON text of a value. An error is stored under `ERROR`."""

ERROR = "error"


def failed(error: Exception | str) -> Outputs:
    """Return the outputs of a case that failed."""
    return {ERROR: str(error)}


def value_text(value: Any) -> str:
    """Format a JSON value so that equal texts mean equal values, including NaN."""
    return json.dumps(value, sort_keys=True)


def image_array(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


def tensor_file(path: Path, name: str) -> Outputs:
    """Read the tensors and the header of a .safetensors file."""
    with safe_open(path, "np") as file:
        header = {key: decoded(text) for key, text in (file.metadata() or {}).items()}
    return {f"{name}: {part}": array for part, array in load_file(path).items()} | {
        f"{name}: header": value_text(header)
    }


def decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def same(one: np.ndarray | str, other: np.ndarray | str) -> bool:
    """Return whether two outputs are bit-identical in type, shape and values."""
    return digest(one) == digest(other)


def digest(value: np.ndarray | str) -> str:
    """Return the SHA-256 of an array with its type and shape, or of a JSON text."""
    if isinstance(value, str):
        return hashlib.sha256(value.encode(errors="surrogatepass")).hexdigest()
    head = f"{value.dtype.str} {value.shape} ".encode()
    return hashlib.sha256(head + np.ascontiguousarray(value).tobytes()).hexdigest()


def digests(outputs: Outputs) -> dict[str, str]:
    return {name: digest(value) for name, value in outputs.items()}
