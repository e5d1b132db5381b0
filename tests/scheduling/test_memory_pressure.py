import pytest

from rtpipeline.scheduling.memory_pressure import (
    exit_is_memory_pressure,
    is_memory_pressure,
    mentions_memory_pressure,
)


@pytest.mark.parametrize(
    "message",
    [
        "out of memory",
        "CUDA out of memory. Tried to allocate 2.00 GiB",
        "CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate",
        "cublas status alloc failed",
        "CUDNN_STATUS_ALLOC_FAILED",
        "terminate called after throwing an instance of 'std::bad_alloc'",
        "OSError: [Errno 12] Cannot allocate memory",
        "failed to allocate 12 bytes",
        "not enough memory: you tried to allocate",
        "mmap failed",
        "killed by the OOM killer",
        "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 3.2 GiB",
    ],
)
def test_messages_of_memory_pressure(message):
    assert mentions_memory_pressure(message)


@pytest.mark.parametrize("message", ["zoom factor wrong", "boom", "Dr. Bloom", "no room left", "bedroom", ""])
def test_words_that_contain_oom_are_not_memory_pressure(message):
    assert not mentions_memory_pressure(message)


def test_exceptions_and_their_causes():
    assert is_memory_pressure(MemoryError())
    error = ValueError("segmentation failed")
    error.__cause__ = RuntimeError("CUDA out of memory")
    assert is_memory_pressure(error)
    assert not is_memory_pressure(ValueError("boom"))


@pytest.mark.parametrize(
    ("code", "output", "expected"),
    [(-9, "", True), (137, "", True), (1, "CUDA out of memory", True), (1, "no such file", False), (0, "oom", False)],
)
def test_exit_codes(code, output, expected):
    assert exit_is_memory_pressure(code, output) is expected
