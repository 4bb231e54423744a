"""Methods of Hugging Face PEFT: formulas in inputs i and outputs o."""

# (inputs, outputs) of all wrapped layers of two blocks; the sides of a convolution's kernel count as inputs
LLAMA = 2 * [*2 * [(32, 32)], *2 * [(32, 16)], *2 * [(32, 48)], (48, 32)]  # q o, k v, gate up, down
GPT2 = 2 * [(32, 96), (32, 32), (32, 128), (128, 32)]  # query key value in one
MBART = 2 * [*12 * [(32, 32)], *2 * [(32, 48)], *2 * [(48, 32)]]  # attention of encoder, decoder, and across
ENCODER = 2 * [*4 * [(32, 32)], (32, 48), (48, 32)]
RESNET = [(64, 16), (16 * 9, 16), (16, 64)] * 2 + [(64, 32), (32 * 9, 32), (32, 128)]  # 1 x 1, 3 x 3, 1 x 1
RESNET += [(128, 32), (32 * 9, 32), (32, 128)]
LINEAR = {"llama": LLAMA, "mbart": MBART, "vision_transformer": GPT2, "esm": ENCODER, "wav2vec2": ENCODER}
LINEAR["whisper text"] = MBART
TRANSPOSED, CONVOLUTIONS = {"gpt2": GPT2}, {"resnet": RESNET}


def update(rank):
    """Two factors, A and B."""
    return lambda i, o: rank * (i + o)


def kronecker(i, o):
    """Factor each side into two whole numbers near its root: small, large."""
    (si, li), (so, lo) = (ROOTS[side] for side in (i, o))
    return so * si + lo * li


