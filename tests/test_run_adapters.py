"""Adapters saved by a run: loaded again, they answer alike."""

import json
import shutil
from pathlib import Path

import peft
import pytest
import torch
import transformers

from benchmark import saved
from benchmark.records import Record, Store


@pytest.mark.parametrize("method", ["lora", "houlsby"])
def test_a_saved_adapter_answers_as_the_run_did(method, call, results, tiny_causal, tmp_path):
    place = tmp_path / "adapter"
    assert call(f"method={method}", "method.lr=0.05", f"save={place}").status == 0
    names = {p.name for p in place.iterdir()}
    assert {Path(name).suffix for name in names} == {".safetensors", ".json"}
    (record,) = Store(results / "runs").records()
    assert Record.from_json((place / "cell.json").read_text()) == record
    rows = [row for row in Store(results / "runs").examples(record) if row["split"] == "test"]
    adapted = saved.load(place, checkpoint=tiny_causal)
    answers = adapted.answer([row["id"] for row in rows])  # the toy's ids are its sources
    assert answers == [row["prediction"] for row in rows]
    with torch.no_grad():
        for name, parameter in adapted.model.named_parameters():
            parameter.mul_(0 if "lora_B" in name or "adapter.up" in name else 1)
    assert adapted.answer([row["id"] for row in rows]) != answers, "the adapter decides the answers"


def test_an_adapter_saved_before_a_choice_existed_is_loaded(call, tiny_causal, tmp_path):
    call(f"save={tmp_path / 'adapter'}")
    cell = tmp_path / "adapter" / "cell.json"
    record = json.loads(cell.read_text())
    del record["config"]["method"]["search"], record["config"]["budget"]["max_test"], record["digest"]
    cell.write_text(json.dumps(record))
    assert saved.load(tmp_path / "adapter", checkpoint=tiny_causal).cell.budget.max_test is None


def test_a_saved_adapter_refuses_another_backbone(call, tiny_causal, tmp_path):
    call(f"save={tmp_path / 'adapter'}")
    with pytest.raises(saved.InputError, match=Path(tiny_causal).name):
        saved.load(tmp_path / "adapter")
    other = shutil.copytree(tiny_causal, tmp_path / "other")
    (other / "config.json").write_text((other / "config.json").read_text() + " ")
    with pytest.raises(saved.InputError, match="differ"):
        saved.load(tmp_path / "adapter", checkpoint=other)
    with pytest.raises(saved.InputError, match=r"cell\.json"):
        saved.load(tmp_path)


def test_peft_alone_loads_a_saved_lora_and_answers_the_same(call, results, tiny_causal, tmp_path):
    call("task=nmt", "method.lr=0.05", f"save={tmp_path / 'adapter'}")
    (record,) = Store(results / "runs").records()
    rows = [row for row in Store(results / "runs").examples(record) if row["split"] == "test"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_causal)
    network = transformers.AutoModelForCausalLM.from_pretrained(tiny_causal)

    def answers(model):
        written = []
        for row in rows:
            ids = torch.tensor([tokenizer(f"<s>{row['id']}", add_special_tokens=False)["input_ids"]])
            mask = torch.ones_like(ids)
            ended = model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=12, do_sample=False)
            written.append(tokenizer.decode(ended[0, ids.shape[1] :], skip_special_tokens=True).strip())
        return written

    wanted = [row["prediction"] for row in rows]
    assert answers(network) != wanted
    assert answers(peft.PeftModel.from_pretrained(network, tmp_path / "adapter").eval()) == wanted
