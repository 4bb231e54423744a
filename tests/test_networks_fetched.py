"""Facts about the networks themselves, where they were fetched: BENCHMARK_CACHE_DIR=DIR pytest -m networks."""

import os
import random
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import timm
import torch
import transformers

from benchmark.backbones.checkpoint import Stored
from benchmark.cache import fetched
from benchmark.config import registry
from benchmark.config.build import build
from benchmark.networks.fetch import is_fetched
from benchmark.networks.network import GROUP, network_of

pytestmark = pytest.mark.networks
PARAGRAPH = (
    "The Nile flows north through eleven countries before it reaches the sea. For thousands of years, people along its "
    "banks have relied on the yearly flood, which leaves rich soil on the fields when the water goes down again."
)
CHAINS = {  # of the antibody trastuzumab
    "heavy": (
        "EVQLVESGGGLVQPGGSLRLSCAASGFNIKDTYIHWVRQAPGKGLEWVARIYPTNGYTRY"
        "ADSVKGRFTISADTSKNTAYLQMNSLRAEDTAVYYCSRWGGDGFYAMDYWGQGTLVTVSS"
    ),
    "light": (
        "DIQMTQSPSSLSASVGDRVTITCRASQDVNTAVAWYQQKPGKAPKLLIYSASFLYSGVPSRFSGSRSGTDFTLTISSLQPEDFATYYCQQHYTTPPTFGQGTKVEIK"
    ),
}
SPOKEN = "we are going to the market to buy apples and bread"
DIGITS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def folder(name):
    if not is_fetched(name, network_of(name)):
        pytest.skip(f"{name} is not here: python -m benchmark.networks get {name}")
    return fetched(name)


@pytest.mark.parametrize("name", registry.names(GROUP))
def test_it_is_what_was_pinned_and_its_backbone_is_that_folder(name):
    place = folder(name)
    backbone = build(dict(registry.node("backbone", name)), "backbone")
    assert isinstance(backbone, Stored)
    assert (backbone.checkpoint, backbone.unpinned()) == (str(place), [])
    assert backbone.family == registry.fact("backbone", name, "architecture")


def perplexity(model, tokenizer, text):
    ids = tokenizer(text, return_tensors="pt").input_ids
    with torch.no_grad():
        return float(model(input_ids=ids, labels=ids).loss.exp())


