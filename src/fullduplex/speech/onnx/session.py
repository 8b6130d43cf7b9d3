"""Opening ONNX files: one thread, no spinning, typed errors. The only file that knows onnxruntime's options."""

from pathlib import Path
from typing import TYPE_CHECKING

from fullduplex.base.errors import AssetError, MissingExtraError

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["open_model", "require_file"]


def open_model(model: Path | bytes, *, num_threads: int = 1) -> "onnxruntime.InferenceSession":
    """An inference session on the CPU.

    Args:
        model: a file (.onnx or .ort) or its bytes.
        num_threads: threads inside one operator; more than 1 does not pay for models this small.

    Raises: MissingExtraError without onnxruntime; AssetError for a file that is absent or no model.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError("onnxruntime", "talk") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Idle worker threads must not spin: another model needs the core.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    source = model if isinstance(model, bytes) else str(require_file(model))
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises a class of its own for every status code
        name = "the model" if isinstance(model, bytes) else str(model)
        raise AssetError(f"{name} cannot be opened as an ONNX model ({error}); fetch it again") from error


def require_file(path: Path | str) -> Path:
    """`path` when it is a file. Raises: AssetError that names it otherwise."""
    path = Path(path)
    if not path.is_file():
        raise AssetError(f"{path} is not a file; expected a model or data file: fetch the assets first")
    return path
