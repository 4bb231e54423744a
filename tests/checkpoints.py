"""Tiny checkpoints as the hub has them: a network, its tokenizer, its configuration."""

import json

import torch
import transformers
from networks import CONFIGS, LISTENING, SEQ2SEQ, feature_extractor, shake
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from benchmark.capabilities.networks import BERT, DEBERTA, GPT2, LLAMA, MODERNBERT
from benchmark.config.compose import cell_of
from benchmark.types import Example, Head
from tasks.toy import DIGITS

CORPUS = [*DIGITS, "translate en to sw: ", *(" ".join(DIGITS[i:] + DIGITS[:i]) for i in range(10)), "0123456789 " * 3]
DROPS = {  # as the published configurations of these families have them: none of it may survive
    "gpt2": {"resid_pdrop": 0.1, "embd_pdrop": 0.1, "attn_pdrop": 0.1},
    "qwen3": {"attention_dropout": 0.1},
    "llama": {"attention_dropout": 0.1},
    "mt5": {"dropout_rate": 0.1},
    "mbart": {"dropout": 0.1, "attention_dropout": 0.1, "activation_dropout": 0.1, "encoder_layerdrop": 0.05},
    "m2m_100": {"dropout": 0.1, "attention_dropout": 0.1, "encoder_layerdrop": 0.05, "decoder_layerdrop": 0.05},
}


def bytewise(special):
    """Learn a byte-level BPE, as GPT-2, Qwen and Llama 3 have one."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    letters = pre_tokenizers.ByteLevel.alphabet()
    inner.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=letters, show_progress=False),
    )
    learnt = json.loads(inner.to_str())["model"]
    return learnt["vocab"], [tuple(merge) for merge in learnt["merges"]], inner


def pieces(special):
    """Write a fixed unigram vocabulary like those of T5 and mBART."""
    known = sorted({f"▁{word}" for text in CORPUS for word in text.split()})
    letters = sorted({letter for text in CORPUS for letter in text if not letter.isspace()})
    scores = [*((word, -1.0) for word in known), ("▁", -3.0), *((letter, -4.0) for letter in letters)]
    return [*((token, 0.0) for token in special), *scores]


def gpt2():
    vocab, merges, _ = bytewise(["<|endoftext|>"])
    return transformers.GPT2Tokenizer(vocab=vocab, merges=merges)


def qwen3():
    vocab, merges, _ = bytewise(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    return transformers.Qwen2Tokenizer(vocab=vocab, merges=merges)


def llama():
    """Llama 3's generic tokenizer: a start token on every text, no padding."""
    begin, end = "<|begin_of_text|>", "<|end_of_text|>"
    _, _, inner = bytewise([begin, end])
    inner.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A", special_tokens=[(begin, inner.token_to_id(begin))]
    )
    return transformers.PreTrainedTokenizerFast(tokenizer_object=inner, bos_token=begin, eos_token=end)


def mt5():
    return transformers.T5Tokenizer(vocab=pieces(["<pad>", "</s>", "<unk>"]), extra_ids=0)


def mbart():
    return transformers.MBart50Tokenizer(vocab=pieces(["<unk>", "<s>", "</s>"]), src_lang="en_XX", tgt_lang="sw_KE")


def m2m_100():
    inner = Tokenizer(models.BPE(unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    inner.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=120, special_tokens=special, show_progress=False))
    learnt = json.loads(inner.to_str())["model"]
    merges = [tuple(merge) for merge in learnt["merges"]]
    return transformers.NllbTokenizer(vocab=learnt["vocab"], merges=merges, src_lang="eng_Latn", tgt_lang="swh_Latn")


TOKENIZERS = {maker.__name__: maker for maker in (gpt2, qwen3, llama, mt5, mbart, m2m_100)}


