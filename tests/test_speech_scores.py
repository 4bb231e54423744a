"""Scores of speech: decoding, error rates, verification by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmark.config.compose import cell_of
from benchmark.types import Head, Kind
from tasks.speech import SpeakerVerification, equal_error_rate


def test_ctc_is_decoded_by_merging_repeats_and_dropping_blanks():
    task = cell_of(["task=speech_recognition", "method=head"]).task
    head = Head(Kind.CTC, labels=(" ", "a", "b"))  # classes: 0 blank, 1 space, 2 a, 3 b
    path = [0, 2, 2, 0, 2, 3, 3, 1, 1, 3, 0, 2, 2]
    logits = torch.nn.functional.one_hot(torch.tensor([path, path]), 4).float()
    mask = torch.ones(2, len(path), dtype=torch.long)
    mask[1, 6:] = 0
    answers = task.answers(SimpleNamespace(logits=logits, mask=mask), [{}, {}], head)
    assert [a["prediction"] for a in answers] == ["aab ba", "aab"]


def test_scores_by_hand():
    recognition = cell_of(["task=speech_recognition", "method=head"]).task
    scores = recognition.score([{"prediction": "red cat"}, {"prediction": ""}], [("red hat",), ("sun",)])
    assert scores == pytest.approx({"character_accuracy": 1 - 4 / 10, "cer": 4 / 10, "wer": 2 / 3})
    speech = cell_of(["task=speech", "method=head"]).task
    said = [{"prediction": w, "probabilities": {}} for w in ("yes", "yes", "yes", "no")]
    scores = speech.score(said, [("yes",), ("yes",), ("no",), ("no",)])
    assert (scores["accuracy"], scores["unweighted_average_recall"]) == (0.75, 0.75)
    scores = speech.score(said[:3], [("yes",), ("yes",), ("no",)])
    assert (scores["accuracy"], scores["unweighted_average_recall"]) == (pytest.approx(2 / 3), 0.5)


def test_equal_error_rate_by_hand():
    same = np.array([True, True, True, True, False, False, False, False])
    assert equal_error_rate(np.array([9, 8, 7, 6, 4, 3, 2, 1.0]), same) == 0
    assert equal_error_rate(np.array([9, 8, 7, 3, 6, 2, 1, 0.0]), same) == 0.25  # one of four on either side
    assert equal_error_rate(-np.array([9, 8, 7, 6, 4, 3, 2, 1.0]), same) == 1


def test_speakers_are_verified_over_every_pair():
    fields = {"description": "", "version": 1, "skip_bad": False, "max_seconds": 1.0}
    task = SpeakerVerification(data=None, noise=None, class_weights=None, focal=None, **fields)
    head = Head(Kind.CLASSIFY, labels=("ann", "bob"))
    logits = torch.tensor([[2.0, 0.1], [4.0, 0.3], [0.1, 1.0], [0.2, 3.0]])
    answers = task.answers(SimpleNamespace(logits=logits), [{}] * 4, head)
    scores = task.score(answers, [("ann",), ("ann",), ("bob",), ("bob",)])
    assert (scores["equal_error_rate"], scores["verification_accuracy"]) == (0.0, 1.0)
    mixed = task.score(answers, [("ann",), ("bob",), ("ann",), ("bob",)])  # the two alike are never the same
    assert mixed["equal_error_rate"] > 0.4
