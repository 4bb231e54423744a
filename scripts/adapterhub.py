"""Comparison of the adapters' outputs with those of AdapterHub's library.

The library is `adapters` (Poth et al. 2023, arXiv 2311.11077).

It needs transformers 4, and this project 5: each half runs in another environment, and they share a folder.

    pip install adapters==1.3.0 torch             # in another environment; then there
    python scripts/adapterhub.py theirs FOLDER    # draws networks and methods, saves weights, inputs and logits
    python scripts/adapterhub.py ours FOLDER      # here: the same weights in these methods, results/adapterhub.csv

All weights are random and of double precision, so that differences come from formulas; the norms of T5 and Llama, and
LoReFT's orthonormal R, are of single precision.
"""

from __future__ import annotations

import csv
import json
import operator
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts.adapterhub_cases import BLOCK, CASES, GATED, PAIRS, PARTS, PLACES, PREFIXED, SHAPES, TOKENS, Case  # noqa: E402

TABLE = ROOT / "results" / "adapterhub.csv"
Tensors = dict[str, torch.Tensor]


def config_of(network: str) -> Any:
    """Build the configuration of a tiny network, in either version of transformers."""
    name, shape = SHAPES[network]
    return getattr(transformers, name)(**shape, **TOKENS)


def draw_inputs(network: str, tokens: int) -> Tensors:
    """Draw four sequences, the last of them padded where they are long enough."""
    ids, answers = torch.randint(4, 50, (2, 4, tokens))
    mask = torch.ones_like(ids)
    ids[-1, 6:] = mask[-1, 6:] = 0
    return {"input_ids": ids, "attention_mask": mask} | ({"decoder_input_ids": answers} if network in PAIRS else {})


def stir(model: torch.nn.Module, names: list[str], alpha: float, zero: str) -> None:
    """Add noise, so that nothing is zero or one; R of LoReFT is random already."""
    for name in names:
        p = model.get_parameter(name).data
        if re.search(zero, name):
            p.zero_()
        elif "parametrizations" not in name:
            p.add_(torch.randn_like(p), alpha=alpha)


def theirs(folder: Path) -> None:
    """Draw every case's network and method, and save weights, inputs and logits."""
    import adapters

    def made(name: str, choices: dict[str, Any]) -> Any:
        parts = {
            key: made(*value) if isinstance(value, list) and key != "layers" else value
            for key, value in choices.items()
        }
        return getattr(adapters, name)(**parts)

    folder.mkdir(parents=True, exist_ok=True)
    for number, case in enumerate(CASES):
        for network in case.networks:
            torch.manual_seed(0)
            model = adapters.AutoAdapterModel.from_config(config_of(network), attn_implementation=case.attention)
            (model.add_seq2seq_lm_head if network in PAIRS else model.add_causal_lm_head)("lm", layers=1)
            stir(model.double(), [name for name, _ in model.named_parameters()], 0.1, case.zero)
            inputs, base = draw_inputs(network, case.tokens), {k: t.clone() for k, t in model.state_dict().items()}
            with torch.no_grad():
                logits = {"bare": model.eval()(**inputs).logits}
            model.add_adapter("a", config=made(*case.theirs))
            model.train_adapter("a")
            model.double().eval()
            trainable = [n for n, p in model.named_parameters() if p.requires_grad and not n.startswith("heads")]
            stir(model, trainable, 0.3, case.zero)
            with torch.no_grad():
                logits["adapted"] = model(**inputs).logits
                matrices = [re.sub(r"parametrizations\.(\w+)\.original", r"\1", name) for name in trainable]
                method = {name: operator.attrgetter(name)(model) for name in matrices}
            kinds = {"base": base, "input": inputs, "logits": logits, "method": method}
            flat = {f"{kind}/{name}": t.contiguous() for kind, group in kinds.items() for name, t in group.items()}
            save_file({name: t.clone() for name, t in flat.items()}, folder / f"{number}_{network}.safetensors")
    cases = [asdict(case) for case in CASES]
    about = {"adapters": adapters.__version__, "transformers": transformers.__version__, "cases": cases}
    (folder / "about.json").write_text(json.dumps(about, indent=1))


def layers(name: str, tensor: torch.Tensor, network: str) -> Tensors:
    """Split a prefix into its layers.

    AdapterHub's is one tensor of shape (length, layers, keys and values, width).
    """
    pool = re.search(r"prefix_tunings\.a\.(\w+)_prefix\.(.+)", name)
    if not pool:
        return {name: tensor}
    first, second = (f"{PREFIXED[network][pool[1]].format(layer)}.prefix" for layer in range(2))
    if pool[2] == "control_trans":
        parts = tensor.view(3, 2, 2, -1).permute(1, 2, 0, 3)
        return {f"{first}.states": parts[0], f"{second}.states": parts[1]}
    if pool[2].startswith("control_trans.2"):
        leaf = pool[2].replace("control_trans.2", "grow")
        return dict(zip((f"{first}.{leaf}", f"{second}.{leaf}"), tensor.chunk(2), strict=True))
    return {f"{first}.trunk.{pool[2].replace('wte.weight', 'tokens').replace('control_trans.0', 'down')}": tensor}


