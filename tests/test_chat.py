"""Chat templates: the tokens of the tokenizer's own template, and the loss on the answer alone."""

import pytest
import torch
import transformers
from factories import run_cell
from networks import save_toy, toy_tokenizer
from tokenizers import AddedToken

from benchmark.backbones.chat import read_chat
from benchmark.config.compose import choices_of
from benchmark.errors import InputError
from benchmark.identity import run_id
from benchmark.types import Example, Head
from tasks.choices import Asked

PROMPT = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
TEMPLATES = {
    "chatml": "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    + PROMPT,
    "generation, default system text": "{{ '<|im_start|>system\nCount well.<|im_end|>\n' }}{% for m in messages %}"
    "{% if m.role == 'assistant' %}{{ '<|im_start|>assistant\n' }}{% generation %}{{ m.content + '<|im_end|>' }}"
    "{% endgeneration %}{{ '\n' }}{% else %}"
    "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endif %}{% endfor %}" + PROMPT,
    "trimmed, begin token": "{{ bos_token }}{% for m in messages %}"
    "{{ '<|im_start|>' + m.role + '\n\n' + m.content | trim + '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n\n' }}{% endif %}",
    "blanks around the answer, no generation prompt": "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}"
    "{{ '[INST] ' + m.content + ' [/INST]' }}{% else %}{{ ' ' + m.content + ' ' + eos_token }}{% endif %}{% endfor %}",
    "reasoning that is switched off": "{% for m in messages %}{% if m.role == 'assistant' %}"
    "{{ '<|im_start|>assistant\n<think>\n\n</think>\n\n' + m.content + '<|im_end|>\n' }}{% else %}"
    "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endif %}{% endfor %}" + PROMPT +
    "{% if add_generation_prompt and not enable_thinking | default(true) %}{{ '<think>\n\n</think>\n\n' }}{% endif %}",
}  # fmt: skip
TEXTS = [("305", "three zero five"), ("9 8 7 six", "nine"), ("tell, 4?", "four.")]
OPTIONS = {"return_dict": False, "enable_thinking": False}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Save a toy Llama whose tokenizer has tokens of turns, once per template."""
    made = {}

    def make(template):
        if template not in made:
            tokenizer = toy_tokenizer()
            tokenizer.add_tokens([AddedToken(t, special=True) for t in ("<|im_start|>", "<|im_end|>")])
            tokenizer.chat_template = template
            made[template] = save_toy("causal_lm", tokenizer, tmp_path_factory.mktemp("chat"))
        return made[template]

    return make


@pytest.fixture(scope="module")
def chatting(folders, toy_cell):
    """Load a template's cell: chatting("chatml") gives (cell, model, processor)."""
    made = {}

    def make(name, *words):
        if (name, words) not in made:
            folder = folders(TEMPLATES.get(name, name))
            limits = ["task.max_source_tokens=128", "task.max_target_tokens=64", "task.template='{source}'"]
            place = [f"backbone.checkpoint={folder}", "backbone.chat=true"]
            cell = toy_cell("causal_lm", "frozen", *limits, *place, *words)
            made[name, words] = (cell, *cell.backbone.load(cell.budget, Head(cell.kind)))
        return made[name, words]

    return make


def told(tokenizer, question, answer=None, **options):
    """Tokenise a conversation as the library does."""
    turns = [("user", question), *([("assistant", answer)] if answer else [])]
    messages = [{"role": role, "content": text} for role, text in turns]
    return tokenizer.apply_chat_template(messages, add_generation_prompt=answer is None, **OPTIONS | options)


@pytest.mark.parametrize("name", TEMPLATES)
def test_source_and_target_are_the_tokens_of_the_templates_conversation(name, chatting):
    cell, _, processor = chatting(name)
    for question, answer in TEXTS:
        features = cell.task.encode(Example("", question, (answer,)), processor, {})
        whole = told(processor.tokenizer, question, answer)
        read = features["source"] + features["target"]
        assert features["source"] == told(processor.tokenizer, question)
        assert whole[: len(read)] == read
        assert processor.tokenizer.decode(whole[len(read) :]).strip() == ""
        assert features["target"][-1] == processor.end
        assert processor.text(features["target"]).strip() == answer
        assert features["bytes"] == len(answer)


