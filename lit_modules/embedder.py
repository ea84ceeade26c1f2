"""Embedding images so that cosine distance tells classes apart: any network under any of `lit_modules.losses`.

Import it from here, not from the package, because the losses' library takes a second to import.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, cast

import torch
from torch import Tensor
from torch.func import functional_call

from basics.errors import InputError
from basics.gathered_rows import gather_rows
from basics.trainer_parts import datamodule_of
from lit_modules.losses import build_loss
from lit_modules.means import precise, total, widest
from lit_modules.nets import build_net
from lit_modules.normalise import Normalise
from lit_modules.optimizers import OptimizerOptions
from lit_modules.retrieval import nearest_mean, retrieve
from lit_modules.stages import Batch, Learnt, Stages
from lit_modules.views import ViewOptions, check_views, mean_over_views


class HasGallery(Protocol):
    """A data module that has the images which the test's are compared with."""

    def gallery_dataloader(self) -> Iterable[Batch]: ...


@dataclass(frozen=True, kw_only=True)
class EmbedderOptions(ViewOptions, OptimizerOptions):
    """What an embedding is learnt by, and compared by.

    Args:
        loss: softmax, center, nca, proxy_nca, triplet or contrastive (lit_modules/losses).
        loss_args: options of the loss, such as --loss_args.margin 0.3.
        embedding_size: dimension of the embedding: how many numbers stand for an image.
        recall_at: numbers of neighbours among which the query's class is looked for.

    Raises:
        InputError: the dimension is below 1.
    """

    loss: str = "softmax"
    loss_args: dict[str, Any] | None = None
    embedding_size: int = 64
    recall_at: list[int] = field(default_factory=lambda: [1, 10])

    def __post_init__(self) -> None:
        if self.embedding_size < 1:
            raise InputError(f"embedding_size {self.embedding_size}: must be at least 1")


class Embedder(Stages):
    """Trains a network's outputs to be an embedding. All arguments are plain data, kept in each checkpoint.

    Validation logs `precision_at_1`, `map` and `map_at_r` (see `retrieval.py`) of each image among the others of the
    split, which are exact and next to free. It logs no loss, because that of pairs depends on how the split is batched.
    The test compares the test images with the data module's `gallery_dataloader`, and logs `recall_at_k` too, and
    `acc`, the accuracy of the nearest class mean. `embeddings` then has what was compared, in the data's order.

    Args:
        net: a name from `lit_modules.nets`.
        input_shape: (C, H, W).
        mean: of the training pixels, per channel; subtracted from the input.
        std: of the training pixels, per channel; divides the input.
        net_args: options of the network.
        options: those of `EmbedderOptions`.

    Raises:
        InputError: a name is unknown or a number out of its range.
    """

    metrics = ("precision_at_1", "map", "map_at_r", "acc")
    options_type = EmbedderOptions

    def __init__(
        self,
        net: str,
        input_shape: Sequence[int],
        num_classes: int,
        mean: Sequence[float] = (0.0,),
        std: Sequence[float] = (1.0,),
        net_args: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        input_shape, mean, std = tuple(input_shape), tuple(mean), tuple(std)
        chosen = EmbedderOptions(**options)
        self.save_hyperparameters(logger=False)
        self.hparams.update(asdict(chosen))  # those that have their defaults too
        self.net = build_net(net, input_shape, chosen.embedding_size, **(net_args or {}))
        self.loss = build_loss(chosen.loss, chosen.embedding_size, num_classes, **(chosen.loss_args or {}))
        self.normalise = Normalise(mean, std)
        self.test_flip, self.test_shift = chosen.test_flip, chosen.test_shift
        check_views(chosen, input_shape)
        self.example_input_array = torch.zeros(2, *input_shape)
        self.embeddings: dict[str, Batch] = {}  # and labels, of "val", "test" and "gallery"; on the CPU
        self.seen: list[Batch] = []  # this rank's part of the current evaluation
        self.configure_optimizers()  # refuses a wrong option now

    def forward(self, images: Tensor) -> Tensor:
        """Embeddings, (B, embedding_size), of images with values in 0..1, (B, C, H, W); not normalised."""
        images = self.normalise(images)
        if self.training:
            return precise(self.net(images))
        return mean_over_views(self.net, images, self.test_flip, self.test_shift)

    def _param_groups(self) -> list[Any]:
        if self.hparams["lr_parts"] or self.hparams.get("layer_decay", 1.0) != 1:
            return [*super()._param_groups(), {"params": list(self.loss.parameters())}]
        return [*self.net.parameters(), *self.loss.parameters()]

    def learn(self, images: Tensor, labels: Tensor) -> Learnt:
        embeddings = self(images)
        with torch.autocast(embeddings.device.type, enabled=False):  # small differences of distances count
            weights = {name: precise(weight) for name, weight in self.loss.named_parameters()}
            loss = functional_call(self.loss, weights, (embeddings, labels))
        return loss, {"loss": total(loss, labels)}

    def _evaluate(self, stage: str, batch: Batch) -> None:
        images, labels = batch
        self.seen.append((self(images), labels))

    def on_validation_epoch_end(self) -> None:
        embeddings, labels = self.embeddings["val"] = self._gather_seen()
        own = torch.arange(self.global_rank, len(labels), self.trainer.world_size)
        result = retrieve(embeddings[own], labels[own], embeddings, labels, itself=own)
        self._add("val", len(own), result.sums())
        super().on_validation_epoch_end()

    def on_test_epoch_start(self) -> None:
        data = cast(HasGallery, datamodule_of(self.trainer))  # which Lightning has no type for
        for batch in data.gallery_dataloader():
            precision = self.trainer.precision_plugin  # Lightning applies it to its own loaders' batches
            with precision.forward_context():
                self._evaluate("gallery", precision.convert_input(batch))
        self.embeddings["gallery"] = self._gather_seen()

    def on_test_epoch_end(self) -> None:
        self.embeddings["test"] = self._gather_seen()
        queries, labels = (part[self.global_rank :: self.trainer.world_size] for part in self.embeddings["test"])
        sums = retrieve(queries, labels, *self.embeddings["gallery"]).sums(self.hparams["recall_at"])
        sums["acc"] = float((nearest_mean(queries, *self.embeddings["gallery"]) == labels).sum())
        self._add("test", len(labels), sums)
        super().on_test_epoch_end()

    def _add(self, stage: str, count: int, sums: dict[str, float]) -> None:
        dtype = widest(self.device)
        exact = {name: torch.as_tensor(value, dtype=dtype, device=self.device) for name, value in sums.items()}
        self.means[stage].add(count, **exact)

    def _gather_seen(self) -> Batch:
        """All ranks' embeddings and labels, on the CPU, in the order of the data."""
        embeddings, labels = (torch.cat(parts) for parts in zip(*self.seen, strict=True))
        self.seen.clear()
        if self.trainer.world_size > 1:
            embeddings, labels = gather_rows(self, embeddings), gather_rows(self, labels)
        return embeddings.cpu(), labels.cpu()
