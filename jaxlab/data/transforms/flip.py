"""Left and right exchanged (Krizhevsky, Sutskever & Hinton 2012)."""

import numpy as np


def flip(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """Returns the picture, uint8 [h w c], or just as likely what a mirror shows; one number is drawn."""
    if rng.random() >= 0.5:
        return picture
    mirrored = np.empty(picture.shape, np.uint8)
    for channel in range(picture.shape[-1]):  # copied pixel by pixel, it would take twice to five times as long
        mirrored[..., channel] = picture[:, ::-1, channel]
    return mirrored
