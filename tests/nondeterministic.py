"""Operators that are not deterministic on CUDA, according to torch's documentation.

On the left are the names in the docstring of `torch.use_deterministic_algorithms`, so that a test can tell if a newer
torch has more of them. On the right are the ATen operators that they dispatch to, without the underscore of in-place
ones: for torch 2.11 to 2.15, the names that its libraries pass to `alertNotDeterministic`.
"""

import inspect
import re

import torch

# torch refuses these where kernels have to repeat themselves. Of torch 2.11 or of a newer one: in the latter, MaxPool3d
# and cumsum have a form that does.
REFUSED = {
    "torch.nn.AvgPool3d": "avg_pool3d_backward",
    "torch.nn.AdaptiveAvgPool2d": "_adaptive_avg_pool2d_backward",
    "torch.nn.AdaptiveAvgPool3d": "_adaptive_avg_pool3d_backward",
    "torch.nn.MaxPool3d": "max_pool3d_with_indices_backward",
    "torch.nn.AdaptiveMaxPool2d": "adaptive_max_pool2d_backward adaptive_max_pool3d_backward",
    "torch.nn.FractionalMaxPool2d": "fractional_max_pool2d_backward",
    "torch.nn.FractionalMaxPool3d": "fractional_max_pool3d_backward",
    "torch.nn.MaxUnpool1d": "max_unpool2d",
    "torch.nn.MaxUnpool2d": "max_unpool2d",
    "torch.nn.MaxUnpool3d": "max_unpool3d",
    "torch.nn.functional.interpolate": (
        "upsample_linear1d_backward upsample_bilinear2d_backward upsample_bicubic2d_backward"
        " upsample_trilinear3d_backward _upsample_bilinear2d_aa_backward _upsample_bicubic2d_aa_backward"
        " _upsample_lanczos2d_aa_backward"
    ),
    "torch.nn.ReflectionPad1d": "reflection_pad1d_backward",
    "torch.nn.ReflectionPad2d": "reflection_pad2d_backward",
    "torch.nn.ReflectionPad3d": "reflection_pad3d_backward",
    "torch.nn.NLLLoss": "nll_loss2d_forward nll_loss2d_backward",  # that of a loss per pixel, by torch's source
    "torch.nn.CTCLoss": "_ctc_loss_backward",
    "torch.nn.EmbeddingBag": "_embedding_bag_dense_backward",
    "torch.Tensor.put_": "put",
    "torch.histc": "histc",
    "torch.bincount": "bincount",
    "torch.median": "median nanmedian",
    "torch.nn.functional.grid_sample": "grid_sampler_2d_backward grid_sampler_3d_backward",
    "torch.cumsum": "cumsum",
    "torch.Tensor.scatter_reduce": "scatter_reduce",
    "torch.Tensor.resize_": "",  # of quantised tensors only
}
# Where kernels have to repeat themselves, torch takes other ones for these.
REPLACED = {
    **{f"torch.nn.Conv{dims}d": "convolution convolution_backward" for dims in (1, 2, 3)},
    **{f"torch.nn.ConvTranspose{dims}d": "convolution convolution_backward" for dims in (1, 2, 3)},
    **{f"torch.nn.ReplicationPad{dims}d": f"replication_pad{dims}d_backward" for dims in (1, 2, 3)},
    "torch.bmm": "",  # of sparse tensors only
    "torch.Tensor.__getitem__": "index_put _index_put_impl _unsafe_index_put",
    "torch.Tensor.index_put": "index_put _index_put_impl _unsafe_index_put",
    "torch.Tensor.scatter_add_": "scatter_add",
    "torch.gather": "scatter_add",  # backward
    "torch.index_add": "index_add",
    "torch.index_select": "index_add",  # backward
    "torch.repeat_interleave": "index_add",  # backward
    "torch.Tensor.index_copy": "index_copy",
    "torch.Tensor.scatter": "scatter",
    "torch.nn.Embedding": "embedding_dense_backward",
}


def operators(table: dict[str, str]) -> set[str]:
    return {name for names in table.values() for name in names.split()}


def documented() -> tuple[set[str], set[str]]:
    """What the installed torch says it refuses, and replaces; not what holds for Apple's GPUs only."""
    text = inspect.getdoc(torch.use_deterministic_algorithms)
    _, replaced, refused = re.split(r"operations will (?:act|throw)", text)
    return names_in(refused.split("In addition")[0]), names_in(replaced)


def names_in(listed: str) -> set[str]:
    entries = re.split(r"^ *\* ", listed, flags=re.M)[1:]
    return {
        name
        for entry in entries
        if "MPS" not in entry or "CUDA" in entry
        for name in re.findall(r":(?:func|class):`([\w.]+)`", entry)
    }
