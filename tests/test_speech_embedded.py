"""Speech of eSpeak NG: voices, splits, and what pretraining heard."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from factories import corpus_of

from benchmark.config.compose import cell_of
from benchmark.errors import InputError
from benchmark.types import Bad
from tasks.embedded.espeak import Utterance, person, speak, variants
from tasks.embedded.spoken_words import plain
from tasks.embedded.voices import CAST, RATE, cast, phrases

ROOT = Path(__file__).resolve().parents[1]


def test_the_same_words_sound_the_same_in_every_process(tmp_path):
    """The second process speaks something else first, with another cache."""
    asked = [Utterance("seven", "gmw/en-US", v, 160, 50, 50) for v in ("klatt", "m3", "whisper", "Annie", "croak")]
    here = speak(asked, RATE)
    code = (
        "import hashlib; from tasks.embedded.espeak import Utterance, speak; "
        "speak([Utterance('before', 'gmw/en', 'f2', 120, 20, 90)], 8000); "
        f"asked = [Utterance(*u) for u in {[list(u) for u in asked]!r}]; "
        "print(hashlib.sha256(b''.join(s.samples.tobytes() for s in speak(asked, 8000))).hexdigest())"
    )
    environment = {**os.environ, "BENCHMARK_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == hashlib.sha256(b"".join(s.samples.tobytes() for s in here)).hexdigest()
    assert len({s.samples.tobytes() for s in here}) == len(here)


def test_phonemes_are_told_when_they_are_spoken():
    rate = 22_050  # an s is high: little of it is left at 8 kHz
    (spoken,) = speak([Utterance("see", "gmw/en-US", "m1", 150, 50, 50)], rate)
    names = [plain(name) for name, _ in spoken.phonemes]
    assert [n for n in names if n != "_"] == ["s", "i"]
    begins = [at for _, at in spoken.phonemes]
    assert begins == sorted(begins)
    assert begins[-1] <= len(spoken.samples) / rate + 0.01
    hiss, vowel = (spoken.samples[int(begins[i] * rate) : int(begins[i + 1] * rate)] for i in (0, 1))
    assert centre(hiss) > 2 * centre(vowel)  # s is high, the vowel is low


def centre(samples):
    """Find the middle of the spectrum, as a fraction of its width."""
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    return float((power * np.linspace(0, 1, len(power))).sum() / power.sum())


def test_names_of_phonemes_lose_stress_and_length_alone():
    assert [plain(n) for n in ("'O@", "t2", "3:", "_:", "'0", ",i@3", "r-", "@L", "a#")] == [
        "O@", "t", "3", "_", "0", "i@", "r", "@L", "a",
    ]  # fmt: skip


def test_what_espeak_refuses_is_said():
    with pytest.raises(InputError, match=r"could not speak 1 utterances: .*no voice 'gmw/en-XX\+m1'"):
        speak([Utterance("yes", "gmw/en-XX", "m1", 150, 50, 50)], RATE)
    with pytest.raises(InputError, match=r"no voice 'gmw/en\+nobody'"):
        speak([Utterance("yes", "gmw/en", "nobody", 150, 50, 50)], RATE)


def test_without_espeak_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(InputError, match=r'pip install -e "\.\[embedded\]"'):
        speak([Utterance("yes", "gmw/en", "m1", 150, 50, 50)], RATE)


def test_every_voice_belongs_to_one_split():
    members = {role: {v for moods in cast(role).values() for v in moods} for role in CAST}
    assert sum(map(len, members.values())) == len(variants()) == len(set.union(*members.values()))
    assert all(len(cast(role)) >= 7 for role in CAST)
    assert [person(v) for v in ("steph2", "m2", "f5", "anikaRobot", "klatt6")] == [
        "steph",
        "m2",
        "f5",
        "anika",
        "klatt",
    ]


@pytest.fixture(scope="module")
def tasks():
    return {name: cell_of([f"task={name}", "method=head"]).task for name in ("speech", "speech_recognition")}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["speech", "speech_recognition"])
def test_no_speaker_and_no_clip_stands_in_two_splits(tasks, name):
    splits = tasks[name].splits()
    assert not any(isinstance(e.source, Bad) for examples in splits.values() for e in examples)
    groups = [{e.group for e in examples} for examples in splits.values()]
    assert sum(map(len, groups)) == len(set.union(*groups))
    clips = [str(e.source) for examples in splits.values() for e in examples]
    assert len(clips) == len(set(clips))
    assert [str(e.source) for e in tasks[name].splits()["test"]] == [str(e.source) for e in splits["test"]]


def test_the_shifted_test_of_recognition_says_unseen_words(tasks):
    splits = tasks["speech_recognition"].splits()
    words = {name: {w for e in examples for w in e.targets[0].split()} for name, examples in splits.items()}
    assert not words["test/unseen"] & (words["train"] | words["valid"] | words["test"])
    assert words["test"] <= words["train"]


def test_phrases_use_every_word_as_often():
    drawn = [w for phrase in phrases(["a", "b", "c"], 50, 3, "x") for w in phrase.split()]
    counts = [drawn.count(w) for w in "abc"]
    assert max(counts) - min(counts) <= 1
    assert {len(p.split()) for p in phrases(["a", "b", "c"], 50, 3, "x")} == {1, 2, 3}


@pytest.mark.slow
def test_pretraining_shares_no_word_no_sound_of_a_word_and_no_voice_with_the_tasks(tasks):
    corpus = corpus_of("wav2vec2_words")
    said = {w for t in tasks.values() for s in t.splits().values() for e in s for w in e.targets[0].split()}
    assert not said & set(corpus.words)
    accents = ["gmw/en", "gmw/en-US"]

    def sounds(words):
        asked = [Utterance(w, a, "m2", 160, 50, 50) for a in accents for w in sorted(words)]
        return {tuple(plain(n) for n, _ in s.phonemes if not n.startswith("_")) for s in speak(asked, RATE)}

    assert not sounds(said) & sounds(corpus.words)  # no and know, right and write
    voices = {e.group for t in tasks.values() for s in t.splits().values() for e in s}
    assert not voices & set(cast("pretraining"))
