"""Numbers and claims of others: read as data, checked against our records."""

import functools
from pathlib import Path
from statistics import NormalDist

import pytest
from omegaconf import OmegaConf

from benchmark.errors import MalformedError
from benchmark.report.published import claims, quoted

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "configs"
RESULTS = ROOT / "results"
FILES = sorted((RESULTS / "quoted").glob("*.yaml"))
HEADER = """
study: su
source: arXiv 1234.5678v2
where: Table 1
task: nmt
metric: bleu
provenance: quoted
comparable: false
why: Another language.
settings: {seed: 1, lr: 1e-4}
"""
ROW = "  - {method: lora, backbone: mbart_large_50, value: 30.5}"


def written(results, text):
    path = results / "quoted" / "su.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_rows_share_the_header_and_add_to_its_settings(tmp_path):
    other = "  - {method: full, backbone: mbart_large_50, value: 31, provenance: derived, settings: {lr: 1e-5}}"
    written(tmp_path, HEADER + f"rows:\n{ROW}\n{other}\n")
    one, two = quoted.load(tmp_path)
    assert (one.study, one.method, one.value, one.provenance) == ("su", "lora", 30.5, "quoted")
    assert one.settings == {"seed": 1, "lr": 1e-4}
    assert (two.value, two.provenance, two.settings) == (31, "derived", {"seed": 1, "lr": 1e-5})
    assert (one.trainable_params, one.costs, one.status) == (None, {}, "done")


def test_a_folder_without_quoted_results_has_none(tmp_path):
    assert quoted.load(tmp_path) == []


def test_what_looks_like_code_or_a_reference_is_text(tmp_path):
    written(tmp_path, HEADER + f"rows:\n{ROW[:-1]}, unit: '${{oc.env:HOME}}'}}\n")
    assert quoted.load(tmp_path)[0].unit == "${oc.env:HOME}"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("rows: [", "cannot be read"),
        ("study: !!python/object/apply:os.system ['true']\n", "cannot be read"),
        ("- 1\n", ""),
        (HEADER, "rows is no list"),
        (HEADER + "rows: []\n", "rows is no list"),
        (HEADER + "rows: [1]\n", "rows is no list"),
        (HEADER + "rows:\n  - {method: lora, value: 3}\n", "row 1: backbone is missing"),
        (HEADER + f"rows:\n{ROW}\n{ROW[:-1]}, valeu: 3}}\n", "row 2: no field 'valeu'"),
        (HEADER + f"rows:\n{ROW.replace('30.5', 'high')}\n", "row 1: value='high' is no"),
        (HEADER + f"rows:\n{ROW.replace('30.5', '.nan')}\n", "row 1: value=nan is no"),
        (HEADER + f"rows:\n{ROW.replace('30.5', 'true')}\n", "row 1: value=True is no"),
        (HEADER + f"rows:\n{ROW.replace(', value: 30.5', '')}\n", "row 1: value is missing"),
        (HEADER + f"rows:\n{ROW[:-1]}, costs: {{seconds_per_step: fast}}}}\n", "row 1: costs="),
        (HEADER + f"rows:\n{ROW[:-1]}, costs: {{seconds_per_step: -1}}}}\n", "seconds_per_step is negative"),
        (HEADER + f"rows:\n{ROW[:-1]}, trainable_params: -1}}\n", "trainable_params is negative"),
        (HEADER + f"rows:\n{ROW[:-1]}, provenance: guessed}}\n", "provenance=guessed is none of"),
        (HEADER.replace("Another language.", "''") + f"rows:\n{ROW}\n", "why says nothing"),
    ],
)
def test_a_malformed_file_is_refused_by_name(tmp_path, text, reason):
    path = written(tmp_path, text)
    with pytest.raises(MalformedError) as error:
        quoted.load(tmp_path)
    assert str(error.value).startswith(str(path))
    assert reason in str(error.value)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_shipped_quotes_are_few_and_none_stands_there_twice(path):
    found = quoted.read(path)
    assert 0 < len(found) <= 40
    assert len({one.study for one in found}) == 1
    keys = [(o.where, o.task, o.method, o.backbone, o.metric, o.provenance, str(o.settings)) for o in found]
    assert sorted({key for key in keys if keys.count(key) > 1}) == []
    assert all(0 <= one.value <= 100 for one in found)


