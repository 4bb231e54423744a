"""Methods that look at data, select parameters, or stand beside the network."""

# A block: llama's has no biases, gpt2's and the ViT's are alike, an encoder's has a feed-forward of 48,
LLAMA = 2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 48 + 2 * 32
GPT2 = 4 * (32 * 32 + 32) + (32 * 128 + 128) + (128 * 32 + 32) + 2 * 64
ENCODER = 4 * (32 * 32 + 32) + (32 * 48 + 48) + (48 * 32 + 32) + 2 * 64
DECODER = ENCODER + 4 * (32 * 32 + 32) + 64  # and mBART's decoder attends twice.
RESNET = 128 * 32 + 9 * 32 * 32 + 32 * 128 + 128 * 128 + 2 * (32 + 32 + 128 + 128)  # the last block
COUNTS = {
    # norms: gain and bias (llama's has none); mBART has two more around each of its stacks
    ("norm_tuning", "llama"): (2 * 2 + 1) * 32,
    ("norm_tuning", "gpt2"): (2 * 2 + 1) * 64,
    ("norm_tuning", "mbart"): (2 * 2 + 2 * 3 + 4) * 64,
    ("norm_tuning", "vision_transformer"): (2 * 2 + 1) * 64,
    # stem 64; blocks of 16 16 64, 16 16 64, 32 32 128, 32 32 128, all but the first with a shortcut
    ("norm_tuning", "resnet"): 2 * (64 + 96 + (96 + 64) + (192 + 128) + (192 + 128)),
    ("norm_tuning", "esm"): (2 * 2 + 1) * 64,
    ("norm_tuning", "wav2vec2"): (2 * 2 + 1) * 64 + 3 * 16,  # two convolutions and the projection read 8 channels
    # all biases but those of keys alone
    ("bitfit", "gpt2"): 2 * (96 + 32 + 128 + 32 + 64) + 32,
    ("bitfit", "mbart"): 2 * (3 * 32 + 48 + 32 + 64) + 2 * (6 * 32 + 48 + 32 + 96) + 4 * 32,
    ("bitfit", "vision_transformer"): 2 * (96 + 32 + 128 + 32 + 64) + 32 + 32,  # last norm, patches
    ("bitfit", "resnet"): 64 + 96 + (96 + 64) + (192 + 128) + (192 + 128),  # its convolutions have none
    ("bitfit", "esm"): 2 * (4 * 32 + 48 + 32 + 64) + 32,  # rotary keys count; last norm
    # convolutions' norms 8 each, projection and its norm, positions, last norm
    ("bitfit", "wav2vec2"): 2 * (3 * 32 + 48 + 32 + 64) + 2 * 8 + 8 + 32 + 32 + 32,
    # Whisper's keys have no biases; two convolutions, and the last norm of each stack
    ("bitfit", "whisper text"): 2 * (3 * 32 + 48 + 32 + 64) + 2 * (6 * 32 + 48 + 32 + 96) + 2 * 32 + 2 * 32,
    ("norm_tuning", "whisper text"): (2 * 2 + 2 * 3 + 2) * 64,
    ("partial", "whisper text"): DECODER - 2 * 32,
    ("partial", "llama"): LLAMA,
    ("partial", "gpt2"): GPT2,
    ("partial", "mbart"): DECODER,
    ("partial", "vision_transformer"): GPT2,
    ("partial", "resnet"): RESNET,
    ("partial", "esm"): ENCODER,
    ("partial", "wav2vec2"): ENCODER,
    ("full", "llama"): 2 * LLAMA + 32 + 2 * 50 * 32,
    ("full", "gpt2"): 2 * GPT2 + 64 + 50 * 32 + 64 * 32,  # tokens, places
    ("full", "mbart"): 2 * (ENCODER + DECODER) + 4 * 64 + 50 * 32 + 2 * 66 * 32,
    # two convolutions of three columns, from 8 bands; 448 places of tokens; 20 places of frames
    ("full", "whisper text"): 2 * (ENCODER + DECODER)
    - 6 * 32
    + 2 * 64
    + (8 * 3 * 32 + 32)
    + (32 * 3 * 32 + 32)
    + (50 + 448 + 20) * 32,
    ("full", "vision_transformer"): 2 * GPT2 + 64 + 32 + 17 * 32 + (3 * 64 * 32 + 32),  # class, places, patches
    # stem, the three other blocks' convolutions and shortcuts, and all norms but the last block's
    ("full", "resnet"): RESNET
    + 3 * 49 * 64
    + (64 * 16 + 9 * 256 + 16 * 64)
    + (64 * 16 + 9 * 256 + 16 * 64 + 64 * 64)
    + (64 * 32 + 9 * 1024 + 32 * 128 + 64 * 128)
    + 2 * (64 + 96 + 160 + 320),
    ("full", "esm"): 2 * ENCODER + 64 + 50 * 32 + 5,  # 5: contacts
    # convolutions 1 -> 8 of 10 and 8 -> 8 of 4 with norms, projection with norm, positions in 2 groups of 4 taps
    ("full", "wav2vec2"): 2 * ENCODER + 64 + (80 + 16) + (256 + 16) + 16 + (8 * 32 + 32) + (32 + 4 + 32 * 16 * 4),
    ("head", "vision_transformer"): 0,
    ("head", "resnet"): 0,
    ("head", "esm"): 0,
    ("head", "wav2vec2"): 0,
    ("frozen", "llama"): 0,
    ("frozen", "gpt2"): 0,
    ("frozen", "mbart"): 0,
    # an eighth of 32 channels: a 4 x 4 map and its bias in each block; mBART has 2 + 2
    ("sct", "llama"): 2 * (4 * 4 + 4),
    ("sct", "gpt2"): 2 * (4 * 4 + 4),
    ("sct", "mbart"): 4 * (4 * 4 + 4),
    ("sct", "vision_transformer"): 2 * (4 * 4 + 4),
    ("sct", "swin_transformer"): (4 * 4 + 4) + (8 * 8 + 8),  # one block of width 32, one of 64
    ("sct", "esm"): 2 * (4 * 4 + 4),
    ("sct", "wav2vec2"): 2 * (4 * 4 + 4),
    ("sct", "wavlm"): 2 * (4 * 4 + 4),
    # diff pruning, too: 2 % of each matrix, rounded: llama q o 1024 -> 20, k v 512 -> 10, gate up down 1536 -> 31
    ("fishmask", "llama"): 2 * (2 * 20 + 2 * 10 + 3 * 31),
    ("fishmask", "gpt2"): 2 * (61 + 20 + 2 * 82),  # 3072, 1024, and 4096 twice
    ("fishmask", "mbart"): 2 * (4 * 20 + 2 * 31) + 2 * (8 * 20 + 2 * 31),
    ("fishmask", "vision_transformer"): 2 * (61 + 20 + 2 * 82),
    ("fishmask", "esm"): 2 * (4 * 20 + 2 * 31),
    ("fishmask", "wav2vec2"): 2 * (4 * 20 + 2 * 31),
    ("fishmask", "wavlm"): 2 * (2 * 31),
    # norm 32 + 32; 16 groups: 16 filters of 2 x 3, 16 of 1 x 5, 32 of 1 x 3; gate 32 -> 16 -> 32
    ("conv_adapter", "wav2vec2"): 2 * (64 + 16 * 6 + 16 * 5 + 32 * 3 + 16 * 64),
    ("conv_adapter", "wavlm"): 2 * (64 + 16 * 6 + 16 * 5 + 32 * 3 + 16 * 64),
    ("conv_adapter", "whisper"): 2 * (64 + 16 * 6 + 16 * 5 + 32 * 3 + 16 * 64),
    ("conv_adapter", "esm"): 2 * (64 + 16 * 6 + 16 * 5 + 32 * 3 + 16 * 64),
    # E-adapter 32 -> 64 -> 32 with biases and a norm of 32 + 32; each block's own two norms
    ("e_adapter", "wav2vec2"): 2 * (2 * 32 * 64 + 64 + 32 + 64) + 2 * 2 * 64,
    ("e_adapter", "whisper"): 2 * (2 * 32 * 64 + 64 + 32 + 64) + 2 * 2 * 64,
    ("e_adapter", "esm"): 2 * (2 * 32 * 64 + 64 + 32 + 64) + 2 * 2 * 64,
    # L-adapter 32 -> 128 with bias and norm, a weight; 128 -> 32 for all
    ("l_adapter", "wav2vec2"): 2 * (32 * 128 + 128 + 256 + 1) + 128 * 32 + 2 * 2 * 64,
    ("l_adapter", "wavlm"): 2 * (32 * 128 + 128 + 256 + 1) + 128 * 32 + 2 * 2 * 64,
    ("l_adapter", "esm"): 2 * (32 * 128 + 128 + 256 + 1) + 128 * 32 + 2 * 2 * 64,
    # the last of the two blocks has no E-adapter
    ("le_adapter", "wav2vec2"): (2 * 32 * 64 + 64 + 32 + 64) + 2 * (32 * 128 + 128 + 256 + 1) + 4096 + 256,
    ("le_adapter", "esm"): (2 * 32 * 64 + 64 + 32 + 64) + 2 * (32 * 128 + 128 + 256 + 1) + 4096 + 256,
    # t5's norms have no bias
    ("le_adapter", "t5 encoder"): (2 * 32 * 64 + 64 + 32 + 64) + 2 * (32 * 128 + 128 + 256 + 1) + 4096 + 2 * 2 * 32,
    ("embedding_prompt", "wav2vec2"): 2 * 5 * 32,  # blocks, tokens, width
    ("embedding_prompt", "wavlm"): 2 * 5 * 32,
    ("embedding_prompt", "whisper"): 2 * 5 * 32,
    # side network 4 wide: 32 -> 4, norm, 4 -> 16 -> 4 per block; a gate between two; norm, 4 -> 32
    ("lst", "llama"): 2 * ((32 * 4 + 4) + 8 + (64 + 16) + (64 + 4)) + 1 + 8 + (4 * 32 + 32),
    ("lst", "gpt2"): 2 * ((32 * 4 + 4) + 8 + (64 + 16) + (64 + 4)) + 1 + 8 + (4 * 32 + 32),
    # the encoder's ladder, which nothing projects back; the decoder's, whose rungs attend to it: norm, four 4 x 4
    ("lst", "mbart"): 2 * ((32 * 4 + 4) + 8 + (64 + 16) + (64 + 4))
    + (1 + 8)
    + 2 * ((32 * 4 + 4) + 8 + (64 + 16) + (64 + 4) + 8 + 4 * 16)
    + (1 + 8 + 4 * 32 + 32),
    ("lst", "vision_transformer"): 2 * ((32 * 4 + 4) + 8 + (64 + 16) + (64 + 4)) + 1 + 8 + (4 * 32 + 32),
    ("lst", "esm"): 2 * ((32 * 4 + 4) + 8 + (64 + 16) + (64 + 4)) + 1 + 8 + (4 * 32 + 32),
    ("lst", "wav2vec2"): 2 * ((32 * 4 + 4) + 8 + (64 + 16) + (64 + 4)) + 1 + 8 + (4 * 32 + 32),
    # a block; a norm and the share
    ("side_tuning", "vision_transformer"): GPT2 + 64 + 1,
    ("side_tuning", "esm"): ENCODER + 64 + 1,
    ("side_tuning", "wav2vec2"): ENCODER + 64 + 1,
    # without biases: attention 32 x 16 four times, gated feed-forward, norms; 32 buckets x 2 heads
    ("side_tuning", "t5 encoder"): 4 * 512 + 2 * 32 * 48 + 2 * 32 + 32 * 2 + 64 + 1,
}
COUNTS |= {("diff_pruning", network): count for (name, network), count in COUNTS.items() if name == "fishmask"}
TINY = {"conv_adapter": {"ratio": 2}}  # by default its gate has 2 units, which may both be silent by chance