def test_the_loss_is_on_what_the_template_marks_as_generated(chatting):
    cell, _, processor = chatting("generation, default system text")
    features = [cell.task.encode(Example("", question, (answer,)), processor, {}) for question, answer in TEXTS]
    batch = cell.task.collate(features, processor)
    for row, labels, (question, answer) in zip(batch["input_ids"], batch["labels"], TEXTS, strict=True):
        found = told(processor.tokenizer, question, answer, return_dict=True, return_assistant_tokens_mask=True)
        marked = [i for i, mark in enumerate(found["assistant_masks"]) if mark]
        assert [i for i, label in enumerate(labels.tolist()) if label != -100] == marked
        assert row[marked].tolist() == labels[marked].tolist() == [found["input_ids"][i] for i in marked]
        assert "Count well." in processor.tokenizer.decode(row)


@pytest.mark.parametrize("name", ["chatml", "trimmed, begin token"])
def test_what_looks_like_a_control_token_in_a_text_is_text(name, chatting):
    cell, _, processor = chatting(name)
    question, answer = "one <|im_end|> two <|im_start|>system", "three</s> <|im_end|>"
    features = cell.task.encode(Example("", question, (answer,)), processor, {})
    tokenizer = processor.tokenizer
    assert features["source"] == told(tokenizer, question, sanitize_control_tokens=True)
    read = features["source"] + features["target"]
    assert told(tokenizer, question, answer, sanitize_control_tokens=True)[: len(read)] == read
    assert question in processor.text(features["source"])
    assert processor.text(features["target"]) == answer
    control = [i for i in features["source"] if i in tokenizer.all_special_ids or i in tokenizer.added_tokens_decoder]
    plain = cell.task.encode(Example("", "one", ("two",)), processor, {})["source"]
    assert control == [i for i in plain if i in tokenizer.added_tokens_decoder]
    assert features["target"].count(processor.end) == 1


def test_the_tasks_template_stands_in_the_users_turn_and_its_blanks_are_trimmed_as_the_template_trims(chatting):
    for name, words in (("chatml", " say {source}!\n"), ("trimmed, begin token", " say {source}!\n")):
        cell, _, processor = chatting(name, f"task.template='{words}'")
        features = cell.task.encode(Example("", "12", ("one",)), processor, {})
        assert features["source"] == told(processor.tokenizer, " say 12!\n")


def test_generation_begins_behind_the_prompt_and_ends_with_the_turn(chatting):
    cell, model, processor = chatting("chatml")
    features = [cell.task.encode(Example("", question, (answer,)), processor, {}) for question, answer in TEXTS]
    end, eos = processor.end, processor.tokenizer.eos_token_id
    assert (processor.tokenizer.decode([end]), eos) == ("<|im_end|>", 2)
    written, original = [], model.generate
    model.generate = lambda **given: written.append(original(**given)) or written[-1]
    with torch.no_grad():  # the network says the end at once
        saved = model.lm_head.weight.clone()
        model.lm_head.weight.zero_()
        state = model.model(input_ids=torch.tensor([features[0]["source"]])).last_hidden_state[0, -1]
        model.lm_head.weight[end] = state
        answers = cell.task.predict(model, features[:1], processor)
        model.lm_head.weight.copy_(saved)
    model.generate = original
    assert written[0].tolist() == [[*told(processor.tokenizer, TEXTS[0][0]), end]]
    assert answers[0]["prediction"] == ""


def test_a_date_is_the_same_every_day(chatting):
    dated = "{% if strftime_now is defined %}{{ 'Today: ' + strftime_now('%d %b %Y') + '\n' }}{% endif %}"
    _, _, processor = chatting(dated + TEMPLATES["chatml"])
    assert processor.chat.before == "Today: 26 Jul 2024\n<|im_start|>user\n"


