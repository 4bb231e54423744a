"""ReFT, and the methods of the study of medical images."""

ENCODER = 4 * 32 + 48 + 32 + 2 * 32  # outputs of attention, feed-forward and two norms: a bias has as many
DECODER = ENCODER + 4 * 32 + 32  # cross-attention and its norm
FUSED = 96 + 32 + 128 + 32 + 2 * 32  # of GPT-2 and of ViT
ATTENTION = 4 * (32 * 32 + 32)
# per channel a gain of the convolution, and gain and shift of its norm: stem, then three or four convolutions a block
RESNET = 3 * (64 + (16 + 16 + 64) + (16 + 16 + 2 * 64) + 2 * (32 + 32 + 2 * 128))
COUNTS = {
    (method, network): 2 * (2 * 8 * 32 + 8)  # two blocks: R and W of rank 8, and b
    for method in ("loreft", "noreft", "direft")
    # of an encoder-decoder the encoder's two blocks
    for network in ("llama", "gpt2", "mbart", "t5", "vision_transformer", "esm", "wav2vec2", "whisper")
} | {
    # gains alone: no layer has a bias
    ("ssf", "llama"): 2 * (32 + 16 + 16 + 32 + 48 + 48 + 32 + 2 * 32) + 32,
    ("ssf", "gpt2"): 2 * (2 * FUSED + 32),
    ("ssf", "mbart"): 2 * (2 * ENCODER + 2 * DECODER + 4 * 32),
    ("ssf", "vision_transformer"): 2 * (32 + 2 * FUSED + 32),  # patches, blocks, last norm
    ("ssf", "esm"): 2 * (2 * ENCODER + 32),
    ("ssf", "wav2vec2"): 2 * (2 * ENCODER + 32 + 3 * 8),  # norms of the convolutions and of what they give
    ("ssf", "resnet"): RESNET,
    # biases, without those of keys alone, then gains
    ("diff_fit", "gpt2"): 2 * FUSED + 32 + 2 * (96 + 32 + 32),
    ("diff_fit", "mbart"): 2 * ENCODER + 2 * DECODER + 4 * 32 - 6 * 32 + 2 * (4 * 32 + 32) + 2 * (8 * 32 + 32),
    ("diff_fit", "vision_transformer"): 32 + 2 * FUSED + 32 + 2 * (96 + 32 + 32),
    ("diff_fit", "esm"): 2 * ENCODER + 32 + 2 * (4 * 32 + 32),  # rotary keys count
    # projection of the convolutions, position convolution, last norm; norms of 8 channels
    ("diff_fit", "wav2vec2"): 2 * ENCODER + 3 * 32 + 3 * 8 - 2 * 32 + 2 * (4 * 32 + 32),
    ("attention_tuning", "llama"): 2 * (2 * 32 * 32 + 2 * 16 * 32),
    ("attention_tuning", "gpt2"): 2 * ATTENTION,
    ("attention_tuning", "mbart"): (2 + 2 * 2) * ATTENTION,
    ("attention_tuning", "vision_transformer"): 2 * ATTENTION,
    ("attention_tuning", "esm"): 2 * ATTENTION,
    ("attention_tuning", "wav2vec2"): 2 * ATTENTION,
    # the smaller side of each weight
    ("sv_diff", "llama"): 2 * (32 + 16 + 16 + 32 + 3 * 32),
    ("sv_diff", "gpt2"): 2 * (4 * 32),
    ("sv_diff", "mbart"): (2 * 6 + 2 * 10) * 32,
    ("sv_diff", "vision_transformer"): 2 * (4 * 32),
    ("sv_diff", "esm"): 2 * (6 * 32),
    ("sv_diff", "wav2vec2"): 2 * (6 * 32),
    ("sv_diff", "resnet"): (3 * 16) + (3 * 16) + (3 * 32) + (3 * 32),  # without the shortcuts
    # A_i of 4 x 4, four of them, once; then inputs + outputs of each weight
    ("kadaptation", "llama"): 4**3 + 2 * (2 * (32 + 32) + 2 * (32 + 16)),
    ("kadaptation", "gpt2"): 4**3 + 2 * ((32 + 96) + (32 + 32)),
    ("kadaptation", "mbart"): 4**3 + 6 * 4 * (32 + 32),
    ("kadaptation", "vision_transformer"): 4**3 + 2 * ((32 + 96) + (32 + 32)),
    ("kadaptation", "esm"): 4**3 + 2 * 4 * (32 + 32),
    ("kadaptation", "wav2vec2"): 4**3 + 2 * 4 * (32 + 32),
    ("tsa", "resnet"): 2 * 16 * 16 + 2 * 32 * 32,
    ("vpt_shallow", "vision_transformer"): 10 * 32,
    ("vpt_deep", "vision_transformer"): 10 * 32 * 2,
}
