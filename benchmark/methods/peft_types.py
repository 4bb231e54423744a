"""What is a fact about each type of the Hugging Face PEFT library, 0.21.2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmark.types import Category

WRAPS = {  # layer type -> the types that wrap it; all wrap nn.Linear
    "Conv1D": "ADALORA DEFT FOURIERFT FROD GRALORA HIRA IA3 LN_TUNING LORA PVERA RANDLORA TINYLORA UNILORA VBLORA "
    "VERA WAVEFT",
    # OFT is left out: it sums the overlapping patches of a 3 x 3 convolution, which is another network from the start
    "Conv2d": "ADALORA BOFT HIRA HRA IA3 LN_TUNING LOHA LOKR LORA",
    "Embedding": "HIRA LN_TUNING LORA OFT TINYLORA TRAINABLE_TOKENS",
    "norm": "LN_TUNING",
}
UNREADABLE = {  # (type, family) -> what the type cannot read there
    ("GRALORA", "convnext"): "maps of (batch, height, width, channels)",
    ("OFT", "convnext"): "maps of (batch, height, width, channels): it takes them for a convolution's",
}
LEFT_OUT = {  # types without a method of their own: why
    "CARTRIDGE": "prefix tuning whose keys and values begin as those of a text; its own is the distillation of that "
    "text, which is no task here",
    "MULTITASK_PROMPT_TUNING": "shares a prompt among the tasks of one run; a cell has one task, and with one it is "
    "prompt tuning times a rank-one matrix",
    "POLY": "shares skills among the tasks of one run; a cell has one task",
    "XLORA": "mixes LoRA adapters that are already trained; a cell begins without any",
}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """See benchmark.types.Method."""

    category: Category
    paper: str
    mergeable: bool = True
    weightless: bool = True
    departs: str | None = None
    recomputes: bool = True
    compiles: bool = False


def _additive(paper: str, **facts: Any) -> Facts:
    return Facts(category=Category.ADDITIVE, paper=paper, **facts)


def _selective(paper: str, **facts: Any) -> Facts:
    return Facts(category=Category.SELECTIVE, paper=paper, **facts)


def _reparameterised(paper: str, **facts: Any) -> Facts:
    return Facts(category=Category.REPARAMETERISED, paper=paper, **facts)


def _prompt(paper: str, **facts: Any) -> Facts:
    departs = "what is prepended is attended to from the first step on"
    return _additive(paper, mergeable=False, departs=departs, **facts)


TYPES = {  # by the taxonomy of Han et al. 2024, arXiv 2403.14608
    "ADALORA": _reparameterised("Zhang et al. 2023, arXiv 2303.10512"),
    "ADAMSS": _reparameterised("Zheng et al. 2025, NeurIPS", weightless=False),
    "ADAPTION_PROMPT": _additive("Zhang et al. 2023, arXiv 2303.16199", mergeable=False),
    "BEFT": _selective("Huang et al. 2025, arXiv 2509.15974", mergeable=False),  # some layers have no bias to hold it
    "BOFT": _reparameterised("Liu et al. 2023, arXiv 2311.06243"),
    "C3A": _reparameterised("Chen et al. 2024, arXiv 2407.19342"),
    "CARTRIDGE": _prompt("Eyuboglu et al. 2025, arXiv 2506.06266"),
    "CPT": _prompt("Blau et al. 2024, arXiv 2410.17222"),
    "DEFT": _reparameterised("Kumar et al. 2025, arXiv 2509.22793"),
    "DELORA": _reparameterised("Bini et al. 2025, arXiv 2503.18225"),
    "FOURIERFT": _reparameterised("Gao et al. 2024, arXiv 2405.03003"),
    "FROD": _reparameterised("Wan et al. 2025, arXiv 2512.23485", weightless=False),
    "GLORA": _reparameterised("Chavan et al. 2023, arXiv 2306.07967"),
    "GRALORA": _reparameterised("Jung et al. 2025, arXiv 2505.20355"),
    "HIRA": _reparameterised("Huang et al. 2025, ICLR"),
    "HRA": _reparameterised("Yuan et al. 2024, arXiv 2405.17484"),
    "IA3": _additive("Liu et al. 2022, arXiv 2205.05638"),
    "LILY": _reparameterised("Zhong et al. 2024, arXiv 2407.09946", mergeable=False),
    "LN_TUNING": _selective("Zhao et al. 2024, arXiv 2312.11420"),
    "LOHA": _reparameterised("Hyeon-Woo et al. 2021, arXiv 2108.06098"),
    "LOKR": _reparameterised("Yeh et al. 2023, arXiv 2309.14859"),
    "LORA": _reparameterised("Hu et al. 2022, arXiv 2106.09685", compiles=True),
    "MISS": _reparameterised("Kang and Yin 2024, arXiv 2409.15371"),
    "MULTITASK_PROMPT_TUNING": _prompt("Wang et al. 2023, arXiv 2303.02861"),
    "OFT": _reparameterised("Qiu et al. 2023, arXiv 2306.07280"),
    "OSF": _reparameterised("Nayak et al. 2025, arXiv 2504.07097"),
    "PEANUT": _reparameterised("Zhong et al. 2024, arXiv 2410.01870"),
    "POLY": _reparameterised("Ponti et al. 2022, arXiv 2202.13914", mergeable=False),
    "PREFIX_TUNING": _prompt("Li and Liang 2021, arXiv 2101.00190", recomputes=False),  # checkpointing drops its cache
    "PROMPT_TUNING": _prompt("Lester et al. 2021, arXiv 2104.08691"),
    "PSOFT": _reparameterised("Wu et al. 2025, arXiv 2505.11235"),
    "PVERA": _reparameterised("Fillioux et al. 2025, arXiv 2512.07703"),
    "P_TUNING": _prompt("Liu et al. 2021, arXiv 2103.10385"),
    "RANDLORA": _reparameterised("Albert et al. 2025, arXiv 2502.00987"),
    "ROAD": _reparameterised("Liao and Monz 2024, arXiv 2409.00119"),
    "SHADOW": _additive("Li et al. 2026, arXiv 2604.19254", mergeable=False),
    "SHIRA": _selective("Bhardwaj et al. 2024, arXiv 2406.13175", weightless=False),
    "SUPERTUNING": _selective("Supra-Tuning 2026, arXiv 2607.09287"),
    "TINYLORA": _reparameterised("Morris et al. 2026, arXiv 2602.04118"),
    "TRAINABLE_TOKENS": _selective("Mangrulkar et al. 2022, github.com/huggingface/peft"),
    "UNILORA": _reparameterised(
        "Li et al. 2025, arXiv 2506.00799", departs="both factors of the update repeat the same random numbers"
    ),
    "VBLORA": _reparameterised(
        "Li et al. 2024, arXiv 2405.15179", departs="both factors of the update are mixed from random vectors"
    ),
    "VERA": _reparameterised("Kopiczko et al. 2023, arXiv 2310.11454"),
    "WAVEFT": _reparameterised("Bilican et al. 2025, arXiv 2505.12532"),
    "XLORA": _reparameterised("Buehler and Buehler 2024, arXiv 2402.07148", mergeable=False),
}
VARIANTS = {  # (option, value) that makes another method of a type
    ("use_dora", True): _reparameterised("Liu et al. 2024, arXiv 2402.09353"),
    ("use_rslora", True): _reparameterised("Kalajdzievski 2023, arXiv 2312.03732"),
    ("init_lora_weights", "pissa"): _reparameterised("Meng et al. 2024, arXiv 2404.02948", weightless=False),
    ("init_lora_weights", "olora"): _reparameterised("Bueyuekakyuez 2024, arXiv 2406.01775", weightless=False),
}
UNKNOWN = Facts(category=Category.REPARAMETERISED, paper="", mergeable=False)


def facts(peft_type: str, options: dict[str, Any]) -> Facts:
    """Look a type up, by the option that makes it another method where there is one."""
    variant = next((VARIANTS[given] for given in options.items() if _known(given)), None)
    return variant or TYPES.get(peft_type, UNKNOWN)


def _known(given: tuple[str, Any]) -> bool:
    return isinstance(given[1], (str, bool)) and given in VARIANTS
