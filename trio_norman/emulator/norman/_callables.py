"""The models that are there from the beginning."""

from __future__ import annotations

import io
from collections.abc import Sequence
from importlib.util import find_spec

from ._models import ModelFunction
from ._shapes import Wire


def first_input(inputs: dict[str, bytes]) -> bytes:
    """Answer with the bytes of the first input."""
    return next(iter(inputs.values()), b"")


def reversed_text(inputs: dict[str, bytes]) -> bytes:
    """Answer with the first input's characters from the last to the first."""
    return first_input(inputs).decode()[::-1].encode()


def mirrored_image(inputs: dict[str, bytes]) -> bytes:
    """Answer with the first input's picture, left and right exchanged, in the format that it came in."""
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(first_input(inputs))) as picture:
        written = io.BytesIO()
        ImageOps.mirror(picture).save(written, picture.format)
    return written.getvalue()


def built_in_functions() -> dict[str, tuple[ModelFunction, str, str]]:
    """Give the functions by the names of their models, with modality and encoding of what goes in and comes out."""
    functions: dict[str, tuple[ModelFunction, str, str]] = {
        "echo": (first_input, "Text", "utf8"),
        "text_reverser": (reversed_text, "Text", "utf8"),
    }
    if find_spec("PIL") is not None:
        functions["image_mirror"] = (mirrored_image, "Image", "png")
    return functions


def made_up_model(
    name: str, account_id: str, inputs: Sequence[str], outputs: Sequence[str], *, modality: str, encoding: str
) -> Wire:
    """Write a model without assets as a client would upload it; inputs and outputs are given by their titles."""

    def signature(kind: str, title: str) -> Wire:
        parameter = {"data_modality": modality, "data_encoding": encoding, "parameter_name": kind.lower()}
        return parameter | {
            "signature_type": kind,
            "data_domain": "any",
            "receive_format": "File",
            "http_location": "Body",
            "hidden": False,
            "display_title": title,
            "parameters": [parameter],
        }

    return {
        "account_id": account_id,
        "version_label": "v1.0",
        "short_description": f"The emulator's model {name}.",
        "long_description": f"The model {name}, which the emulator brings along.",
        "name": name,
        "model_class": modality.lower(),
        "url": "",
        "request_type": "Post",
        "model_type": "Pytorch_jit",
        "hosting_location": "Internal",
        "output_format": "Binary",
        "inputs": [signature("Input", title) for title in inputs],
        "outputs": [signature("Output", title) for title in outputs],
    }
