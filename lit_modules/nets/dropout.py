"""Dropout (Srivastava et al. 2014) whose random numbers cost little on a CPU.

torch draws a number for each value, which takes longer than a small layer's arithmetic. Here four values share the 64
bits of one, so that a probability is a multiple of 1/65,536.
"""

import torch
from torch import Tensor, nn

LEVELS = 2**16
LOWEST = torch.iinfo(torch.int64).min


class Dropout(nn.Dropout):
    """torch's, faster on a CPU: zeroes each value with probability `p`, and divides the others by 1 - `p`."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or x.device.type != "cpu" or not 0 < self.p < 1:
            return super().forward(x)
        count = x.numel()
        words = torch.empty(-(-count // 4), dtype=torch.int64, device=x.device).random_(LOWEST, None)
        zeroed = round(self.p * LEVELS) - LEVELS // 2
        kept = words.view(torch.int16)[:count].view(x.shape) >= zeroed
        return x * kept.to(x.dtype).mul_(1 / (1 - self.p))
