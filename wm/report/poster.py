"""The still picture that the report shows until its film is played."""

import cv2
import numpy as np

from wm.runtime.startup import stderr_discarded


def poster(strip: bytes) -> bytes:
    """The third of the six moments of drive.png, which look like the film's pictures, as JPEG; empty where it
    is no picture."""
    pixels = np.frombuffer(strip, np.uint8)
    with stderr_discarded():
        picture = cv2.imdecode(pixels, cv2.IMREAD_COLOR) if len(pixels) else None
    if picture is None:
        return b""
    height, width = picture.shape[0] // 3, picture.shape[1] // 2
    return cv2.imencode(".jpg", picture[2 * height :, :width])[1].tobytes()
