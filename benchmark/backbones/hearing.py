"""Speech encoder under a new head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from benchmark.backbones.headed import Headed
from benchmark.types import Head


class Hearing(Headed):
    """Network of `input_values` (samples) or `input_features` (log-mel), with a mask."""

    def __init__(self, encoder: nn.Module, head: Head, weighted: bool = False) -> None:
        config = encoder.config
        blocks = getattr(config, "encoder_layers", None) or config.num_hidden_layers
        super().__init__(encoder, config.hidden_size, head, layers=blocks + 1 if weighted else 0)
        self.weighted = weighted

    def states(
        self, attention_mask: torch.Tensor, **inputs: torch.Tensor
    ) -> tuple[torch.Tensor | Sequence[torch.Tensor], torch.Tensor]:
        """Encode; Whisper's encoder takes no mask, since its clips have one length."""
        masked = hasattr(self.config, "feat_extract_norm") and not hears_padding(self.config)
        output = self.encoder(
            **inputs, **({"attention_mask": attention_mask} if masked else {}), output_hidden_states=self.weighted
        )
        last = output.last_hidden_state
        # the last of hidden_states comes before the network's final norm; the mixture needs the state after it
        states = (*output.hidden_states[:-1], last) if self.weighted else last
        return states, self.frames(attention_mask, last.shape[1])

    def frames(self, mask: torch.Tensor, number: int) -> torch.Tensor:
        """Reduce a mask of samples, or of Whisper's spectrogram, to the encoder's frames."""
        return (torch.arange(number, device=mask.device) < self.ends(mask.sum(1))[:, None]).to(mask.dtype)

    def ends(self, read: torch.Tensor) -> torch.Tensor:
        """Count the frames, at least one, of so many samples or columns of a spectrogram."""
        return self.encoder._get_feat_extract_output_lengths(read).clamp(min=1)


def hears_padding(config: Any) -> bool:
    """Say whether the network reads padding as silence, because of its group norm."""
    return getattr(config, "feat_extract_norm", None) == "group"


def reach(config: Any) -> int:
    """Count the samples of one frame; 0 for a network of spectrograms."""
    if not hasattr(config, "conv_kernel"):
        return 0
    samples = 1
    for kernel, stride in zip(reversed(config.conv_kernel), reversed(config.conv_stride), strict=True):
        samples = (samples - 1) * stride + kernel
    return samples
