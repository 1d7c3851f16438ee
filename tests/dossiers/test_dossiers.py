"""Model cards and technical documentation: every statement leads to what shows it, or says that it is missing."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.linear_model import LogisticRegression

from nbmlops.dossiers.written import KEYS
from nbmlops.errors import InvalidValue, NotFound
from nbmlops.workspace import Workspace

N = 300
CHANCE = np.random.default_rng(0)
FRAME = pd.DataFrame({"income": CHANCE.normal(40, 10, N), "age": CHANCE.normal(50, 9, N)})
PAID = pd.Series((FRAME.income + CHANCE.normal(0, 5, N) > 40).astype(int))
SEX = pd.Series(np.where(np.arange(N) % 2, "f", "m"), name="sex")
EVIL = "<script>alert(1)</script> **bold** `code` [x](javascript:alert(1)) | a\n# heading\n- [x] done"


@pytest.fixture
def version(ws: Workspace):
    model = LogisticRegression().fit(FRAME[:150], PAID[:150])
    test = ws.evidence.test_rows((FRAME[150:], PAID[150:]), groups=SEX[150:])
    made = ws.evidence.register(model, "m", test=test, training_data=FRAME[:150], description=EVIL)
    ws.evidence.gather(made.ref, ["performance", "slices", "fairness", "importance", "calibration", "latency"])
    ws.promotion.promote(made.ref, "staging", EVIL)
    return made


def write(text: str) -> None:
    Path("cards").mkdir(exist_ok=True)
    Path("cards/m.toml").write_text(text, encoding="utf-8")


@pytest.mark.parametrize("verb", ["card", "dossier"])
def test_every_statement_leads_to_what_shows_it_or_is_missing(ws, version, verb):
    made = getattr(ws.dossiers, verb)(version.ref)
    statements = [s for section in made.sections for s in section.statements]
    assert len(statements) > 20
    for s in statements:
        assert bool(s.source) != s.missing, s
        assert s.missing == bool(s.write)
        if s.source.startswith(("model:", "run:", "event:")) and " " not in s.source:
            ws.lineage.why(s.source)  # it leads somewhere
        elif " evidence " in s.source:
            assert ws.evidence.get(version.ref, s.source.rpartition(" ")[2]).status == "done"


def test_numbers_are_those_of_the_evidence(ws, version):
    card = ws.dossiers.card(version.ref)
    (scores,) = next(s.statements for s in card.sections if s.title == "Performance")
    kept = ws.evidence.get(version.ref, "performance").report
    assert {row["score"]: row["value"] for row in scores.table} == {
        k: v["value"] for k, v in kept.items() if isinstance(v, dict)
    }
    header = yaml.safe_load(ws.dossiers.render(card, "x.md").split("---")[1])
    (result,) = header["model-index"][0]["results"]
    assert {m["type"]: m["value"] for m in result["metrics"]}["accuracy"] == round(kept["accuracy"]["value"], 6)
    assert header["library_name"] == "sklearn"


def test_persons_fill_in_what_only_they_know(ws, version):
    before = ws.dossiers.dossier(version.ref).missing()
    write("\n".join(f'{key} = "What we say about {key}."' for key in KEYS))
    after = ws.dossiers.dossier(version.ref)
    gone = {s.write for s in before} - {s.write for s in after.missing()}
    assert len(gone) == len([s for s in before if s.write.startswith("cards/")]) > 10
    said = [s for section in after.sections for s in section.statements if s.source == "cards/m.toml"]
    assert "What we say about risks." in [s.text for s in said]
    assert "license: What we say about licence." in ws.dossiers.render(ws.dossiers.card(version.ref), "x.md")


def test_a_wrong_file_tells_all_its_faults(ws, version):
    write('purpose = 3\npurpse = "x"\n')
    with pytest.raises(InvalidValue) as caught:
        ws.dossiers.card(version.ref)
    assert set(caught.value.faults) == {"purpose: a text is needed", "purpse is not known"}
    write("purpose = ")
    with pytest.raises(InvalidValue, match="is not valid TOML"):
        ws.dossiers.card(version.ref)


def test_the_dossier_is_in_the_order_of_the_annex(ws, version):
    made = ws.dossiers.dossier(version.ref)
    assert [section.title[:2] for section in made.sections] == [f"{n}." for n in range(1, 10)]
    assert "2024/1689" in made.order
    page = ws.dossiers.render(made, "x.html")
    assert page.index("Still to be written") < page.index("1. General description")
    assert not re.search(r"\b(complies|compliant|conforms)\b", page)


def test_what_a_name_or_text_holds_stays_text(ws, version):
    for made in (ws.dossiers.card(version.ref), ws.dossiers.dossier(version.ref)):
        page, text = ws.dossiers.render(made, "x.html"), ws.dossiers.render(made, "x.md")
        assert "<script" not in page
        assert "&lt;script&gt;" in page
        assert "<script" not in text.replace("\\<script", "")
        assert "[x](" not in text
        assert "**bold**" not in text
        assert not re.search(r"^# heading|^- \[x\]", text, re.M)


def test_without_evidence_everything_is_missing_and_says_how_to_get_it(ws):
    model = LogisticRegression().fit(FRAME, PAID)
    version = ws.models.register(model, "bare", training_data=FRAME)
    missing = {s.write for s in ws.dossiers.card(version.ref).missing()}
    for kind in ("performance", "slices", "fairness", "importance", "latency"):
        assert f"nbmlops model evidence {version.ref} --gather --kind {kind}" in missing


def test_on_the_command_line(ws, version, cli, tmp_path):
    out = tmp_path / "card.md"
    assert "still to be written or measured" in cli("model", "card", version.ref, "-o", str(out)).out
    assert out.read_text().startswith("---\nlibrary_name")
    assert "model card" in cli("model", "card", version.ref).out
    cli("model", "dossier", version.ref, "-o", str(tmp_path / "d.html"))
    cli("model", "card", version.ref, "-o", str(tmp_path / "card.pdf"), code=2)
    with pytest.raises(NotFound):
        ws.dossiers.card("none")
