"""The functions of models: packages, decisions about them, predictions, and what is behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nbmlops import session
from nbmlops.records import Event, Evidence, Exported, Lineage, ModelVersion, MonitorReport, Predictions, Promotion
from nbmlops.session import live, workspace


def log_model(
    model: Any, name: str, input_example: Any = None, *, training_data: Any = None, flavor: str | None = None
) -> ModelVersion:
    """Keep a fitted model with the active run, without registering it; the rest as in :func:`register_model`."""
    if session.current_context().run_id is None:
        live()
    data = {"input_example": input_example, "training_data": training_data}
    return workspace().models.log(model, name, flavor=flavor, **data)


def register_model(
    model_or_ref: Any,
    name: str,
    alias: str | None = None,
    description: str | None = None,
    *,
    input_example: Any = None,
    training_data: Any = None,
    test_data: Any = None,
    target: str | None = None,
    groups: Any = (),
    flavor: str | None = None,
    certify: bool = False,
) -> ModelVersion:
    """Register a fitted model, or a run's logged one (``run:ID``), as the next version of ``name``.

    The signature comes from ``training_data``, else from ``input_example``, else from what the model was fitted on,
    else from data the run read.

    Args:
        model_or_ref: the fitted model, or a reference to one that a run has logged.
        name: the model's name; its versions are counted.
        alias: a label that moves to this version.
        description: a few words, kept with the version.
        input_example: some rows as ``predict`` gets them.
        training_data: a frame, ``(X, y)`` or a data set's reference; also gives the profile that monitoring needs.
        test_data: the same, of rows that the model has not seen: kept with the version, which is judged by them.
        target: the column of ``test_data`` that is to be predicted; not needed with ``(X, y)``.
        groups: columns of ``test_data`` (or a frame beside it) that tell groups of people apart.
        flavor: how the object is kept: ``skops`` by default; ``joblib`` and ``cloudpickle`` keep whatever predicts, as
            a pickle that only ``load_model(ref, trust=True)`` opens, and that no environment takes.
        certify: execute the run again in a fresh kernel, as it is so far, and keep the certificate.

    Raises:
        InvalidValue: the model or its inputs cannot be described, or test data lack what is named; says what.
    """
    here = workspace()
    test = None if test_data is None else here.evidence.test_rows(test_data, target, groups)
    data = {"input_example": input_example, "training_data": training_data, "flavor": flavor}
    version = here.evidence.register(model_or_ref, name, test=test, alias=alias, description=description, **data)
    return here.reproduction.certify(version, now=True) if certify else version


def get_evidence(ref: str, kinds: Sequence[str] | None = None, *, background: bool = False) -> list[Evidence]:
    """What shows how a version was made and what it is worth; what was not measured yet is measured now.

    Args:
        ref: the version.
        kinds: some of provenance, cost, performance, confusion, residuals, calibration, importance, slices, fairness,
            latency; all by default.
        background: measure in a process of its own; what is not there yet is ``waiting``.
    """
    from nbmlops.display import Listing

    return Listing(workspace().evidence.gather(ref, kinds, background=background), f"Evidence of {ref}")


def load_model(ref: str, trusted: Sequence[str] = (), *, trust: bool = False) -> Any:
    """The model of ``NAME@VERSION`` or ``NAME@ALIAS``.

    Args:
        ref: the version.
        trusted: further types to allow in this call.
        trust: run whatever the package holds, in this call: for pickles, and flavors of other packages.

    Raises:
        Untrusted: the package holds types that are not on the allow-list, or is a pickle; nothing of it was built.
    """
    return workspace().models.load(ref, trusted=tuple(trusted), trust=trust)


def export_model(ref: str, folder: str, format: str = "mlmodel") -> Exported:
    """Write a version into a new folder: as a directory that MLflow loads and serves, or as ``onnx``.

    Raises:
        UsageFault: the folder holds something, or the model cannot be proved equal as ONNX; says why.
    """
    return workspace().exports.export(ref, folder, format)


def promote(ref: str, to: str, reason: str, rules: Sequence[str] = ()) -> Promotion:
    """Move a model version to an environment (``staging``, ``production``) through its tests, rules and approval.

    Raises:
        Blocked: a check refused; nothing has changed, every finding is listed.
    """
    return workspace().promotion.promote(ref, to, reason, rules=tuple(rules))


def approve(ref: str, to: str, reason: str) -> Promotion:
    """Complete an open approval; the model version then stands in the environment."""
    return workspace().promotion.approve(ref, to, reason)


def reject(ref: str, to: str, reason: str) -> Promotion:
    """End an open approval without moving anything."""
    return workspace().promotion.reject(ref, to, reason)


def rollback(name: str, environment: str, reason: str) -> Promotion:
    """Bring back the model version that stood in the environment before."""
    return workspace().promotion.rollback(name, environment, reason)


def delete_model(ref: str, reason: str) -> Event:
    """Take a version out of use: it can be neither loaded nor promoted; what it did stays readable.

    Raises:
        UsageFault: it stands in an environment.
    """
    return workspace().promotion.delete(ref, reason)


def predict(ref: str, data: Any, out: str | None = None) -> Predictions:
    """Predict with a registered model and record it; every row gets a ``prediction_id``."""
    return workspace().deployments.predict(ref, data, out)


def record_feedback(prediction_id: str, actual: Any) -> None:
    """Record what really happened for a prediction."""
    workspace().deployments.feedback(prediction_id, actual)


def monitor(ref: str, since: Any = None, until: Any = None) -> MonitorReport:
    """Compare a window of recorded predictions with the model's training profile."""
    return workspace().monitors.check(ref, since, until)


def why(ref: str, *, impact: bool = False) -> Lineage:
    """Everything behind a run, data set, model, flow or prediction, back to the cells and data that made it.

    Args:
        ref: the thing.
        impact: the other way: everything that followed from it.
    """
    return workspace().lineage.why(ref, impact=impact)
