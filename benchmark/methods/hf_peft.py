"""Any method of the Hugging Face PEFT library, chosen in YAML by its type."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
import types
import typing
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import peft
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

from benchmark import roles
from benchmark.types import Kind, Method, Unusable
from benchmark.wording import near

if TYPE_CHECKING:
    from torch import nn

    from benchmark.types import Cell

CONFIGS = {kind.value: config for kind, config in PEFT_TYPE_TO_CONFIG_MAPPING.items()}
TASK_TYPES = {Kind.CAUSAL_LM: "CAUSAL_LM", Kind.SEQ2SEQ: "SEQ_2_SEQ_LM"}
RANK_FIELDS = {"ADALORA": "init_r", "OSF": "effective_rank"}  # where it is not r
UNTARGETED = {"ADAPTION_PROMPT", "XLORA"}  # like prompts, these wrap no module of ours
WRAPS = {  # layer type -> the types that wrap it, peft 0.21.2; all wrap nn.Linear
    "Conv1D": "ADALORA DEFT FOURIERFT FROD GRALORA HIRA IA3 LN_TUNING LORA PVERA RANDLORA TINYLORA UNILORA VBLORA "
    "VERA WAVEFT",
    # OFT is left out: it sums the overlapping patches of a 3 x 3 convolution, which is another network from the start
    "Conv2d": "ADALORA BOFT HIRA HRA IA3 LN_TUNING LOHA LOKR LORA",
    "Embedding": "HIRA LN_TUNING LORA OFT TINYLORA TRAINABLE_TOKENS",
    "norm": "LN_TUNING",
}
OURS = {  # fields of a PEFT configuration that follow from the cell
    "target_modules": "method.targets",
    "feedforward_modules": "method.targets",
    "peft_type": "method.peft_type",
    "task_type": "the task",
    "modules_to_save": "method=partial (every method trains a new head)",
    "base_model_name_or_path": "the backbone",
}


@dataclass(frozen=True, kw_only=True)
class Peft(Method):
    """Whatever get_peft_model can build."""

    peft_type: str
    targets: list[str]  # roles; none for prompts
    rank: int | None  # null: the type has none
    options: dict[str, Any]  # fields of the type's own configuration

    def conflict(self, cell: Cell) -> str | None:
        """Check every choice against the library's own configuration class."""
        family = cell.backbone.family
        if self.peft_type not in CONFIGS:
            return f"method.peft_type={self.peft_type}: no such type{near(self.peft_type.upper(), CONFIGS)}"
        if self._untargeted and self.targets:
            return f"{self.peft_type} wraps no modules: set method.targets=[]"
        if not self._untargeted and not self.targets:
            return f"{self.peft_type} needs method.targets, for example [default]"
        reason = roles.refusal(family, self.targets) or self._wrong_options()
        if reason:
            return reason
        if cell.kind.new_head and self._untargeted:  # needs embeddings or a cache of keys; would shift every position
            return f"{self.peft_type} prepends to what a language model reads, {family} is no such network here"
        for layer in sorted(roles.layers(family, self.targets) & WRAPS.keys()):
            if self.peft_type not in WRAPS[layer].split():
                return f"{self.peft_type} cannot wrap {layer} layers, which {family} has at {', '.join(self.targets)}"
        try:
            self._config(cell, [])
        except (TypeError, ValueError, ImportError) as error:  # the library's own reading of the options
            return f"{self.peft_type} refuses method.options: {error}"
        return None

    def attach(self, model: nn.Module, cell: Cell) -> nn.Module:
        """Wrap exactly the resolved modules; Unusable where the library wraps others."""
        chosen = roles.resolve([name for name, _ in model.named_modules()], cell.backbone.family, self.targets)
        config = self._config(cell, chosen)
        if self.peft_type == "PREFIX_TUNING" and cell.kind == Kind.SEQ2SEQ:
            _fit_prefix(config, model.config)
        model = _counting_positions(peft.get_peft_model(model, config))
        wrapped = set(getattr(model, "targeted_module_names", []))
        if wrapped != set(chosen) and not self._untargeted:
            names = ", ".join(sorted(wrapped ^ set(chosen))[:3])
            raise Unusable(f"{self.peft_type} wrapped other modules than method.targets names: {names}")
        return model

    def after_step(self, model: nn.Module, step: int) -> None:
        if self.peft_type == "ADALORA":  # moves ranks between modules, by the gradients of this step
            model.base_model.update_and_allocate(step)

    def modules(self, model: nn.Module) -> list[str]:
        return super().modules(model) if self._untargeted else sorted(model.targeted_module_names)

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write PEFT's own format; a local backbone is called by its folder's name, its path is nobody's business."""
        (config,) = model.peft_config.values()
        network = getattr(model.get_base_model(), "config", None)  # a network of timm has none
        source = config.base_model_name_or_path or getattr(network, "name_or_path", "")
        source = source or getattr(network, "model_type", "a network without a name")
        if Path(source).is_absolute() or Path(source).exists():
            source = Path(source).resolve().name
        config.base_model_name_or_path = source
        folder.mkdir(parents=True, exist_ok=True)
        # The library also writes a model card, an empty template that quotes the path: it stays behind in the scratch.
        with tempfile.TemporaryDirectory() as scratch:
            # 'auto' would ask the hub for the backbone's vocabulary size.
            model.save_pretrained(scratch, safe_serialization=True, save_embedding_layers=False)
            for file in Path(scratch).glob("adapter_*"):
                shutil.copyfile(file, folder / file.name)

    def restore(self, model: nn.Module, folder: Path, cell: Cell) -> nn.Module:
        """Unusable where the folder holds no adapter of this type, or not all of its weights."""
        if not (folder / "adapter_config.json").is_file():
            raise Unusable(f"{folder}: no adapter_config.json; give the folder that save= wrote")
        saved = peft.PeftConfig.from_pretrained(folder).peft_type.value
        if saved != self.peft_type:
            raise Unusable(f"{folder} holds a {saved} adapter, not {self.peft_type}: restore with the method it is of")
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Found missing adapter keys")
            try:
                return _counting_positions(peft.PeftModel.from_pretrained(model, folder, is_trainable=False))
            except (UserWarning, RuntimeError) as error:  # what is missing, or of another shape
                raise Unusable(f"{folder} does not fit this backbone: {error}") from error

    @property
    def _untargeted(self) -> bool:
        return self.peft_type in UNTARGETED or issubclass(CONFIGS[self.peft_type], peft.PromptLearningConfig)

    @property
    def _rank_field(self) -> str:
        return RANK_FIELDS.get(self.peft_type, "r")

    def _config(self, cell: Cell, chosen: list[str]) -> peft.PeftConfig:
        fields = {field.name for field in dataclasses.fields(CONFIGS[self.peft_type])}
        values = {**self.options, "task_type": TASK_TYPES.get(cell.kind)}
        if cell.kind.new_head:
            values["modules_to_save"] = ["new_head"]
        if self.rank is not None:
            values[self._rank_field] = self.rank
        if not self._untargeted:
            values["target_modules"] = chosen
        if "feedforward_modules" in fields:  # IA3 scales what enters a feed-forward layer, what leaves an attention one
            values["feedforward_modules"] = [
                name for name in chosen if roles.plays(name, cell.backbone.family, roles.ALIASES["mlp"])
            ]
        if "fan_in_fan_out" in fields and roles.layers(cell.backbone.family, self.targets) == {"Conv1D"}:
            values["fan_in_fan_out"] = True
        if "total_step" in fields:
            values.setdefault("total_step", cell.budget.steps)
        return CONFIGS[self.peft_type](**values)

    def _wrong_options(self) -> str | None:
        config = CONFIGS[self.peft_type]
        hints = typing.get_type_hints(config)
        known = {field.name for field in dataclasses.fields(config) if field.init}
        for name in self.options:
            if name in OURS or name == self._rank_field:
                return f"method.options.{name}: set {OURS.get(name, 'method.rank')} instead"
            if name not in known:
                return f"method.options.{name}: {self.peft_type} has no such option{near(name, known)}"
        if self.rank is not None and self._rank_field not in known:
            return f"method.rank={self.rank}: {self.peft_type} has no rank, set it to null"
        if self.rank is not None and self.rank < 1:
            return f"method.rank={self.rank}: must be at least 1"
        given = {f"method.options.{name}": (value, hints[name]) for name, value in self.options.items()}
        if self.rank is not None:
            given["method.rank"] = (self.rank, hints[self._rank_field])
        for key, (value, hint) in given.items():
            if not fits(value, hint):
                return f"{key}={value}: {self.peft_type} wants {wording(hint)}, not {type(value).__name__}"
        if "num_virtual_tokens" in known and not self.options.get("num_virtual_tokens"):
            return f"method.options.num_virtual_tokens: {self.peft_type} needs a number of at least 1"
        return None