def test_shipped_quotes_agree_with_what_is_known_otherwise():
    found = quoted.load(RESULTS)

    def of(study, **wanted):
        return [o for o in found if o.study == study and all(getattr(o, key) == v for key, v in wanted.items())]

    # rank 16 on two projections of 4096 x 4096 in each of 32 layers; two matrices each
    (lora,) = of("gema", metric="perplexity", method="lora", backbone="LLaMA-7B")
    assert lora.trainable_params == 32 * 2 * 2 * 4096 * 16
    (prompt,) = of("gema", metric="perplexity", method="prompt_tuning", backbone="PMC-LLaMA-7B")
    assert prompt.trainable_params == 4096 * 10
    # rank 32 on queries (3072 to 3072) and values (3072 to 1024) in each of 28 layers
    board = of("hf-method-comparison", method="lora")
    assert round(28 * 32 * (3072 + 3072 + 3072 + 1024), -3) in [one.trainable_params for one in board]
    # the mean of the cells AQuA, GSM8K, MAWPS, SVAMP
    (arithmetic,) = of("balne", where="Table 2", method="lora", backbone="LLaMA-7B")
    assert arithmetic.value == round((18.9 + 37.5 + 79.0 + 52.1) / 4, 1)
    # of PMV, MOR, LOS, DIAG, PROC, where the printed mean is another
    (derived,) = of("gema", provenance="derived", backbone="LLaMA-7B")
    assert derived.value == round((51.38 + 66.80 + 57.65 + 60.06 + 63.83) / 5, 2)
    assert not any(one.comparable for one in found)


CLAIM = {
    "id": "one",
    "study": "su",
    "where": "abstract",
    "words": "It is better.",
    "original": "mBART-50",
    "task": "nmt",
    "backbone": "mbart_cldr",
}
NORMAL = NormalDist()


def claim(**check):
    return claims.Claim(**CLAIM, check=check)


def by_hand(scores, half=0.1):
    """Normal difference of scores by hand, with intervals of one width."""

    def difference(need):
        if not {str(need.one), str(need.other)} <= scores.keys():
            return None
        value = scores[str(need.one)] - scores[str(need.other)]
        p = 2 * NORMAL.cdf(-abs(value + need.margin) * NORMAL.inv_cdf(0.975) / half)
        return claims.Measured(value, value - half, value + half, p)

    return difference


@pytest.mark.parametrize(
    ("scores", "word"),
    [
        ({"houlsby_inv": 3.0, "houlsby": 2.0, "lora": 1.0}, "confirmed"),
        ({"houlsby_inv": 3.0, "houlsby": 2.95, "lora": 1.0}, "inconclusive"),
        ({"houlsby_inv": 3.0, "houlsby": 3.1, "lora": 1.0}, "inconclusive"),  # its interval ends at 0
        ({"houlsby_inv": 3.0, "houlsby": 3.2, "lora": 1.0}, "not confirmed"),
        ({"houlsby_inv": 3.0, "houlsby": 2.95, "lora": 4.0}, "not confirmed"),  # one is enough
        ({"houlsby_inv": 3.0, "houlsby": 2.0}, "not tested"),
        ({"houlsby_inv": 3.0, "houlsby": 4.0}, "not tested"),
        ({}, "not tested"),
    ],
)
def test_best_of_several(scores, word):
    best = claim(beats={"better": ["houlsby_inv"], "worse": "rest", "among": ["lora", "houlsby_inv", "houlsby"]})
    found = claims.verdict(best, by_hand(scores, half=0.1 + 1e-9))
    assert found.word == word
    assert [(str(need.one), str(need.other)) for need, _ in found.rests_on] == [
        ("houlsby_inv", "lora"),
        ("houlsby_inv", "houlsby"),
    ]
    assert all((interval is None) == (str(need.other) not in scores) for need, interval in found.rests_on)


def test_methods_differ_by_fields_of_their_cell():
    key, query = ({"method": "lora", "method.targets": [role, "value"]} for role in ("key", "query"))
    ours = claim(beats={"better": [key], "worse": [query]})
    ((need, interval),) = claims.verdict(ours, lambda _: claims.Measured(0.02, 0.01, 0.03, 0.01)).rests_on
    assert need.one == claims.Setting("nmt", "mbart_cldr", "lora", {"method.targets": ["key", "value"]})
    assert interval == (0.02, 0.01, 0.03, 0.01)
    assert str(need.other) == "lora method.targets=[query,value]"


@pytest.mark.parametrize(("rivals", "word"), [(1, "not confirmed"), (2, "inconclusive")])
def test_of_many_comparisons_one_falls_below_by_chance(rivals, word):
    names = ["full", "ia3"][:rivals]
    best = claim(beats={"better": ["lora"], "worse": names})
    # p of 0.0324 by itself, twice that where two are tested
    scores = {"lora": 1 - 0.1 * 2.14 / 1.96, "full": 1.0, "ia3": 1 - 0.1 * 2.14 / 1.96}
    assert claims.verdict(best, by_hand(scores)).word == word


