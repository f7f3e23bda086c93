"""The only import of OpenCV, with the settings that must be in the environment before it loads."""

from __future__ import annotations

import os

MAX_DECODED_PIXELS = 1 << 28
"""OpenCV itself refuses to allocate more, whatever a header or a caller's limit says."""

os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(MAX_DECODED_PIXELS)
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # damaged input is an error, not a log line

import cv2  # noqa: E402 - reads the environment when it loads

cv2.setNumThreads(1)  # how much runs side by side is decided by whoever calls

__all__ = ["MAX_DECODED_PIXELS", "cv2"]
