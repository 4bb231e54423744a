"""Chat templates of instruction-tuned decoders: what they write around a question and its answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmark.errors import InputError, refusing

QUESTION, ANSWER = "question4f1c", "answer9e2a"  # stand for what a user writes; no template holds them
# a template may write today's date into its system text, and then no two days' runs read the same
UNDATED = "{% macro strftime_now(format) %}26 Jul 2024{% endmacro %}"


@dataclass(frozen=True)
class Chat:
    """Text of a template around a question and its answer."""

    before: str  # begin of the conversation, a default system text among it, and of the user's turn
    after: str  # end of the user's turn and begin of the answer's: the generation prompt
    lead: str  # blanks before an answer
    trail: str  # blanks behind it
    end: int  # token that ends an answer
    strips: bool  # blanks around a question are left out

    def question(self, opening: str, text: str, closing: str) -> tuple[str, str, str]:
        """Put a question of three parts into the user's turn."""
        if self.strips:
            opening, closing = opening.lstrip(), closing.rstrip()
            text = text if opening else text.lstrip()
            text = text if closing else text.rstrip()
        return self.before + opening, text, closing + self.after

    def answer(self, text: str) -> str:
        """Put an answer into its turn; an empty one stays empty."""
        return self.lead + text.strip() + self.trail if text.strip() else ""


def control_tokens(tokenizer: Any) -> dict[int, str]:
    """List control tokens, which decoding leaves out: id -> spelling."""
    added = {i: str(token) for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    named = dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))
    roles = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    return {i: token for i, token in {**added, **named}.items() if i != tokenizer.unk_token_id or i in roles}


def read_chat(tokenizer: Any, checkpoint: str) -> Chat:
    """Find what a tokenizer's own template writes. Raises InputError where an answer cannot be told from it."""
    where, remedy = f"backbone.chat=true: the chat template of {checkpoint!r}", "leave backbone.chat out"
    if tokenizer.chat_template is None:
        raise InputError(
            f"backbone.chat=true: the tokenizer of {checkpoint!r} has no chat template: give the instruction-tuned "
            f"checkpoint, or {remedy}"
        )
    with refusing(f"{where} cannot be used"):
        prompt, wide = render(tokenizer, QUESTION), render(tokenizer, f" {QUESTION} ")
        whole = render(tokenizer, QUESTION, ANSWER)
    before, _, after = prompt.partition(QUESTION)
    if prompt.count(QUESTION) != 1 or wide not in (prompt, f"{before} {QUESTION} {after}"):
        raise InputError(f"{where} does not write a question once and as it is: {remedy}")
    if not whole.startswith(prompt) or whole.count(ANSWER) != 1:
        raise InputError(f"{where} writes another prompt before an answer than to generate one: {remedy}")
    lead, _, behind = whole[len(prompt) :].partition(ANSWER)
    ends = {behind.find(token): i for i, token in control_tokens(tokenizer).items() if token in behind}
    trail = behind[: min(ends)] if ends else ""
    if lead.strip() or trail.strip() or (behind.strip() and not ends):
        raise InputError(f"{where} writes {(lead + trail + behind).strip()!r:.40} beside an answer: {remedy}")
    return Chat(before, after, lead, trail, ends[min(ends)] if ends else tokenizer.eos_token_id, wide == prompt)


def render(tokenizer: Any, question: str, answer: str | None = None) -> str:
    """Write a conversation as text; without an answer it ends where one is to be generated.

    Reasoning is switched off where a template knows that: answers of tasks have none.
    """
    template = tokenizer.get_chat_template()
    messages = [{"role": "user", "content": question}]
    return tokenizer.apply_chat_template(
        [*messages, {"role": "assistant", "content": answer}] if answer else messages,
        chat_template=UNDATED * ("strftime_now" in template) + template,
        tokenize=False,
        add_generation_prompt=answer is None,
        enable_thinking=False,
    )