ROOTS = {16: (4, 4), 32: (4, 8), 48: (6, 8), 96: (8, 12), 128: (8, 16)}
EVERYWHERE = {  # Linear, Conv1D, Conv2d
    "lora": update(16),
    "rslora": update(16),
    "dora": lambda i, o: 16 * (i + o) + o,  # a magnitude per output
    "lora_plus": update(16),
    "lora_fa": lambda i, o: 16 * o,  # B alone
    "adalora": lambda i, o: 12 * (i + o + 1),  # P, Q and the diagonal
    "hira": update(16),
}
VECTORS = {  # Linear, Conv1D
    "pissa": update(16),
    "eva": update(16),
    "lora_ga": update(8),
    "vera": lambda i, o: 256 + o,  # d and b
    "fourierft": lambda i, o: 100,
    "waveft": lambda i, o: 100,
    "randlora": lambda i, o: min(i, o) // 16 * (16 + min(i, o)),  # for each pair of bases: lambda, gamma
    "gralora": update(16),  # of rank 16 / 2 for each of 2 x 2 blocks
    "tinylora": lambda i, o: 64,
    "deft": update(16),
    "frod": lambda i, o: i + i * i // 100,  # scales and one in a hundred entries of a square
    "pvera": lambda i, o: 2 * 256 + o,  # mean, variance and b
}
FLAT = {"loha": lambda i, o: 2 * 8 * (i + o), "hra": lambda i, o: 8 * i}  # Linear, Conv2d
FLAT["boft"] = lambda i, o: 2 * i // 4 * 4 * 4 + o  # two factors of 4 x 4 blocks, a scale per output
SIMPLE = {  # Linear
    "olora": update(16),
    "lokr": kronecker,
    "oft": lambda i, o: i // 16 * (16 * 15 // 2),  # skew-symmetric blocks of 16
    "miss": lambda i, o: 16 * o,
    "shira": update(8),  # as many entries as LoRA has
    "c3a": lambda i, o: i * o // 16,
    "road": lambda i, o: 2 * (o // 2),  # an angle and a length for each pair of outputs
    "delora": lambda i, o: 16 * (i + o) + 1,  # and its strength
    "psoft": lambda i, o: 16 * 15 // 2 + 2 * 16,  # a rotation of 16 directions, scales before and behind
    "adamss": lambda i, o: 5 * 16 + o,  # in each of 5 subspaces a row of 16; a number per output
    "osf": lambda i, o: (min(i, o) // 2) * (i + o + 1),  # half of the singular values, and their vectors
    "peanut": lambda i, o: 2 * 16 * o,
    "supertuning": lambda i, o: int(0.02 * i * o),
}
COUNTS = {
    (name, network): sum(formula(*sides) for sides in layers)
    for formulas, networks in (
        (EVERYWHERE, LINEAR | TRANSPOSED | CONVOLUTIONS),
        (VECTORS, LINEAR | TRANSPOSED),
        (FLAT, LINEAR | CONVOLUTIONS),
        (SIMPLE, LINEAR),
    )
    for name, formula in formulas.items()
    for network, layers in networks.items()
}
for network, layers in (LINEAR | TRANSPOSED).items():
    inputs, outputs = (sum(sides) for sides in zip(*layers, strict=True))
    COUNTS["vblora", network] = 64 * 16 + 16 * (inputs + outputs)  # the bank; 4 x 64 logits for each 16 of a side
    COUNTS["unilora", network] = 4096
for network, layers in LINEAR.items():
    inputs, outputs = (sum(sides) for sides in zip(*layers, strict=True))
    # A and a router of two experts per layer; two experts' B shared by two layers
    COUNTS["lily", network] = 16 * inputs + len(layers) * 16 * 2 + 2 * 16 * outputs // 2
    biases = 0 if network == "llama" else 8 * (inputs + len(layers)) + 2 * outputs  # C of rank 8 onto one; D and E
    COUNTS["glora", network] = 2 * 8 * (inputs + outputs) + biases
COUNTS["glora", "whisper text"] -= 6 * (8 * (32 + 1) + 2 * 32)  # its keys have no biases
COUNTS |= {
    # keys and values (with the queries where one projection gives all), and what the down-projections read
    ("ia3", "llama"): 2 * (16 + 16 + 48),
    ("ia3", "mbart"): 2 * (6 * 32 + 2 * 48),
    ("ia3", "vision_transformer"): 2 * (96 + 128),
    ("ia3", "gpt2"): 2 * (96 + 128),
    ("ia3", "esm"): 2 * (2 * 32 + 48),
    ("ia3", "wav2vec2"): 2 * (2 * 32 + 48),
    ("ia3", "wavlm"): 2 * 48,
    ("ia3", "resnet"): sum(o for _, o in RESNET),  # what all convolutions of the blocks give
    ("ln_tuning", "llama"): (2 * 2 + 1) * 32,
    ("ln_tuning", "mbart"): (2 * 2 + 2 * 3 + 4) * 64,  # and one behind the embeddings and the blocks of either side
    ("ln_tuning", "vision_transformer"): (2 * 2 + 1) * 64,
    ("ln_tuning", "esm"): (2 * 2 + 1) * 64,
    ("ln_tuning", "wav2vec2"): (2 * 2 + 1) * 64 + 3 * 16,  # two convolutions, and what projects them
    ("beft", "llama"): 2 * 16,
    ("beft", "mbart"): 6 * 32,
    ("beft", "esm"): 2 * 32,
    ("beft", "wav2vec2"): 2 * 32,
    ("prompt_tuning", "llama"): 20 * 32,
    ("prompt_tuning", "gpt2"): 20 * 32,
    ("prompt_tuning", "mbart"): 20 * 32,
    # tokens, and three layers that rewrite them: 32 -> 128 -> 128 -> 32
    ("p_tuning", "llama"): 20 * 32 + (32 + 1) * 128 + (128 + 1) * 128 + (128 + 1) * 32,
    ("p_tuning", "mbart"): 20 * 32 + (32 + 1) * 128 + (128 + 1) * 128 + (128 + 1) * 32,
    # tokens x layers x (key + value)
    ("prefix_tuning", "llama"): 20 * 2 * (16 + 16),
    ("prefix_tuning", "gpt2"): 20 * 2 * (32 + 32),
    ("prefix_tuning", "mbart"): 20 * 2 * (32 + 32),
    ("prefix_tuning", "mt5"): 20 * 2 * (16 + 16),
    ("adaption_prompt", "llama"): 2 * (10 * 32 + 1),
    ("adaption_prompt", "gpt2"): 2 * (10 * 32 + 1),
    ("cpt", "llama"): 32 * 32,
    ("cpt", "gpt2"): 32 * 32,
    ("trainable_tokens", "llama"): 16 * 32,
    ("trainable_tokens", "gpt2"): 16 * 32,
    # one more block, its last norm among three; two injections of rank 8; two small networks behind the first block
    ("shadow", "llama"): sum(i * o for i, o in LLAMA) // 2
    + 3 * 32
    + 2 * 2 * 8 * 32
    + 2 * ((32 + 1) * 8 + (8 + 1) * 32),
}
TINY = {
    "adamss": {"rank": 16},
    "boft": {"options": {"boft_block_size": 4}},
    "c3a": {"options": {"block_size": 16}},
    "cpt": {"tokens": 32, "options": {"opt_projection_epsilon": 100.0}},
    "fourierft": {"options": {"n_frequency": 100}},
    "lily": {"rank": 16},
    "lora_ga": {"rank": 8},
    "oft": {"options": {"oft_block_size": 16}},
    "psoft": {"rank": 16},
    "road": {"options": {"group_size": 16}},
    "trainable_tokens": {"tokens": 16},
    "vblora": {"options": {"vector_length": 16}},
    "waveft": {"options": {"n_frequency": 100}},
}