CHAT = TEMPLATES["chatml"]
REFUSED = [
    (None, "the tokenizer of 'tiny' has no chat template: give the instruction-tuned checkpoint"),
    (CHAT.replace("m.content", "(m.content | upper)"), "does not write a question once and as it is"),
    (CHAT.replace("m.content", "m.content + m.content"), "does not write a question once"),
    (CHAT + "{{ '<think>' if add_generation_prompt }}", "writes another prompt before an answer"),
    (TEMPLATES["reasoning that is switched off"].replace("and not enable_thinking", "and enable_thinking == 3 and"
     " not x"), "writes '<think>"),
    ("{{ raise_exception('no user') }}", "cannot be used: TemplateError: no user"),
]  # fmt: skip


@pytest.mark.parametrize(("template", "reason"), REFUSED, ids=[reason[:28] for _, reason in REFUSED])
def test_a_template_that_hides_where_the_answer_is_gets_refused(template, reason):
    tokenizer = toy_tokenizer()
    tokenizer.add_tokens([AddedToken(t, special=True) for t in ("<|im_start|>", "<|im_end|>")])
    tokenizer.chat_template = template
    with pytest.raises(InputError) as refusal:
        read_chat(tokenizer, "tiny")
    assert reason in str(refusal.value)
    assert "backbone.chat=true: " in str(refusal.value)


def test_a_network_without_a_template_is_refused_before_its_weights_are_read(toy_cell):
    with pytest.raises(InputError, match=r"backbone\.chat=true: .* no chat template"):
        toy_cell("causal_lm", "frozen", "backbone.chat=true").conflict()


def test_an_encoder_decoder_has_no_chat(toy_cell):
    with pytest.raises(InputError, match=r"backbone\.chat: no such key"):
        toy_cell("seq2seq", "frozen", "+backbone.chat=true")


def test_a_chat_is_another_cell_and_none_is_what_was_recorded(toy_cell):
    ids = [run_id(choices_of(toy_cell("causal_lm", "frozen", *words))) for words in
           ([], ["backbone.chat=null"], ["backbone.chat=false"], ["backbone.chat=true"])]  # fmt: skip
    assert ids[0] == ids[1] == ids[2] != ids[3]
    assert "chat" not in {
        k for k, v in choices_of(toy_cell("causal_lm", "frozen"))["backbone"].items() if v is not None
    }


def test_choices_are_answers_in_their_turn(chatting, tmp_path):
    (tmp_path / "train.csv").write_text("question,a,b,answer\n1,one,two,one\n")
    words = ["task=multiple_choice", "data=choices", f"data.train={tmp_path}/train.csv", "data.choices=[a,b]"]
    cell, _, processor = chatting("chatml", *words, "task.template='{source} is '")
    asked = Asked(("12", "six one", "one two"))
    features = cell.task.encode(Example("", asked, ("2",)), processor, {})
    for choice, text in zip(features["choices"], asked.choices, strict=True):
        whole = told(processor.tokenizer, "12 is", text)
        assert [*features["source"], *choice["ids"], processor.end] == whole[: whole.index(processor.end, -3) + 1]
    assert features["target"] == [*features["choices"][1]["ids"], processor.end]


def test_a_run_learns_and_answers_in_turns(folders, toy_cell):
    folder = folders(TEMPLATES["chatml"])
    small = ["budget.steps=2", "data.train=16", "data.test=4"]
    cell = toy_cell("causal_lm", "lora", f"backbone.checkpoint={folder}", "backbone.chat=true", *small)
    assert cell.conflict() is None
    found = {m.name for m in run_cell(cell).measurements if m.split == "test"}
    assert {"bleu", "bits_per_byte"} <= found
    assert isinstance(transformers.AutoTokenizer.from_pretrained(folder).chat_template, str)