def test_smollm2_knows_the_order_of_words():
    place = folder("smollm2_135m")
    model = transformers.AutoModelForCausalLM.from_pretrained(place).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(place)
    words = PARAGRAPH.split()
    random.Random(0).shuffle(words)
    ordered, shuffled = (perplexity(model, tokenizer, text) for text in (PARAGRAPH, " ".join(words)))
    print(f"perplexity {ordered:.1f}, of shuffled words {shuffled:.1f}")
    assert shuffled > 10 * ordered
    asked = [{"role": "user", "content": "What is the capital of France? Answer with one word."}]
    inputs = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    said = model.generate(**inputs, max_new_tokens=8, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    assert "Paris" in tokenizer.decode(said)


def prepared(image, mean, std):
    """Cut out the middle square of an image, 224 pixels a side, and normalise it."""
    from PIL import Image

    picture = Image.fromarray(image).convert("RGB")
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    small = picture.crop((left, top, left + side, top + side)).resize((224, 224), Image.Resampling.BICUBIC)
    return (torch.tensor(np.asarray(small)).permute(2, 0, 1) / 255 - torch.tensor(mean)[:, None, None]) / torch.tensor(
        std
    )[:, None, None]


@pytest.mark.parametrize(("picture", "classes"), [("chelsea", {281, 282, 285}), ("coffee", {967}), ("rocket", {657})])
def test_efficientnet_sees_what_a_photograph_shows(picture, classes):
    data = pytest.importorskip("skimage.data")
    place = folder("efficientnet_lite0")
    network = timm.create_model(f"local-dir:{place}", pretrained=True).eval()
    config = network.pretrained_cfg
    pixels = prepared(getattr(data, picture)(), config["mean"], config["std"])
    with torch.no_grad():
        assert int(network(pixels[None]).argmax()) in classes  # of ImageNet: cats, espresso, missile


def test_dinov2_finds_the_same_picture_cut_mirrored_and_darkened():
    data = pytest.importorskip("skimage.data")
    network = timm.create_model(f"local-dir:{folder('dinov2_small')}", pretrained=True, num_classes=0).eval()
    config, pictures = network.pretrained_cfg, []
    for name in ("chelsea", "astronaut", "coffee", "rocket", "camera", "coins", "page", "brick", "grass", "gravel"):
        whole = getattr(data, name)()
        height, width = whole.shape[:2]
        part = whole[int(0.15 * height) : int(0.9 * height), int(0.2 * width) : int(0.95 * width)][:, ::-1]
        pictures.append([whole, (part * 0.7).astype(np.uint8)])
    with torch.no_grad():
        states = [
            torch.nn.functional.normalize(
                network(torch.stack([prepared(p, config["mean"], config["std"]) for p in view]))
            )
            for view in zip(*pictures, strict=True)
        ]
    assert (states[0] @ states[1].T).argmax(1).tolist() == list(range(len(pictures)))


def hear(name, samples):
    place = folder(name)
    model = transformers.WhisperForConditionalGeneration.from_pretrained(place).eval()
    processor = transformers.WhisperProcessor.from_pretrained(place)
    features = processor(samples, sampling_rate=16_000, return_tensors="pt").input_features
    options = {"language": "en", "task": "transcribe"} if model.generation_config.is_multilingual else {}
    (text,) = processor.batch_decode(model.generate(features, **options), skip_special_tokens=True)
    return text.lower()


@pytest.mark.parametrize("name", ["whisper_tiny_en", "whisper_base"])
def test_whisper_writes_down_what_a_synthesiser_says(name):
    pytest.importorskip("espeakng_loader")
    from tasks.embedded.espeak import Utterance, speak

    folder(name)
    spoken = speak([Utterance(SPOKEN, "gmw/en-US", "m3", 160, 50, 50)], 16_000)[0]
    assert SPOKEN in hear(name, spoken.samples)


@pytest.mark.parametrize("name", ["whisper_tiny_en", "whisper_base"])
@pytest.mark.parametrize("speaker", ["jackson", "lucas"])
def test_whisper_writes_down_the_digits_of_a_real_speaker(name, speaker):
    recordings = Path(os.environ.get("BENCHMARK_DATA_DIR", "")) / "fsdd" / "recordings"
    if not recordings.is_dir():
        pytest.skip("BENCHMARK_DATA_DIR has no fsdd")
    folder(name)
    clips = []
    for digit in range(1, 10):
        samples, rate = soundfile.read(recordings / f"{digit}_{speaker}_3.wav")
        clips += [soxr.resample(samples, rate, 16_000), np.zeros(3000)]
    said = hear(name, np.concatenate(clips))
    for digit, word in enumerate(DIGITS, 1):
        said = said.replace(word, str(digit))
    assert "".join(letter for letter in said if letter.isalnum()) == "123456789"


@pytest.mark.parametrize(
    ("name", "chain"),
    [("sapiens_vh", "heavy"), ("sapiens_vl", "light"), ("antiberty", "heavy"), ("antiberty", "light")],
)
def test_networks_of_antibodies_fill_in_a_masked_residue(name, chain):
    place = folder(name)
    model, loading = transformers.AutoModelForMaskedLM.from_pretrained(place, output_loading_info=True)
    assert not any(loading[keys] for keys in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    tokenizer, sequence = transformers.AutoTokenizer.from_pretrained(place), CHAINS[chain]
    right = []
    for text in (sequence, "".join(random.Random(0).sample(sequence, len(sequence)))):
        ids, places = torch.tensor(tokenizer(text)["input_ids"]), torch.arange(1, len(text) + 1, 3)
        rows = torch.arange(len(places))
        masked = ids.repeat(len(places), 1)
        masked[rows, places] = tokenizer.mask_token_id
        with torch.no_grad():
            guesses = model.eval()(masked).logits[rows, places].argmax(-1)
        right.append(float((guesses == ids[places]).float().mean()))
    print(f"{name} on the {chain} chain: {right[0]:.2f} right, {right[1]:.2f} of shuffled residues")
    assert right[0] > 0.6
    assert right[1] < 0.3
