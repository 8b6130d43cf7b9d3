"""Which class a whole series belongs to: a Chimera trunk, its features averaged over time (arXiv 2406.04320, tasks).

Axes: B batch, T time, V variates, D features, K classes, N cases.

    standardise by the training cases -> embed each value (and which variate it is) -> Stack -> mean over the steps a
    case has -> one linear map from the V D means to K classes

Time is causal in the trunk, so steps behind the end of a shorter case change nothing in front of it, and the mean leaves
them out: cases may differ in length.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fullduplex.base.arrays import Float64Array
from fullduplex.base.config import config_from_mapping
from fullduplex.base.errors import ConfigError, FormatError, InputError
from fullduplex.forecast.chimera.config import ChimeraConfig
from fullduplex.forecast.chimera.layer import Stack, check_columns
from fullduplex.nn.archive import read_archive, write_archive
from fullduplex.nn.linear import Linear

__all__ = ["ChimeraClassifier", "ClassNet", "ClassifierConfig"]

_PREDICT_BATCH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierConfig:
    """Sizes and training.

    Args:
        layer: of every layer.
        num_layers: 1 or more.
        num_epochs: passes over the cases.
        batch_size: cases of a step.
        peak_lr: largest learning rate of AdamW; it falls along half a cosine.
        weight_decay: of AdamW.
        dropout: of the means, in training.
        noise: deviation of what is added to the standardised values in training.
        seed: of the weights, the order of the cases, dropout and noise.

    Raises:
        ConfigError: a count below 1, or a share outside [0, 1).
    """

    layer: ChimeraConfig
    num_layers: int = 1
    num_epochs: int = 60
    batch_size: int = 16
    peak_lr: float = 3e-3
    weight_decay: float = 0.05
    dropout: float = 0.2
    noise: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.num_layers, self.num_epochs, self.batch_size) < 1 or not 0 <= self.dropout < 1 or self.noise < 0:
            raise ConfigError(
                f"ClassifierConfig got {self.num_layers} layers, {self.num_epochs} epochs, batch_size {self.batch_size}, "
                f"dropout {self.dropout}, noise {self.noise}; expected counts of 1 or more, a dropout in [0, 1), noise >= 0"
            )


class ClassNet(nn.Module):
    """The network of this file.

    Args:
        config: sizes.
        num_variates: V.
        num_classes: K.
        generator: source of the initial weights.
    """

    def __init__(
        self, config: ClassifierConfig, num_variates: int, num_classes: int, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        width = config.layer.width
        self.num_variates, self.dropout = num_variates, config.dropout
        self.enter = nn.Parameter(torch.randn(width, generator=generator))
        self.names_VD = nn.Parameter(torch.randn(num_variates, width, generator=generator))
        self.stack = Stack(config.layer, num_variates, config.num_layers, generator=generator)
        self.read = Linear(num_variates * width, num_classes, generator=generator)

    def forward(self, x_BTV: Tensor, lengths_B: Tensor) -> Tensor:
        """Logits of shape (B, K); steps from `lengths_B` on are padding.

        Raises:
            InputError: the variates do not fit.
        """
        check_columns("ClassNet", x_BTV, (self.num_variates,), lengths_B.shape[0])
        h_BTVD, _ = self.stack.scan(x_BTV.unsqueeze(-1) * self.enter + self.names_VD, self.stack.init(x_BTV.shape[0]))
        seen_BT = (torch.arange(x_BTV.shape[1]) < lengths_B[:, None]).to(h_BTVD.dtype)
        mean_BVD = torch.einsum("btvd,bt->bvd", h_BTVD, seen_BT / lengths_B[:, None])
        mean_BX = functional.dropout(mean_BVD.flatten(1), self.dropout, self.training)
        return functional.linear(mean_BX, self.read.weight, self.read.bias)


class ChimeraClassifier:
    """Fit on cases with known classes, then name the class of others.

    Args:
        config: sizes and training.
    """

    def __init__(self, config: ClassifierConfig) -> None:
        self.config = config
        self.classes: tuple[str, ...] = ()
        self._net: ClassNet | None = None
        self._scale_2V: Float64Array = np.empty((2, 0))

    def fit(
        self,
        cases: Sequence[Float64Array],
        labels: Sequence[str],
        report: Callable[[int, float], object] | None = None,
    ) -> "ChimeraClassifier":
        """Train; returns self.

        Args:
            cases: arrays of shape (T, V), T may differ.
            labels: the class of each.
            report: called after every epoch with its number and mean loss.

        Raises:
            InputError: no case, one class only, or cases that do not fit together.
        """
        if len(cases) != len(labels) or len(set(labels)) < 2:
            raise InputError(
                f"{len(cases)} cases, {len(labels)} labels, {len(set(labels))} classes; expected 2 or more"
            )
        _check_cases(cases, cases[0].shape[1] if cases[0].ndim == 2 else None)
        how = self.config
        self.classes = tuple(sorted(set(labels)))
        values_XV = np.concatenate(cases)
        deviation_V = values_XV.std(axis=0)
        self._scale_2V = np.stack([values_XV.mean(axis=0), np.where(deviation_V > 0, deviation_V, 1.0)])
        generator = torch.Generator().manual_seed(how.seed)
        net = ClassNet(how, cases[0].shape[1], len(self.classes), generator=generator)
        wanted_N = torch.tensor([self.classes.index(label) for label in labels])
        x_NTV, lengths_N = self._padded(cases)
        optimiser = torch.optim.AdamW(net.parameters(), lr=how.peak_lr, weight_decay=how.weight_decay)
        per_epoch = math.ceil(len(cases) / how.batch_size)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, how.num_epochs * per_epoch)
        with torch.random.fork_rng():
            torch.manual_seed(how.seed)
            net.train()
            for epoch in range(how.num_epochs):
                total = 0.0
                for chosen in torch.randperm(len(cases)).split(how.batch_size):
                    x_BTV = x_NTV[chosen, : int(lengths_N[chosen].max())]
                    x_BTV = x_BTV + how.noise * torch.randn_like(x_BTV)
                    loss = functional.cross_entropy(net(x_BTV, lengths_N[chosen]), wanted_N[chosen])
                    optimiser.zero_grad()
                    loss.backward()
                    torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                    optimiser.step()
                    schedule.step()
                    total += float(loss.detach()) * len(chosen)
                if report is not None:
                    report(epoch, total / len(cases))
        self._net = net.eval()
        return self

    def predict_proba(self, cases: Sequence[Float64Array]) -> Float64Array:
        """Probabilities of shape (N, K), in the order of `classes`.

        Raises:
            InputError: not fitted, or cases of another number of channels than in `fit`.
        """
        net = self._fitted()
        _check_cases(cases, net.num_variates)
        parts: list[np.ndarray] = []
        with torch.no_grad():
            for first in range(0, len(cases), _PREDICT_BATCH):
                logits_BK = net(*self._padded(cases[first : first + _PREDICT_BATCH]))
                parts.append(torch.softmax(logits_BK.double(), dim=1).numpy())
        return np.concatenate(parts)

    def predict(self, cases: Sequence[Float64Array]) -> list[str]:
        """The likeliest class of each case."""
        return [self.classes[int(index)] for index in self.predict_proba(cases).argmax(axis=1)]

    def save(self, path: Path) -> None:
        """Write everything to `path`."""
        payload = {
            "config": asdict(self.config),
            "classes": list(self.classes),
            "scale": torch.from_numpy(self._scale_2V),
            "classifier": self._fitted().state_dict(),
        }
        write_archive(path, cast("dict[str, object]", payload))

    @classmethod
    def load(cls, path: Path) -> "ChimeraClassifier":
        """Read what `save` wrote; its probabilities are bit-equal.

        Raises:
            FormatError: the file is damaged or of another kind.
        """
        saved: dict[str, Any] = read_archive(path)
        if saved.keys() != {"config", "classes", "scale", "classifier"}:
            raise FormatError(f"{path.name} holds {sorted(saved)}; expected a Chimera classifier")
        made = cls(config_from_mapping(ClassifierConfig, saved["config"]))
        made.classes, made._scale_2V = tuple(saved["classes"]), saved["scale"].numpy()
        made._net = ClassNet(made.config, made._scale_2V.shape[1], len(made.classes)).eval()
        made._net.load_state_dict(saved["classifier"])
        return made

    def _fitted(self) -> ClassNet:
        if self._net is None:
            raise InputError("the classifier is not fitted; call fit or load first")
        return self._net

    def _padded(self, cases: Sequence[Float64Array]) -> tuple[Tensor, Tensor]:
        mean_V, deviation_V = self._scale_2V
        pieces = [torch.from_numpy(((case - mean_V) / deviation_V).astype(np.float32)) for case in cases]
        return nn.utils.rnn.pad_sequence(pieces, batch_first=True), torch.tensor([len(case) for case in cases])


def _check_cases(cases: Sequence[Float64Array], num_variates: int | None) -> None:
    if not len(cases):
        raise InputError("there is no case to classify")
    for number, case in enumerate(cases):
        if case.ndim != 2 or case.shape[1] != num_variates or not len(case) or not case.shape[1]:
            raise InputError(
                f"case {number} has shape {case.shape}; expected (time, {num_variates or 'channel'}) with at least one "
                "row: were channels changed since the fit?"
            )
        if not np.isfinite(case).all():
            raise InputError(f"case {number} holds a missing or infinite value; fill or drop it first")
