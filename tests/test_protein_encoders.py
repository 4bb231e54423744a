"""Protein encoders under a new head: tokens, states, cut sequences."""

import functools

import pytest
import torch
import transformers
from protein_checkpoints import ESM_TOKENS, save_ankh, save_antiberty, save_esm, save_prot_t5, save_sapiens

from benchmark.backbones import roles
from benchmark.backbones.protein import STANDARD, ProteinEncoder
from benchmark.config.compose import cell_of
from benchmark.config.registry import CONFIGS
from benchmark.errors import InputError
from benchmark.types import Example

SEQUENCES = ["MKTAYIAKQR", "GSHMLE", "ACDEFGHIKLMNPQRSTVWY"]
CHECKPOINTS = {  # configuration -> tiny checkpoint of its class, and what else differs
    "esm_lattice": (save_esm, []),
    "esm2_8m": (save_esm, []),
    "esm2_35m": (save_esm, []),
    "esm2_150m": (save_esm, []),
    "esm2_650m": (save_esm, []),
    "prot_t5": (save_prot_t5, []),
    "protein_encoder": (save_ankh, ["backbone.spelling=split"]),
    "antiberty": (save_antiberty, []),
    "sapiens_vh": (save_sapiens, []),
    "sapiens_vl": (save_sapiens, []),
}
CLASSES = ["esm2_8m", "prot_t5", "protein_encoder", "antiberty", "sapiens_vh"]  # one per tokenizer
TASKS = {
    "protein_regression": [1.5, -0.5, 0.25],
    "protein_classification": ["a", "b", "a"],
    "protein_residues": ["H" * 10, "HEC" * 2, "HHECE" * 4],
    "protein_pairs": ["0", "1", "1"],
    "protein_pair_regression": [1.5, -0.5, 0.25],
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Give the folder of a checkpoint by what saves it, each made once."""
    return functools.cache(lambda save: save(tmp_path_factory.mktemp(save.__name__)))


@pytest.fixture
def make(saved, tmp_path):
    """Build a cell on a tiny checkpoint: make("esm2_8m", "lora", task)."""

    def build_cell(backbone, method, task, *words):
        save, more = CHECKPOINTS[backbone]
        rows = ["sequence,other,target"]
        rows += [f"{s},{s[::-1]}K,{t}" for s, t in zip(SEQUENCES, TASKS[task], strict=True)]
        for name in ("train", "valid", "test"):
            (tmp_path / f"{name}.csv").write_text("\n".join(rows) + "\n")
        pair = ["data.columns.partner=other"] if "pair" in task else []
        files = [f"data.files.{name}={tmp_path / name}.csv" for name in ("train", "valid", "test")]
        return cell_of(
            [f"task={task}", "data=protein_splits", f"method={method}", f"backbone={backbone}", *more, *files, *pair,
             f"backbone.checkpoint={saved(save)}", "backbone.lr_scale=1", "budget=smoke", *words]
        )  # fmt: skip

    return build_cell


def loaded(cell):
    examples = cell.task.splits()["train"]
    model, processor = cell.backbone.load(cell.budget, cell.task.head(cell.kind, examples))
    features = [cell.task.encode(e, processor, {}) for e in examples]
    return model.eval(), processor, features


def test_every_protein_configuration_is_tried_here():
    target = "_target_: benchmark.backbones.protein.ProteinEncoder"
    assert set(CHECKPOINTS) == {f.stem for f in (CONFIGS / "backbone").glob("*.yaml") if target in f.read_text()}


@pytest.mark.parametrize("backbone", CHECKPOINTS)
def test_an_adapter_trains_on_every_configuration(make, backbone):
    cell = make(backbone, "lora", "protein_regression")
    model, processor, features = loaded(cell)
    torch.manual_seed(0)
    model = cell.method.attach(model, cell).train()
    batch = cell.task.collate(features, processor)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    for _ in range(30):
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


@pytest.mark.parametrize("backbone", CLASSES)
@pytest.mark.parametrize("task", TASKS)
def test_every_kind_of_task_trains_and_answers_on_every_class(make, backbone, task):
    cell = make(backbone, "lora", task)
    model, processor, features = loaded(cell)
    batch = cell.task.collate(features, processor)
    loss = model(**batch).loss
    loss.backward()
    assert torch.isfinite(loss)
    with torch.no_grad():
        answers = cell.task.predict(model, features, processor)
    scores = cell.task.score(answers, [e.targets for e in cell.task.splits()["test"]])
    assert cell.task.metric in scores
    if task == "protein_residues":
        assert [len(a["prediction"]) for a in answers] == [len(s) for s in SEQUENCES]


@pytest.mark.parametrize("backbone", CLASSES)
def test_every_role_is_real(make, backbone):
    """An adapter in each role changes the output and receives a gradient."""
    family = make(backbone, "lora", "protein_regression").backbone.family
    words = sorted(roles._roles(family))
    tried = []
    for role in words:
        cell = make(backbone, "lora", "protein_regression")
        model, processor, features = loaded(cell)
        batch = cell.task.collate(features, processor)
        try:
            chosen = roles.resolve(dict(model.named_modules()), family, [role])
        except ValueError:  # a T5 without gates, an encoder without a language model's head
            continue
        tried.append(role)
        for name in (chosen[0], chosen[-1]):
            parameters = list(model.get_submodule(name).parameters())
            model.zero_grad()
            model(**batch).loss.backward()
            # a bias of keys shifts every score of a query alike: softmax does not see it
            assert any(p.grad is not None and p.grad.abs().max() > 0 for p in parameters), name
            before = model(**batch).logits.detach()
            with torch.no_grad():
                backup = [p.clone() for p in parameters]
                for p in parameters:
                    p.add_(torch.randn_like(p))
                assert (model(**batch).logits - before).abs().max() > 1e-6, name
                for p, old in zip(parameters, backup, strict=True):
                    p.copy_(old)
    assert {"query", "key", "value", "output", "up", "down", "norm", "embedding"} <= set(tried)


SPELT = dict.fromkeys(CLASSES, "".join) | {"prot_t5": " ".join, "protein_encoder": list}


@pytest.mark.parametrize("backbone", CLASSES)
def test_every_residue_is_one_token_as_the_checkpoints_own_tokenizer_makes_it(make, backbone):
    cell = make(backbone, "head", "protein_residues")
    _, processor, features = loaded(cell)
    tokenizer = transformers.AutoTokenizer.from_pretrained(cell.backbone.checkpoint)
    split = {"is_split_into_words": True} if backbone == "protein_encoder" else {}
    batch = processor.batch([row for f in features for row in f["rows"]])
    for sequence, ids, mask in zip(SEQUENCES, batch["input_ids"], batch["attention_mask"], strict=True):
        own = tokenizer(SPELT[backbone](sequence), **split)["input_ids"]
        assert ids[: len(own)].tolist() == own
        assert mask.tolist() == [1] * len(own) + [0] * (len(mask) - len(own))
        assert (ids[len(own) :] == tokenizer.pad_token_id).all()


@pytest.mark.parametrize("backbone", CLASSES)
def test_states_are_those_of_residues_and_padding_does_not_move_them(make, backbone):
    cell = make(backbone, "head", "protein_residues")
    model, processor, features = loaded(cell)
    batch = cell.task.inputs(features, processor)
    with torch.no_grad():
        states, mask = model.states(**batch)
        whole = model.encoder(**batch).last_hidden_state
        assert mask.sum(1).tolist() == [len(s) for s in SEQUENCES]
        start = 0 if cell.backbone.family == "t5" else 1  # T5 has no token before the residues
        assert torch.equal(states[0, :10], whole[0, start : start + 10])
        alone, _ = model.states(**cell.task.inputs(features[1:2], processor))
    assert torch.allclose(states[1, :6], alone[0], atol=1e-5)


def test_the_average_leaves_special_tokens_out(make):
    cell = make("esm2_8m", "head", "protein_regression")
    model, processor, features = loaded(cell)
    encoder = transformers.EsmModel.from_pretrained(
        cell.backbone.checkpoint, add_pooling_layer=False, dtype=torch.float32
    )
    tokenizer = transformers.EsmTokenizer.from_pretrained(cell.backbone.checkpoint)
    with torch.no_grad():
        found = model(**cell.task.inputs(features, processor)).logits.squeeze(-1)
        for sequence, value in zip(SEQUENCES, found, strict=True):
            states = encoder.eval()(**tokenizer(sequence, return_tensors="pt")).last_hidden_state[0, 1:-1]
            assert torch.allclose(model.new_head.project(states.mean(0)), value, atol=1e-5)


def test_a_label_teaches_its_own_residue_alone(make):
    cell = make("esm2_8m", "head", "protein_residues")
    model, processor, features = loaded(cell)
    batch = cell.task.collate(features, processor)
    labels = cell.task.splits()["train"][1].targets[0]
    kept = [processor.head.labels[c] for c in batch["labels"][1].tolist() if c >= 0]
    assert kept == list(labels)
    logits = model(**batch).logits
    own = torch.nn.functional.cross_entropy(logits[1, :6], batch["labels"][1, :6])
    alone = model(**cell.task.collate(features[1:2], processor)).loss
    assert torch.allclose(own, alone, atol=1e-5)


def test_masked_residues_neither_teach_nor_count(make):
    cell = make("esm2_8m", "head", "protein_residues")
    task, (_, processor, _) = cell.task, loaded(cell)
    masked = Example("", SEQUENCES[1], (("H", None, "E", "C", None, "H"),))
    features = [task.encode(masked, processor, {})]
    batch = task.collate(features, processor)
    assert batch["labels"].tolist() == [[2, -100, 1, 0, -100, 2]]
    assert task.items(batch) == 4
    assert task.score([{"prediction": list("HHEEEE")}], [masked.targets])["accuracy"] == 0.5


@pytest.mark.parametrize("backbone", CLASSES)
def test_the_order_of_two_proteins_does_not_matter(make, backbone):
    cell = make(backbone, "head", "protein_pairs")
    task, (model, processor, _) = cell.task, loaded(cell)
    pairs = [(SEQUENCES[0], SEQUENCES[1]), (SEQUENCES[1], SEQUENCES[2]), (SEQUENCES[2], SEQUENCES[2])]
    one, other = ([task.encode(Example("", pair[::way], (None,)), processor, {}) for pair in pairs] for way in (1, -1))
    with torch.no_grad():
        logits, swapped = (model(**task.inputs(features, processor)).logits for features in (one, other))
        alone = model(**task.inputs(one[:1], processor)).logits
    assert torch.allclose(logits, swapped, atol=1e-5)
    assert torch.allclose(logits[:1], alone, atol=1e-5)
    assert not torch.allclose(logits[0], logits[1], atol=1e-5)


def test_what_a_tokenizer_lacks_is_read_as_unknown(make):
    _, processor, _ = loaded(make("esm2_8m", "head", "protein_regression"))
    assert processor.ids("AJXU") == [ESM_TOKENS.index(a) for a in "AXXU"]  # ESM-2 has no J
    _, processor, _ = loaded(make("prot_t5", "head", "protein_regression"))
    assert len(set(processor.ids("XUZOBJ"))) == 1  # as ProtT5 was pretrained
    assert len(set(processor.ids(STANDARD))) == 20
    with pytest.raises(InputError, match=r"'1' in 'M1'... is no residue of this backbone"):
        processor.ids("M1")


@pytest.mark.parametrize(("backbone", "spelling"), [("prot_t5", "letters"), ("protein_encoder", "letters")])
def test_a_spelling_that_the_tokenizer_does_not_know_is_refused(make, backbone, spelling):
    with pytest.raises(
        InputError, match=r"no token for each residue spelt 'letters'.*try backbone.spelling=spaced or split"
    ):
        loaded(make(backbone, "head", "protein_regression", f"backbone.spelling={spelling}"))
    with pytest.raises(InputError, match="letters or spaced or split wanted"):
        make(backbone, "head", "protein_regression", "backbone.spelling=runes")


def test_long_sequences_are_cut_and_counted_where_the_task_or_the_positions_end(make, tmp_path):
    cell = make("esm2_8m", "head", "protein_residues", "task.max_residues=7")
    model, processor, _ = loaded(cell)
    counts = {}
    features = [cell.task.encode(e, processor, counts) for e in cell.task.splits()["train"]]
    assert counts == {
        "truncated_sequences": 2,
        "residues": 36,
        "residues_cut": 16,
        "labels_of_cut_residues_scored_as_wrong": 16,
    }
    cell.task.sum_up(counts)
    assert counts["percent_of_residues_cut"] == 44.44
    assert [f["length"] for f in features] == [7, 6, 7]
    assert torch.isfinite(model(**cell.task.collate(features, processor)).loss)
    old = save_esm(tmp_path, position_embedding_type="absolute", max_position_embeddings=12, emb_layer_norm_before=True)
    cell = make("esm2_8m", "head", "protein_regression", f"backbone.checkpoint={old}")
    model, processor, features = loaded(cell)
    assert processor.longest == 8  # 12 rows, of which two are never used and two are special tokens'
    assert max(f["length"] for f in features) == 8
    assert torch.isfinite(model(**cell.task.collate(features, processor)).loss)


def test_a_network_of_text_is_refused_and_so_is_a_protein_task_on_one(tiny_causal, make):
    cell = make("protein_encoder", "lora", "protein_regression", f"backbone.checkpoint={tiny_causal}")
    with pytest.raises(InputError, match="is a llama network, one of esm, t5, bert, roberta wanted"):
        cell.conflict()
    words = ["task=protein", "method=lora", "backbone=causal_lm", f"backbone.checkpoint={tiny_causal}"]
    assert cell_of(words).conflict() == "task protein reads protein, backbone causal_lm reads text"


def test_the_protein_encoder_reads_no_hub_where_a_folder_is_meant():
    with pytest.raises(InputError, match="no folder 'embedded/nothing'"):
        ProteinEncoder(
            description="", lr_scale=1.0, head_lr=None, checkpoint="embedded/nothing", revision=None,
            weights="pretrained", spelling="letters", as_unknown="",
        )  # fmt: skip
