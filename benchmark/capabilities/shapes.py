"""Shapes of the tiny networks: two blocks of width 32, in the words of each library."""

from __future__ import annotations

TOKENS = {"vocab_size": 50, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
LLAMA = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 16, "max_position_embeddings": 64,
}  # fmt: skip
GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64}  # feed-forward 128
BART = {
    "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "max_position_embeddings": 64,
    "forced_eos_token_id": None,
}  # fmt: skip
T5 = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 2}  # heads x d_kv < d_model: mT5-small
ESM = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48, "vocab_size": 50,
    "pad_token_id": 0, "mask_token_id": 3, "position_embedding_type": "rotary", "max_position_embeddings": 64,
}  # fmt: skip
BERT = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48,
    "max_position_embeddings": 64,
}  # fmt: skip
DEBERTA = BERT | {  # as DeBERTa-v3 has them
    "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8, "norm_rel_ebd": "layer_norm",
    "share_att_key": True, "position_biased_input": False, "type_vocab_size": 0, "max_relative_positions": -1,
}  # fmt: skip
MODERNBERT = BERT | {"global_attn_every_n_layers": 2, "local_attention": 4, "cls_token_id": 1, "sep_token_id": 2}
WAVES = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, "conv_dim": [8, 8],
    "conv_kernel": [10, 4], "conv_stride": [5, 4], "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2,
    "feat_proj_dropout": 0.0, "final_dropout": 0.0, "apply_spec_augment": False, "mask_time_prob": 0.0,
    "feat_extract_norm": "layer", "do_stable_layer_norm": True,
}  # fmt: skip
WHISPER = {
    "d_model": 32, "encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
    "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "num_mel_bins": 8, "max_source_positions": 20,
    "decoder_start_token_id": 3,
}  # fmt: skip
IMAGES = {
    "vit_base_patch16_224": {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2},
    "swin_tiny_patch4_window7_224": {
        "img_size": 32, "window_size": 4, "embed_dim": 32, "depths": [1, 1], "num_heads": [2, 2]
    },
    "convnext_tiny": {"depths": [1, 1, 1, 1], "dims": [16, 16, 32, 32]},
    "resnet50": {"layers": [1, 1, 1, 1], "channels": [16, 16, 32, 32], "zero_init_last": False},
}  # fmt: skip