def save_text(family, folder):
    """Save a tokenizer of the family and a 16-bit network that fits it."""
    tokenizer = TOKENIZERS[family]()
    tokenizer.save_pretrained(folder)
    kind, shape = CONFIGS[family]
    special = {key: getattr(tokenizer, key) for key in ("pad_token_id", "bos_token_id", "eos_token_id")}
    if family in SEQ2SEQ:
        special["decoder_start_token_id"] = tokenizer.pad_token_id if family == "mt5" else tokenizer.eos_token_id
    positions = {} if family == "mt5" else {"n_positions" if family == "gpt2" else "max_position_embeddings": 128}
    config = kind(**shape | DROPS[family] | special | positions | {"vocab_size": len(tokenizer)})
    torch.manual_seed(0)
    auto = transformers.AutoModelForSeq2SeqLM if config.is_encoder_decoder else transformers.AutoModelForCausalLM
    model = shake(auto.from_config(config), 0.3)  # else a random network says one word for ever
    with torch.no_grad():  # or nothing but language tokens
        for matrix in {model.get_input_embeddings().weight, model.get_output_embeddings().weight}:
            matrix[tokenizer.all_special_ids] *= 0.1
    model.half().save_pretrained(folder)
    return folder


# Texts under a new head


def bert():
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *DIGITS, *"0123456789abcdefghijklmnopqrstuvwxyz:"]
    vocab += [f"##{letter}" for letter in "0123456789abcdefghijklmnopqrstuvwxyz"]
    return transformers.BertTokenizer(vocab={token: i for i, token in enumerate(vocab)})


