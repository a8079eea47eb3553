"""The service's enumerations. A word that is not listed here arrives as plain text (or number), never as an error.

Source: wire/norman, section 3.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum


class BuildStatus(StrEnum):
    """How far a model's build is."""

    IN_PROGRESS = "InProgress"
    COMPLETED = "Completed"
    FAILED = "Failed"


class RequestType(StrEnum):
    """The verb with which a model is asked."""

    GET = "Get"
    POST = "Post"
    PUT = "Put"


class ModelType(StrEnum):
    """What kind of program a model is."""

    API = "Api"
    PYTORCH_JIT = "Pytorch_jit"
    TRANSFORMER_HF = "Transformer_hf"


class HostingLocation(StrEnum):
    """Who runs a model: somebody else, at its `url`, or the service."""

    EXTERNAL = "External"
    INTERNAL = "Internal"


class OutputFormat(StrEnum):
    """In which form a model answers."""

    BINARY = "Binary"
    JSON = "Json"
    TEXT = "Text"


class SignatureType(StrEnum):
    """Whether a signature is of an input or of an output."""

    INPUT = "Input"
    OUTPUT = "Output"


class ReceiveFormat(StrEnum):
    """How a model wants to be given an input."""

    FILE = "File"
    LINK = "Link"
    PRIMITIVE = "Primitive"


class HttpLocation(StrEnum):
    """Where in a request an input stands."""

    BODY = "Body"
    PATH = "Path"
    QUERY = "Query"


class DataModality(StrEnum):
    """What sort of data a signature carries."""

    AUDIO = "Audio"
    FILE = "File"
    FLOAT = "Float"
    IMAGE = "Image"
    INTEGER = "Integer"
    TEXT = "Text"
    VIDEO = "Video"


class Severity(StrEnum):
    """How serious a notification is."""

    ERROR = "Error"
    INFO = "Info"
    SUCCESS = "Success"
    WARNING = "Warning"


class FlagName(StrEnum):
    """The steps that the service reports of a model, an asset, an invocation, an input or an output."""

    LOGO_EFS_STAGING = "Logo_EFS_Staging"
    LOGO_S3_STORAGE = "Logo_S3_Storage"
    FILE_EFS_STAGING = "File_EFS_Staging"
    FILE_S3_STORAGE = "File_S3_Storage"
    FILE_IMAGE_BUILD = "File_Image_Build"
    INPUT_EFS_STAGING = "Input_EFS_Staging"
    INPUT_S3_STORAGE = "Input_S3_Storage"
    INPUT_EFS_TRANSCODING = "Input_EFS_Transcoding"
    INPUT_EFS_TENSOR = "Input_EFS_Tensor"
    MODEL_FUNCTION_RUN = "Model_Function_Run"
    OUTPUT_EFS_STAGING = "Output_EFS_Staging"
    OUTPUT_S3_STORAGE = "Output_S3_Storage"


class FlagValue(IntEnum):
    """How far a step is."""

    NOT_STARTED = 0
    ENQUEUED = 1
    IN_PROGRESS = 2
    FINISHED = 3
    ERROR = 4


class InputSource(StrEnum):
    """What the data of an input or an asset is; known to clients only."""

    FILE = "File"
    LINK = "Link"
    PRIMITIVE = "Primitive"
    STREAM = "Stream"


class ConsumeMode(StrEnum):
    """Whether an output is handed over as bytes or as a stream; known to clients only."""

    BYTES = "bytes"
    STREAM = "stream"


WORDS = (
    *(BuildStatus, RequestType, ModelType, HostingLocation, OutputFormat, SignatureType, ReceiveFormat, HttpLocation),
    *(DataModality, Severity, FlagName, FlagValue),
)