def _counting_positions(model: nn.Module) -> nn.Module:
    """Let a decoder with virtual tokens generate at the positions it was trained at.

    The library drops position ids in generate(), so that padding on the left stood between the virtual tokens and the
    text, and an answer depended on the other examples of its batch.
    """
    (config,) = model.peft_config.values()
    if not isinstance(config, peft.PromptLearningConfig) or config.task_type != TASK_TYPES[Kind.CAUSAL_LM]:
        return model
    prepare = model.prepare_inputs_for_generation

    def prepared(*args: Any, **kwargs: Any) -> dict[str, Any]:
        inputs = prepare(*args, **kwargs)
        read = inputs["input_ids"] if inputs.get("inputs_embeds") is None else inputs["inputs_embeds"]
        if inputs.get("attention_mask") is not None:  # left out where nothing is padded
            places = inputs["attention_mask"].long().cumsum(1) - 1
            inputs["position_ids"] = places.clamp(min=0)[:, -read.shape[1] :]
        return inputs

    model.prepare_inputs_for_generation = prepared
    return model


def _fit_prefix(config: peft.PeftConfig, network: Any) -> None:
    """Give the prefix the shape of the decoder, which it is for; the library reads the encoder's, and not T5's d_kv."""
    heads = getattr(network, "decoder_attention_heads", None) or network.num_heads
    config.num_layers = getattr(network, "decoder_layers", None) or network.num_decoder_layers
    config.num_attention_heads = heads
    config.token_dim = heads * getattr(network, "d_kv", network.d_model // heads)


def fits(value: object, hint: Any) -> bool:
    """Say whether a value is of a simple type; any other hint is left to the library."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return any(fits(value, part) for part in typing.get_args(hint))
    if typing.get_origin(hint) is typing.Literal:
        # PEFT writes patterns among its literals: pissa_niter_[number of iters]
        return value in typing.get_args(hint) or (isinstance(value, str) and "[" in str(typing.get_args(hint)))
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return type(value) is hint if hint in (int, bool, str, types.NoneType) else True


def wording(hint: Any) -> str:
    """Name a simple type as a reader of YAML would."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(wording(part) for part in typing.get_args(hint))
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(map(str, typing.get_args(hint)))
    return "null" if hint is types.NoneType else getattr(hint, "__name__", str(hint))