def roberta():
    vocab, merges, _ = bytewise(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    return transformers.RobertaTokenizer(vocab=vocab, merges=merges)


def xlm_roberta():
    return transformers.XLMRobertaTokenizer(vocab=pieces(["<s>", "<pad>", "</s>", "<unk>"]))


def deberta_v2():
    return transformers.DebertaV2Tokenizer(vocab=pieces(["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]))


def modernbert():
    _, _, inner = bytewise(["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"])
    ends = [(token, inner.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=ends
    )
    special = {f"{role}_token": f"[{role.upper()}]" for role in ("unk", "cls", "sep", "pad", "mask")}
    names = ["input_ids", "attention_mask"]
    return transformers.PreTrainedTokenizerFast(tokenizer_object=inner, model_input_names=names, **special)


READERS = {  # configuration -> tokenizer, configuration of its network, the network with the head of its pretraining
    "bert_base": (bert, transformers.BertConfig, BERT, transformers.AutoModelForMaskedLM),
    "roberta_base": (roberta, transformers.RobertaConfig, BERT, transformers.AutoModelForMaskedLM),
    "xlm_r_base": (xlm_roberta, transformers.XLMRobertaConfig, BERT, transformers.AutoModelForMaskedLM),
    "deberta_v3_base": (deberta_v2, transformers.DebertaV2Config, DEBERTA, transformers.AutoModelForMaskedLM),
    "modernbert_base": (modernbert, transformers.ModernBertConfig, MODERNBERT, transformers.AutoModelForMaskedLM),
    "text_encoder": (bert, transformers.BertConfig, BERT, transformers.AutoModelForMaskedLM),
    "text_decoder": (gpt2, transformers.GPT2Config, GPT2, transformers.AutoModelForCausalLM),
    "llama_docstrings_states": (llama, transformers.LlamaConfig, LLAMA, transformers.AutoModelForCausalLM),
}


def save_reader(name, folder):
    """Save a tokenizer and a 16-bit network as the hub has them for this configuration."""
    make, config, shape, auto = READERS[name]
    tokenizer = make()
    tokenizer.save_pretrained(folder)
    special = {
        f"{role}_token_id": getattr(tokenizer, f"{role}_token_id") for role in ("pad", "bos", "eos", "cls", "sep")
    }
    known = {key: value for key, value in special.items() if value is not None}
    torch.manual_seed(0)
    network = auto.from_config(config(**{**shape, **known, "vocab_size": len(tokenizer)}))
    shake(network).half().save_pretrained(folder)
    return folder


# Whisper

BEGIN, END, SILENT = "<|startoftranscript|>", "<|endoftext|>", "<|notimestamps|>"
TASKS = ["<|translate|>", "<|transcribe|>"]
SPOKEN = ("de", "en", "sw")  # languages, also tokens of a checkpoint that knows English alone


def whisper_tokenizer():
    """Learn a byte-level BPE with the control tokens in the order of Whisper's, and two timestamps."""
    vocab, merges, _ = bytewise([END])
    tokenizer = transformers.WhisperTokenizer(vocab=vocab, merges=merges, pad_token=END)
    control = [BEGIN, *(f"<|{code}|>" for code in SPOKEN), *TASKS, "<|startofprev|>", "<|nospeech|>", SILENT]
    tokenizer.add_special_tokens({"extra_special_tokens": control})
    tokenizer.add_tokens(["<|0.00|>", "<|0.02|>"])
    return tokenizer


def save_whisper(folder, several=True, **settings):
    """Save a random Whisper of one second with its tokenizer; several: of several languages."""
    tokenizer = whisper_tokenizer()
    tokenizer.save_pretrained(folder)
    feature_extractor("whisper").save_pretrained(folder)
    begin, end, silent, *tasks = tokenizer.convert_tokens_to_ids([BEGIN, END, SILENT, *TASKS])
    special = {"pad_token_id": end, "bos_token_id": end, "eos_token_id": end, "decoder_start_token_id": begin}
    sizes = {"decoder_layers": 2, "max_target_positions": 40, "vocab_size": len(tokenizer)}
    torch.manual_seed(0)
    model = transformers.WhisperForConditionalGeneration(transformers.WhisperConfig(**LISTENING | sizes | special))
    shake(model, 0.3)  # else a random network says one word for ever
    model.generation_config = transformers.GenerationConfig(
        **special, is_multilingual=several, no_timestamps_token_id=silent, return_timestamps=False,
        **settings,
    )  # fmt: skip
    if several:
        model.generation_config.lang_to_id = {f"<|{c}|>": tokenizer.convert_tokens_to_ids(f"<|{c}|>") for c in SPOKEN}
        model.generation_config.task_to_id = dict(zip(("translate", "transcribe"), tasks, strict=True))
    model.save_pretrained(folder)
    return folder


SOURCES = ["7", "305", "one two three four", "9 8 7 six five"]  # of different lengths: batches are padded
LEARNT = {  # configuration -> architecture
    "gpt2_medium": "gpt2",
    "qwen3_600m": "qwen3",
    "llama_3_2_1b": "llama",
    "mt5_small": "mt5",
    "mbart_large_50": "mbart",
    "nllb_200_600m": "m2m_100",
}
CODES = {"mbart_large_50": ("en_XX", "sw_KE"), "nllb_200_600m": ("eng_Latn", "swh_Latn")}


def hub_overrides(name, folder):
    return [
        f"backbone={name}", f"backbone.checkpoint={folder}", "task=nmt", "data=toy", "data.train=16", "data.test=6",
        "task.source_language=en", "task.target_language=sw", "task.max_target_tokens=12", "method=lora",
        "budget=smoke", "budget.steps=2",
    ]  # fmt: skip


def load_hub(name, folder, *more):
    made = cell_of([*hub_overrides(name, folder), *more])
    model, processor = made.backbone.load(made.budget, Head(made.kind))
    return made, model.eval(), processor


def answer_sources(made, model, processor, sources=SOURCES):
    """Answer sources as one batch; return the answers and their ids."""
    written, generate = [], model.generate
    model.generate = lambda **options: written.append(generate(**options)) or written[-1]
    features = [made.task.encode(Example("", source, ("?",)), processor, {}) for source in sources]
    with torch.no_grad():
        answers = made.task.predict(model, features, processor)
    model.generate = generate
    return [answer["prediction"] for answer in answers], written[0]
