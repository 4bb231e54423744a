"""Adapters and hybrids on networks 32 wide, with 2 blocks a side."""

EACH = {"llama": 2, "gpt2": 2, "mbart": 4, "vision_transformer": 2, "esm": 2, "wav2vec2": 2}  # blocks
ATTENTIONS = EACH | {"mbart": 6}  # a block of the decoder has two


def bottleneck(width, inner):
    return width * inner + inner + inner * width + width


def kronecker(width, inner):
    """s and t (rank 1: as long as both sides together) and a bias, down and up."""
    return (width + inner + inner) + (inner + width + width)


NORMS = {  # gains, and shifts but for llama
    "llama": 5 * 32,  # two per block and the last
    "gpt2": 5 * 64,
    "mbart": (6 + 8) * 64,  # per stack: of the embeddings, two or three per block, the last
    "vision_transformer": 5 * 64,
    "esm": 5 * 64,
    "wav2vec2": 5 * 64 + 3 * 16,  # and of two convolutions and their projection, 8 wide
    "resnet": 2 * (64 + 96 + 160 + 320 + 320),  # stem; a block's three, and its shortcut's
}
SUBLAYERS = {name: 2 * blocks for name, blocks in EACH.items()} | {"mbart": 2 * 2 + 2 * 3}
RESNET = (64, 64, 128, 128)  # a block's output is four times its channels
TOKENS = ("llama", "gpt2", "mbart", "esm")
COUPLING = 2 * bottleneck(16, 64)  # F and G on halves
KEYS = {"llama": 16}  # one head of keys for two of queries; others: 32
STACKS = {"mbart": 3}  # encoder, decoder, cross; others: 1


def prefix(name, length, inner):
    """Count a trunk per kind of attention, and each layer's keys and values."""
    trunk = length * 32 + 32 * inner + inner
    grown = inner * 2 * KEYS.get(name, 32) + 2 * KEYS.get(name, 32)
    return STACKS.get(name, 1) * trunk + ATTENTIONS[name] * grown


def unipelt(name):
    gate = 32 + 1
    lora = 8 * (32 + 32) + gate + 8 * (32 + KEYS.get(name, 32)) + gate  # of query and value
    return prefix(name, 10, 512) + ATTENTIONS[name] * (gate + lora) + EACH[name] * (bottleneck(32, 16) + gate)


PREFIXED = ("llama", "gpt2", "mbart", "esm", "wav2vec2")
COUNTS = {
    **{("houlsby", name): SUBLAYERS[name] * bottleneck(32, 32) + NORMS[name] for name in EACH},
    **{("pfeiffer", name): blocks * bottleneck(32, 16) for name, blocks in EACH.items()},
    **{("parallel", name): blocks * bottleneck(32, 128) for name, blocks in EACH.items()},
    **{("scaled_parallel", name): blocks * (bottleneck(32, 128) + 1) for name, blocks in EACH.items()},  # and a scale
    **{("adaptformer", name): blocks * bottleneck(32, 64) for name, blocks in EACH.items()},
    **{("compacter", name): SUBLAYERS[name] * kronecker(32, 8) + 4**3 + NORMS[name] for name in EACH},  # one rule
    **{("compacter_pp", name): blocks * kronecker(32, 8) + 4**3 + NORMS[name] for name, blocks in EACH.items()},
    **{("prefix_flat", name): ATTENTIONS[name] * 30 * 2 * KEYS.get(name, 32) for name in PREFIXED},
    **{("prefix_mlp", name): prefix(name, 30, 512) for name in PREFIXED},
    **{("mam", name): prefix(name, 30, 800) + EACH[name] * bottleneck(32, 128) for name in PREFIXED},
    **{("unipelt", name): unipelt(name) for name in PREFIXED if name != "gpt2"},
    ("houlsby", "resnet"): sum(bottleneck(width, 32) for width in RESNET) + NORMS["resnet"],
    ("pfeiffer", "resnet"): sum(bottleneck(width, 16) for width in RESNET),
    ("compacter", "resnet"): sum(kronecker(width, 8) for width in RESNET) + 4**3 + NORMS["resnet"],
    ("compacter_pp", "resnet"): sum(kronecker(width, 8) for width in RESNET) + 4**3 + NORMS["resnet"],
}
COUNTS |= {
    (f"{method}_inv", name): COUNTS[method, name] + COUPLING
    for method in ("houlsby", "pfeiffer", "parallel", "scaled_parallel")
    for name in TOKENS
}