@pytest.mark.parametrize(
    ("lora", "word"),
    [(2.0, "confirmed"), (0.0, "confirmed"), (-0.8, "confirmed"), (-1.0, "inconclusive"), (-1.2, "not confirmed")],
)
def test_keeping_up_allows_a_margin(lora, word):
    par = claim(keeps_up={"better": ["lora"], "worse": ["full"], "margin": 1.0})
    assert claims.verdict(par, by_hand({"lora": lora, "full": 0.0})).word == word


@pytest.mark.parametrize(
    ("few", "many", "word"),
    [(1.0, -1.0, "confirmed"), (1.0, 1.0, "not confirmed"), (-1.0, -1.0, "not confirmed"), (1.0, 0.0, "inconclusive")],
)
def test_a_crossover_needs_both_ends(few, many, word):
    both = claim(crosses={"better": ["lora"], "worse": ["full"], "few": {"fraction": 0.01}, "many": {}})
    scores = {"lora fraction=0.01": few, "full fraction=0.01": 0.0, "lora": many, "full": 0.0}
    assert claims.verdict(both, by_hand(scores)).word == word


def test_what_nothing_here_can_test_is_not_tested():
    found = claims.verdict(claim(untested="A cost."), by_hand({}))
    assert (found.word, found.rests_on) == ("not tested", ())


@pytest.mark.parametrize(
    ("check", "reason"),
    [
        ({}, "check is not one of beats"),
        ({"wins": {}}, "check is not one of beats"),
        ({"beats": {"better": ["lora"]}}, "check beats does not take"),
        ({"beats": ["lora"]}, "check beats does not take"),
        ({"beats": {"better": "lora", "worse": ["full"]}}, "'lora' is no list of methods"),
        ({"beats": {"better": [], "worse": ["full"]}}, "no list of methods"),
        ({"beats": {"better": [{"rank": 4}], "worse": ["full"]}}, "names no method"),
        ({"beats": {"better": ["lora"], "worse": "rest"}}, "None is no list of methods"),
        ({"beats": {"better": ["lora"], "worse": "rest", "among": ["lora"]}}, "nothing is left"),
        ({"keeps_up": {"better": ["lora"], "worse": ["full"], "margin": -1}}, "margin=-1 is no positive"),
        ({"crosses": {"better": ["lora"], "worse": ["full"], "few": {}, "many": {}}}, "are not two mappings"),
        ({"untested": ""}, "does not say why"),
    ],
)
def test_a_malformed_claim_is_refused_by_name(tmp_path, check, reason):
    OmegaConf.save({"claims": [CLAIM | {"check": check}]}, tmp_path / "claims.yaml")
    with pytest.raises(MalformedError, match=rf"claims\.yaml, claim one: .*({reason})"):
        claims.load(tmp_path)


def test_two_claims_of_one_name_are_refused(tmp_path):
    entry = CLAIM | {"check": {"untested": "A cost."}}
    OmegaConf.save({"claims": [entry, entry]}, tmp_path / "claims.yaml")
    with pytest.raises(MalformedError, match="one stands there twice"):
        claims.load(tmp_path)


CLAIMS = claims.load(RESULTS)


@functools.cache
def content(noun, name):
    return OmegaConf.to_container(OmegaConf.load(CONFIGS / noun / f"{name}.yaml"), resolve=False)


@pytest.mark.parametrize("one", CLAIMS, ids=lambda one: one.id)
def test_shipped_claims_name_what_can_be_run(one):
    cells = content(".", "config")
    for need in one.requirements():
        for setting in (need.one, need.other):
            assert (CONFIGS / "task" / f"{setting.task}.yaml").is_file()
            assert (CONFIGS / "backbone" / f"{setting.backbone}.yaml").is_file()
            fields = content("method", setting.method)
            for name, value in setting.changes.items():
                noun, _, field = name.partition(".")
                known = fields[field] if noun == "method" else cells[name]
                assert known is None or isinstance(value, type(known))
        assert str(need.one) != str(need.other)


def test_the_studies_that_must_be_there_are_there():
    studies = {one.study for one in CLAIMS}
    assert {"su", "dutt", "sledzieski", "otake", "sct", "peft_ser", "gema", "chen"} <= studies
    assert all(one.words.endswith(".") for one in CLAIMS)
