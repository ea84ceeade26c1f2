"""What is done to the images of a batch, each by a number of its own; `augment.py` and `auto_augment.py` draw these.

Images are floats in 0..1, (B, C, H, W), and numbers are (B,) on the same device. Each function is that of the same
name in torchvision.transforms.functional, which takes one number for all images; moved images are sampled bilinearly.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

GREY = 0.2989, 0.587, 0.114  # shares of red, green and blue in grey (ITU-R BT.601)


def adjust_brightness(images: Tensor, factors: Tensor) -> Tensor:
    """Black at 0."""
    return (images * _each(factors)).clamp_(0, 1)


def adjust_contrast(images: Tensor, factors: Tensor) -> Tensor:
    """An even grey at 0."""
    return _away_from(grey(images.mean((2, 3), keepdim=True)), images, factors)


def adjust_saturation(images: Tensor, factors: Tensor) -> Tensor:
    """Grey at 0."""
    return _away_from(grey(images), images, factors)


def adjust_sharpness(images: Tensor, factors: Tensor) -> Tensor:
    """Smoothed at 0, but for the outermost pixels."""
    channels = images.shape[1]
    kernel = torch.full((channels, 1, 3, 3), 1 / 13, device=images.device, dtype=images.dtype)
    kernel[:, :, 1, 1] = 5 / 13
    smooth = images.clone()
    smooth[:, :, 1:-1, 1:-1] = F.conv2d(images, kernel, groups=channels)
    return _away_from(smooth, images, factors)


def grey(images: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, 1, H, W); of other than three channels, their mean."""
    channels = images.unbind(1)
    weights = GREY if len(channels) == len(GREY) else [1 / len(channels)] * len(channels)
    shares = (weight * channel for weight, channel in zip(weights, channels, strict=True))
    return sum(shares, torch.zeros_like(channels[0])).unsqueeze(1)


def _away_from(others: Tensor, images: Tensor, factors: Tensor) -> Tensor:
    """The others at a factor of 0, the images at 1, and beyond them above."""
    return (others + (images - others) * _each(factors)).clamp_(0, 1)


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keeps so many bits of each value's eight."""
    steps = _each(2 ** (8 - bits))
    return (images * 255).round().div(steps, rounding_mode="floor") * steps / 255


def solarize(images: Tensor, thresholds: Tensor) -> Tensor:
    """Inverts the values from the threshold on."""
    return torch.where(images >= _each(thresholds), 1 - images, images)


def autocontrast(images: Tensor) -> Tensor:
    """Stretches the values of each channel to 0..1."""
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    flat = high == low
    return torch.where(flat, images, (images - low) / torch.where(flat, 1, high - low))


def equalize(images: Tensor) -> Tensor:
    """Makes each of the 256 values of a channel about equally frequent."""
    values = (images * 255).round().int().flatten(2).contiguous()  # (B, C, H * W)
    scale = torch.arange(256, device=images.device, dtype=values.dtype).expand(*values.shape[:2], -1).contiguous()
    up_to = torch.searchsorted(values.sort(2).values, scale, right=True)  # pixels of at most each value, (B, C, 256)
    before = F.pad(up_to[..., :-1], (1, 0))  # of less than it
    most = values.amax(2, keepdim=True).long()
    steps = before.gather(2, most).div(255, rounding_mode="floor")  # pixels for each value, (B, C, 1)
    table = (before + steps // 2).div(steps.clamp(min=1), rounding_mode="floor").clamp(0, 255)
    equal = table.gather(2, values.long()).view(images.shape) / 255
    return torch.where(steps.unsqueeze(3) == 0, images, equal)


def resized_crop(images: Tensor, top: Tensor, left: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """Enlarges the rectangles of these positions and sizes, in pixels, to the size of the images."""
    rows = _centres(top, height, images.shape[2])  # (B, H)
    columns = _centres(left, width, images.shape[3])  # (B, W)
    x, y = torch.broadcast_tensors(columns[:, None, :], rows[:, :, None])  # (B, H, W) each
    return sample(images, torch.stack([x, y], dim=3))


def _centres(start: Tensor, length: Tensor, side: int) -> Tensor:
    """Where the `side` pixels of a line lie that is made of `length` pixels, in units of half the image, (B, side)."""
    start, length = start[:, None], length[:, None]
    places = start + (torch.arange(side, device=start.device) + 0.5) * length / side
    return places.clamp(start + 0.5, start + length - 0.5) * 2 / side - 1  # no colour comes in from outside


def rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """Turns each image counter-clockwise about its centre; uncovered corners are black."""
    angle = torch.deg2rad(degrees)
    zero = torch.zeros_like(angle)
    return warp(images, (angle.cos(), -angle.sin(), zero), (angle.sin(), angle.cos(), zero))


def shear_x(images: Tensor, slopes: Tensor) -> Tensor:
    """Moves each row to the left by its distance from the top, times the slope."""
    one, zero = torch.ones_like(slopes), torch.zeros_like(slopes)
    return warp(images, (one, slopes, slopes * images.shape[2] / 2), (zero, one, zero))


def shear_y(images: Tensor, slopes: Tensor) -> Tensor:
    """Moves each column up by its distance from the left, times the slope."""
    one, zero = torch.ones_like(slopes), torch.zeros_like(slopes)
    return warp(images, (one, zero, zero), (slopes, one, slopes * images.shape[3] / 2))


def translate_x(images: Tensor, pixels: Tensor) -> Tensor:
    one, zero = torch.ones_like(pixels), torch.zeros_like(pixels)
    return warp(images, (one, zero, -pixels), (zero, one, zero))


def translate_y(images: Tensor, pixels: Tensor) -> Tensor:
    one, zero = torch.ones_like(pixels), torch.zeros_like(pixels)
    return warp(images, (one, zero, zero), (zero, one, -pixels))


Row = tuple[Tensor, Tensor, Tensor]


def warp(images: Tensor, x_row: Row, y_row: Row) -> Tensor:
    """Samples each image at a linear function of its own coordinates, which are in pixels from the centre.

    Args:
        x_row: where a point's new x comes from: the factors of its x and y, and a constant, (B,) each.
        y_row: the same for its new y.
    """
    height, width = images.shape[-2:]
    (xx, xy, x), (yx, yy, y) = x_row, y_row
    # affine_grid works in units of half the image, so whatever goes from one axis to the other needs their ratio.
    rows = torch.stack([xx, xy * height / width, 2 * x / width, yx * width / height, yy, 2 * y / height], dim=1)
    return sample(images, F.affine_grid(rows.view(-1, 2, 3), list(images.shape), align_corners=False))


def sample(images: Tensor, grid: Tensor) -> Tensor:
    """The images sampled bilinearly at these positions, (B, H, W, 2), in units of half the image; black outside."""
    return F.grid_sample(images, grid, padding_mode="zeros", align_corners=False)


def _each(numbers: Tensor) -> Tensor:
    """(B,) -> (B, 1, 1, 1)"""
    return numbers.view(-1, 1, 1, 1)