def fill(model: torch.nn.Module, tensors: Tensors, case: Case, network: str) -> None:
    """Copy a method's weights.

    Raises ValueError where names of both sides do not match.
    """
    places = dict(model.named_parameters(remove_duplicate=False))
    empty = {id(p): name for name, p in places.items() if p.requires_grad}
    behind = case.method.startswith(("pfeiffer", "compacter_pp", "unipelt"))
    rules = (BLOCK if behind else PLACES[network]) + PARTS + (GATED if case.method == "unipelt" else [])
    wanted = {name: tensor for name, tensor in tensors.items() if not re.search(case.dropped, name)}
    for name, tensor in (pair for item in wanted.items() for pair in layers(*item, network).items()):
        here = name
        for pattern, replacement in rules:
            here = re.sub(pattern, replacement, here, count=1)
        matches = [name for name in places if name == here or name.endswith(f".{here}")]  # a shared part has several
        if matches:
            target = places[matches[0]]
            if target.shape != tensor.shape:
                raise ValueError(f"{case.method}, {network}: {name} is {tensor.shape}, {here} is {target.shape}")
            target.data.copy_(tensor)
        else:  # an orthonormal matrix is set through what it is made of
            path, _, leaf = here.rpartition(".")
            target = places.get(f"{path}.parametrizations.{leaf}.original")
            if target is None:
                raise ValueError(f"{case.method}, {network}: no place for {name} ({here})")
            setattr(model.get_submodule(path), leaf, tensor)
        empty.pop(id(target))
    if empty:
        raise ValueError(f"{case.method}, {network}: nothing for {', '.join(empty.values())}")


def compare(case: Case, network: str, saved: Tensors) -> dict[str, float]:
    """Load network and method with the saved weights, and compare logits."""
    from benchmark.capabilities.networks import cell
    from benchmark.capabilities.probe import method_of

    def part(kind: str) -> Tensors:
        names = {name: name.removeprefix(f"{kind}/") for name in saved if name.startswith(f"{kind}/")}
        return {re.sub(r"^transformer\.(?=encoder|decoder|shared)", "", n): saved[name] for name, n in names.items()}

    auto = transformers.AutoModelForSeq2SeqLM if network in PAIRS else transformers.AutoModelForCausalLM
    model = auto.from_config(config_of(network)).double().eval()
    base, inputs, logits = part("base"), part("input"), part("logits")
    bias = base.pop("heads.lm.0.bias", 0.0)  # of decoders there, here none has one
    wrong = model.load_state_dict(base | {"lm_head.weight": base.pop("heads.lm.0.weight")}, strict=False)
    if wrong.unexpected_keys or set(wrong.missing_keys) - {"final_logits_bias"}:
        raise ValueError(f"{network}: {wrong}")
    method = method_of(case.method, case.ours)
    with torch.no_grad():
        bare = model(**inputs).logits + bias
        method.attach(model, cell(network, method))
        fill(model, part("method"), case, network)
        adapted = model(**inputs).logits + bias
    return {
        "difference": (adapted - logits["adapted"]).abs().max().item(),
        "bare": (bare - logits["bare"]).abs().max().item(),
        "effect": (logits["adapted"] - logits["bare"]).abs().max().item(),
        "scale": logits["adapted"].abs().max().item(),
    }


def ours(folder: Path, table: Path) -> None:
    """Compare every case and write the table.

    Raises ValueError where the folder holds other cases.
    """
    about = json.loads((folder / "about.json").read_text())
    if about["cases"] != json.loads(json.dumps([asdict(case) for case in CASES])):
        raise ValueError(f"{folder} has the cases of another version: run `adapterhub.py theirs` again")
    versions = {"adapters": about["adapters"], "their_transformers": about["transformers"]}
    versions["our_transformers"] = transformers.__version__
    with table.open("w", newline="") as file:
        columns = ["method", "network", *versions, "difference", "bare", "effect", "scale", "remark"]
        rows = csv.DictWriter(file, columns, lineterminator="\n")
        rows.writeheader()
        for number, case in enumerate(CASES):
            for network in case.networks:
                differences = compare(case, network, load_file(folder / f"{number}_{network}.safetensors"))
                numbers = {name: f"{value:.1e}" for name, value in differences.items()}
                rows.writerow({"method": case.method, "network": network, **versions, **numbers, "remark": case.remark})


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["theirs", folder]:
            theirs(Path(folder))
        case ["ours", folder]:
            ours(Path(folder), TABLE)
        case _:
            sys.exit(__doc__)
