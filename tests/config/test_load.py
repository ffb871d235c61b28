"""Documents with mistakes: each is reported with its line, key path, value and what would be accepted."""

import json
import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from darkop_dist.config.datasets import DatasetRecord
from darkop_dist.config.document import Document
from darkop_dist.config.load import LoadedDocument, check_datasets, check_parameters, load_document
from darkop_dist.config.section import SECTION
from darkop_dist.errors import EXIT_USER, DocumentError, InputFileError

GOOD = """\
name: Test search
lumi_ifb: 16.39
datasets:
  - {name: collisions, kind: data, format: flat, files: ["data/*.csv"]}
  - {name: ttbar, kind: simulation, format: flat, files: ["tar://tt*.csv::data/all.tgz"], xsec_pb: 831.76}
  - {name: zprime, sample: signal, kind: simulation, files: [{uri: "https://example.org/z.root"}], xsec_pb: 1.0}
processor: search.py:Search
"""


def write(directory: Path, text: str) -> Path:
    (directory / "search.py").touch()
    path = directory / "analysis.yml"
    path.write_text(text)
    return path


def load(directory: Path, text: str) -> LoadedDocument:
    return load_document(write(directory, text))


def expect(directory: Path, text: str, message: str) -> DocumentError:
    with pytest.raises(DocumentError, match=re.escape(message)) as caught:
        load(directory, text)
    return caught.value


def test_good_document(tmp_path: Path) -> None:
    document = load(tmp_path, GOOD).document
    assert document.name == "Test search"
    assert document.execution.chunk_events == 250_000
    assert document.output_directory == Path("results/test-search")
    assert [record.sample_name for record in document.inline_records] == ["collisions", "ttbar", "signal"]


def test_paths_count_from_the_document(tmp_path: Path) -> None:
    loaded = load(tmp_path, GOOD + "output: ../out\noperator: {checkpoint: models/one}\n")
    document = loaded.document
    collisions, ttbar, zprime = document.inline_records
    assert collisions.uris == (f"{tmp_path}/data/*.csv",)
    assert ttbar.uris == (f"tar://tt*.csv::{tmp_path}/data/all.tgz",)
    assert zprime.uris == ("https://example.org/z.root",)
    assert document.processor == f"{tmp_path}/search.py:Search"
    assert document.output == tmp_path.parent / "out"
    assert document.operator is not None
    assert document.operator.checkpoint == f"{tmp_path}/models/one"


def test_pattern_below_a_directory_with_brackets(tmp_path: Path) -> None:
    directory = tmp_path / "run[1]"
    directory.mkdir()
    document = load(directory, GOOD).document
    assert document.inline_records[0].uris == (f"{tmp_path}/run[[]1]/data/*.csv",)


def test_design_example(tmp_path: Path) -> None:
    (tmp_path / "processors").mkdir()
    (tmp_path / "processors" / "monojet.py").touch()
    text = """\
name: Mono-jet dark matter search
datasets: [cms-2016g-met, zjets-nunu-pythia, dm-axial-1000-100]      # catalogue names, globs or files
processor: processors/monojet.py:MonoJet
operator: {checkpoint: cylinder-fno-v1, serve: local}
anomaly_detection: {method: conformal, background: control-region, alpha: 1.0e-4}
signal_region: "MET > 250 GeV"
systematics: [jet_energy_scale, jet_energy_resolution, pileup_reweighting, luminosity]
limits: {signal: dm-axial-1000-100, statistic: qtilde, toys: 0}
execution: {where: local, workers: 2, chunk_events: 250000}
"""
    document = load(tmp_path, text).document
    assert document.datasets == ("cms-2016g-met", "zjets-nunu-pythia", "dm-axial-1000-100")
    assert document.limits is not None
    assert document.limits.signal == ("dm-axial-1000-100",)
    assert document.operator is not None
    assert document.operator.checkpoint == "cylinder-fno-v1"


def test_written_document_is_read_back_identically(tmp_path: Path) -> None:
    text = GOOD + (
        "signal_region: mtt > 0.6 TeV and mtt < 3 TeV\nlimits: {signal: signal, normalisation: {ttbar: 0.2, signal: "
        "[0.1, 0.3]}, bins: [0, 1.5, 3]}\noperator: {train: {model: density, datasets: ttbar, columns: [mtt]}}\n"
    )
    document = load(tmp_path, text).document
    assert document.limits is not None
    assert document.limits.normalisation == {"ttbar": (0.2, 0.2), "signal": (0.1, 0.3)}
    assert Document.model_validate_json(document.model_dump_json(), strict=True) == document


LIMITS = "limits: {signal: zprime}\n"

SCHEMA_MISTAKES = [
    ("sytematics: []\n", "line 8: sytematics: unknown key", "did you mean 'systematics'?"),
    ("systematics: [jet_energy_scal]\n", "line 8: systematics[0]: must be 'luminosity'", "did you mean 'jet_energy_scale'"),
    ("limits:\n  signal: zprime\n  statistic: qtild\n", "line 10: limits.statistic: must be 'qtilde' or 'q' (found qtild)", "did you mean 'qtilde'"),
    ("limits: {signal: []}\n", "line 8: limits.signal: must not be empty (found [])", ""),
    ("limits: {}\n", "line 8: limits.signal: this key is required: Datasets or samples that are signals", ""),
    ("limits: {signal: zprime, toys: 1.5}\n", "limits.toys: must be a whole number (found 1.5)", ""),
    ("limits: {signal: zprime, toys: -1}\n", "limits.toys: must be at least 0 (found -1)", ""),
    ("limits: {signal: zprime, bins: [1, 3, 2]}\n", "limits.bins: bin edges must increase (found [1, 3, 2])", ""),
    ("limits: {signal: zprime, bins: [1, .inf]}\n", "limits.bins[1]: must be a finite number (found .inf)", ""),
    ("limits: {signal: zprime, normalisation: {ttbar: [1]}}\n", "limits.normalisation.ttbar: must be a number such as 0.05, or a pair", ""),
    ("limits: {signal: zprime, normalisation: {ttbar: -0.1}}\n", "limits.normalisation.ttbar: must be greater than 0 (found -0.1)", ""),
    ("execution: {where: slrm}\n", "execution.where: must be 'local', 'dask', 'dask://HOST:PORT', 'tls://HOST:PORT', 'slurm'", "did you mean 'slurm'?"),
    ("execution: {where: dask://host}\n", "'https://GATEWAY' or 'kubernetes' (found dask://host)", "did you mean 'dask'"),
    ("execution: {where: dask, cluster: {walltim: 1 h}}\n", "line 8: execution.cluster.walltim: unknown key: must be one of queue", "did you mean 'walltime'"),
    ("execution: {where: dask, cluster: {walltime: soon}}\n", "execution.cluster.walltime: must be a time such as '02:00:00', '1-12:00:00', '90 min' or '2 h' (found soon)", ""),
    ("execution: {where: dask, cluster: {walltime: 00:00:00}}\n", "execution.cluster.walltime: must be longer than zero", ""),
    ("execution: {where: dask, cluster: {memory: 4}}\n", "execution.cluster.memory: must be text (found 4)", ""),
    ("execution: {where: dask, cluster: {memory: much}}\n", "execution.cluster.memory: must be a size such as '4 GB' or '2000 MiB' (found much)", ""),
    ("execution: {where: dask, cluster: {memory: 0 GB}}\n", "execution.cluster.memory: must be more than zero", ""),
    ("execution: {where: slurm, cluster: {job_extra: ['--a', '']}}\n", "execution.cluster.job_extra[1]: must be one line of text", ""),
    ("execution: {where: gateway, cluster: {auth: password}}\n", "execution.cluster.auth: must be 'basic', 'kerberos' or 'jupyterhub' (found password)", ""),
    ("execution: {where: 'tls://h:1', cluster: {tls: {ca: a, cert: b}}}\n", "execution.cluster.tls.key: this key is required: The private key", ""),
    ("execution: {where: loca}\n", "execution.where: must be", "did you mean 'local'?"),
    ("execution: {workers: true}\n", "execution.workers: must be a whole number (found true)", ""),
    ("execution: {workers: 0}\n", "execution.workers: must be at least 1 (found 0)", ""),
    ("operator: {checkpoint: a, serve: rai}\n", "operator.serve: must be local, auto, ray, ray://HOST:PORT, http://HOST:PORT or https://HOST:PORT (found rai)", "did you mean 'ray'?"),
    ("operator: {checkpoint: a, serve: {at: 'https://h:1/x/y'}}\n", "operator.serve.at: must be local, auto", ""),
    ("operator: {checkpoint: a, serve: {at: ray, fallback: yes}}\n", "operator.serve.fallback", ""),
    ("operator: {checkpoint: a, serve: {at: ray, deadline: 3}}\n", "operator.serve.deadline: unknown key", "deadline_s"),
    ("operator: {train: {model: densty, datasets: ttbar}}\n", "operator.train.model: must be 'cylinder-fno' or 'density'", "did you mean 'density'?"),
    ("operator: {train: {model: density, datasets: ttbar, fraction: 1}}\n", "operator.train.fraction: must be less than 1 (found 1)", ""),
    ("anomaly_detection: {background: ttbar, alpha: '1e-3'}\n", "anomaly_detection.alpha: must be a number (found 1e-3)", ""),
    ("anomaly_detection: {background: ttbar, alpha: 0}\n", "anomaly_detection.alpha: must be greater than 0 (found 0)", ""),
    ("signal_region: MET > 250 Gev\n", "line 8: signal_region: unknown unit 'Gev'", "did you mean 'GeV'"),
    ("signal_region: MET over 250\n", "signal_region: cannot read the cut 'MET over 250'", ""),
    ("signal_region: 250\n", "signal_region: must be text such as 'MET > 250 GeV' (found 250)", ""),
    ("description: [a]\n", 'description: must be text (found ["a"])', ""),
    ("name: again\n", "line 8: name: this key is given twice, first on line 1", ""),
    ("parameters: !foo 3\n", "line 8: parameters: cannot be read: could not determine a constructor", ""),
    ("parameters: &a {b: *a}\n", "line 8: parameters.b: an alias must not contain itself", ""),
]  # fmt: skip


@pytest.mark.parametrize(("addition", "message", "hint"), SCHEMA_MISTAKES)
def test_schema_mistake(tmp_path: Path, addition: str, message: str, hint: str) -> None:
    error = expect(tmp_path, GOOD + addition, message)
    assert hint in str(error)
    assert len(error.mistakes) == 1
    assert error.exit_status == EXIT_USER


CONTRADICTIONS = [
    ("operator: {}\n", "line 8: operator: must have exactly one of checkpoint, train and choose_from (found {})"),
    ("operator: {checkpoint: a, train: {model: cylinder-fno, datasets: ttbar}}\n", "operator: must have exactly one of"),
    ("operator: {train: {model: density, datasets: ttbar}}\n", "operator.train.columns: the density model needs the columns"),
    ("operator: {train: {model: cylinder-fno, datasets: ttbar, columns: [a]}}\n", "operator.train.columns: only the density"),
    ("operator: {train: {model: density, datasets: ttbar, columns: [mtt], transforms: {mt: log}}}\n", "operator.train.transforms.mt: no such column"),
    ("operator: {train: {model: cylinder-fno, datasets: ttbra}}\n", "operator.train.datasets: no dataset or sample of this document has this name: must be one of collisions, ttbar, zprime, signal (found ttbra); did you mean 'ttbar'?"),
    ("anomaly_detection: {background: control-region, alpha: 0.1}\n", "anomaly_detection: p-values need scores: add the section operator"),
    ("operator: {checkpoint: a}\nanomaly_detection:\n  background: [control-region, ttba]\n  alpha: 0.1\n", "line 10: anomaly_detection.background[1]: no dataset"),
    ("limits: {signal: zprim}\n", "limits.signal: no dataset or sample"),
    ("limits: {signal: zprime, normalisation: {wjets: 0.1}}\n", "limits.normalisation.wjets: no dataset or sample"),
    ("limits: {signal: collisions}\n", "limits.signal: a signal must be simulation"),
    ("limits: {signal: [zprime, ttbar]}\n", "limits.signal: limits need at least one simulated dataset that is not a signal"),
    ("catalogue: [mine.toml]\n", "line 8: catalogue[0]: no file"),
    ("execution:\n  where: dask\n  cluster:\n    queue: long\n", "line 11: execution.cluster.queue: where: dask has no use for this key: it takes local_directory, memory"),
    ("execution:\n  where: slurm\n  cluster: {memory: 2 GB}\n", "line 10: execution.cluster: where: slurm needs the key walltime"),
    ("execution: {where: kubernetes}\n", "execution.cluster: where: kubernetes needs the key image"),
    ("execution: {where: 'tls://host:8786'}\n", "execution.cluster: a tls:// address needs the key tls with ca, cert and key"),
    ("execution: {where: 'dask://host:8786', cluster: {tls: {ca: a, cert: b, key: c}}}\n", "execution.cluster.tls: dask:// addresses are not encrypted: write where: tls://HOST:PORT"),
    ("execution: {where: lsf, cluster: {walltime: 2 h, memory: 2 GB, cores: 2, processes: 3}}\n", "execution.cluster.processes: a job of 2 cores cannot hold more processes"),
    ("execution: {where: lsf, cluster: {walltime: 2 h, memory: 2 GB, retire_before: 2 h}}\n", "execution.cluster.retire_before: must be shorter than the walltime"),
    ("execution: {where: htcondor, cluster: {disk: 1 GB, memory: 2 GB, retire_before: 2 h}}\n", "execution.cluster.retire_before: has no meaning without walltime"),
]  # fmt: skip


@pytest.mark.parametrize(("addition", "message"), CONTRADICTIONS)
def test_contradiction(tmp_path: Path, addition: str, message: str) -> None:
    assert len(expect(tmp_path, GOOD + addition, message).mistakes) == 1


REPLACED = [
    ("search.py:Search", "serch.py:Search", "line 7: processor: no file"),
    ("search.py:Search", "search.py", "processor: must be 'path.py:Class' or 'package.module:Class' (found search.py)"),
    ("lumi_ifb: 16.39\n", "", "lumi_ifb: limits with simulation need the integrated luminosity in 1/fb"),
    (", xsec_pb: 831.76", "", "line 5: datasets[1]: limits need the cross section of ttbar: give xsec_pb in pb"),
    ("name: ttbar, kind", "name: collisions, kind", "line 5: datasets[1].name: this dataset is given twice, first as datasets[0]"),
    ("kind: data", "kind: dta", "line 4: datasets[0].kind: must be 'data' or 'simulation' (found dta); did you mean 'data'?"),
    ("kind: data,", "", "line 4: datasets[0].kind: this key is required: Collision data or simulation"),
    ('["data/*.csv"]', "[3]", "line 4: datasets[0].files[0]: must be a path, an address or a mapping with the key uri (found 3)"),
    (', files: ["data/*.csv"]', "", "datasets[0]: a dataset needs files, or generated"),
    ('files: ["data/*.csv"]', 'files: ["a.csv"], generated: {process: p, events: 1, seed: 1}', "is either read from files or generated"),
    ("  - {name: collisions", "  - data/bare.root\n  - {name: collisions", "line 4: datasets[0]: limits need to know what a file holds"),
    ("uri:", "url:", "datasets[2].files[0].url: unknown key: must be one of uri, bytes, adler32, events"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "message"), REPLACED)
def test_mistake_in_place(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    expect(tmp_path, (GOOD + LIMITS).replace(old, new), message)


def test_all_mistakes_at_once_in_order(tmp_path: Path) -> None:
    text = """\
nme: x
datasets:
  - a
  - 2
  - {name: b!, kind: dta}
processor: nothing
processor: module:Class
operator:
  serve: rai
limits: {signal: a, statistic: z, toys: -1}
"""
    error = expect(tmp_path, text, "10 mistakes in the document")
    assert [(mistake.line, mistake.path) for mistake in error.mistakes] == [
        (1, "nme"),
        (4, "datasets[1]"),
        (5, "datasets[2].name"),
        (5, "datasets[2].kind"),
        (6, "processor"),
        (7, "processor"),
        (9, "operator.serve"),
        (10, "limits.statistic"),
        (10, "limits.toys"),
        (None, "name"),
    ]


SYNTAX = [
    ("name: [1\n", "not valid YAML"),
    ("name: a\n\tb: c\n", "line 2: document: not valid YAML"),
    ("", "document: the document is empty"),
    ("- a\n- b\n", "line 1: document: the document must be a mapping"),
    ("name: a\n---\nname: b\n", "expected a single document"),
]


@pytest.mark.parametrize(("text", "message"), SYNTAX)
def test_syntax(tmp_path: Path, text: str, message: str) -> None:
    expect(tmp_path, text, message)


def test_missing_and_binary_documents(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="no such document"):
        load_document(tmp_path / "none.yml")
    (tmp_path / "binary.yml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputFileError, match="cannot be read as UTF-8"):
        load_document(tmp_path / "binary.yml")


def test_anchors_and_merge_keys(tmp_path: Path) -> None:
    text = GOOD + "parameters:\n  a: &cuts {pt: 1, eta: 2}\n  b: {<<: *cuts, eta: 3}\n"
    assert load(tmp_path, text).document.parameters == {"a": {"pt": 1, "eta": 2}, "b": {"eta": 3, "pt": 1}}


class Jets(BaseModel):
    model_config = SECTION

    min_pt_gev: float
    """Smallest transverse momentum in GeV."""


class Parameters(BaseModel):
    model_config = SECTION

    jets: Jets
    """Cuts on jets."""
    bins: tuple[float, ...] = (0.0, 1.0)
    """Edges."""


def test_parameters(tmp_path: Path) -> None:
    loaded = load(tmp_path, GOOD + "parameters: {jets: {min_pt_gev: 100}, bins: [1, 2]}\n")
    assert check_parameters(loaded, Parameters) == Parameters(jets=Jets(min_pt_gev=100.0), bins=(1.0, 2.0))


def test_parameters_with_mistakes(tmp_path: Path) -> None:
    loaded = load(tmp_path, GOOD + "parameters:\n  jets:\n    min_pt: 100\n  bins: [a]\n")
    with pytest.raises(DocumentError, match="3 mistakes") as caught:
        check_parameters(loaded, Parameters)
    text = str(caught.value)
    assert "line 9: parameters.jets.min_pt_gev: this key is required: Smallest transverse momentum in GeV." in text
    assert "line 10: parameters.jets.min_pt: unknown key: must be one of min_pt_gev (found 100); did you mean" in text
    assert "line 11: parameters.bins[0]: must be a number (found a)" in text


def test_parameters_absent(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=r"parameters\.jets: this key is required: Cuts on jets"):
        check_parameters(load(tmp_path, GOOD), Parameters)


def test_names_of_the_catalogue_are_checked_later(tmp_path: Path) -> None:
    text = "name: a\ndatasets: [met, zjets, dm]\nprocessor: m:C\nlimits: {signal: dn}\nsystematics: [luminosity]\n"
    loaded = load(tmp_path, text)
    records = [
        DatasetRecord(name="met", kind="data"),
        DatasetRecord(name="zjets", kind="simulation", xsec_pb=1),
        DatasetRecord(name="dm", kind="simulation"),
    ]
    with pytest.raises(DocumentError, match="4 mistakes") as caught:
        check_datasets(loaded, records)
    assert {mistake.path for mistake in caught.value.mistakes} == {
        "limits.signal",
        "lumi_ifb",
        "limits.lumi_uncertainty",
        "datasets[2]",
    }
    fixed = load(tmp_path, text.replace("signal: dn", "signal: dm"))
    check_datasets(
        fixed,
        [records[0].model_copy(update={"lumi_ifb": 1.0}), records[1], records[2].model_copy(update={"xsec_pb": 1.0})],
    )


def test_plain_values_stay_json(tmp_path: Path) -> None:
    loaded = load(tmp_path, GOOD + "parameters: {day: 2016-07-01, number: 1e-4}\n")
    assert loaded.document.parameters == {"day": "2016-07-01", "number": 1e-4}
    assert json.loads(loaded.document.model_dump_json())["parameters"]["number"] == 1e-4


LIMITS = GOOD + "limits:\n  signal: signal\n"


def test_the_statistical_model_of_a_document(tmp_path: Path) -> None:
    text = LIMITS + (
        "  free_normalisation: [ttbar]\n"
        "  bin_uncertainties: [{sample: ttbar, size: [0.1, 0.2]}, {sample: ttbar, region: b, size: 3, kind: absolute}]\n"
        "  transfer_factors:\n"
        "    - name: z\n"
        "      samples: {signal: ttbar, b: [ttbar]}\n"
        "      uncertainties: [{name: theory, region: b, size: [0.1, -0.2]}]\n"
        "  abcd: {regions: [signal, b, c, d], replaces: [ttbar], closure: 0.2}\n"
        "  lumi_modifier: lumi\n"
        "  smoothing: 353QH\n"
    )
    loaded = load(tmp_path, text).document
    again = Document.model_validate_json(json.dumps(loaded.model_dump(mode="json")), strict=True)
    limits = again.limits
    assert limits is not None
    assert limits == loaded.limits
    assert limits.free_normalisation == {"ttbar": (0.0, 10.0)}
    assert [entry.size for entry in limits.bin_uncertainties] == [(0.1, 0.2), 3.0]
    assert limits.transfer_factors[0].samples == {"signal": ("ttbar",), "b": ("ttbar",)}
    assert limits.transfer_factors[0].uncertainties[0].size == (0.1, -0.2)
    assert limits.abcd is not None
    assert (limits.abcd.regions, limits.abcd.closure) == (("signal", "b", "c", "d"), (0.2, 0.2))
    assert load(tmp_path, LIMITS + "  free_normalisation: {ttbar: [0, 3]}\n").document.limits.free_normalisation == {
        "ttbar": (0.0, 3.0)
    }


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            "  p_value_bins: [0.1]\n",
            "limits.p_value_bins: these are bins of the observable p_value: set limits.observable",
        ),
        ("  observable: p_value\n", "limits.observable: p_value needs the section anomaly_detection, which calibrates"),
        (
            "  observable: p_value\n",
            "limits.p_value_bins: the observable p_value needs bins, such as [1e-4, 1e-3, 1e-2]",
        ),
        (
            "  observable: p_value\n  bins: [1, 2]\n",
            "limits.bins: the observable p_value has p_value_bins: remove this key",
        ),
        ("  observable: p_value\n  regions: [signal, b]\n", "limits.regions: the observable p_value has one region"),
        (
            "  observable: p_value\n  abcd: {regions: [a, b, c, d]}\n",
            "limits.abcd: the observable p_value has its background from the calibration: remove this key",
        ),
        ("  free_normalisation: [ttbr]\n", "limits.free_normalisation.ttbr: no dataset or sample of this document"),
        (
            "  bin_uncertainties: [{sample: tt, size: 0.1}]\n",
            "limits.bin_uncertainties[0].sample: no dataset or sample",
        ),
        (
            "  transfer_factors: [{name: z, samples: {signal: ttbar, b: wjets}}]\n",
            "limits.transfer_factors[0].samples.b: no dataset or sample",
        ),
        ("  abcd: {regions: [a, b, c, d], replaces: [qcd]}\n", "limits.abcd.replaces[0]: no dataset or sample"),
    ],
)
def test_contradictions_of_the_statistical_model(tmp_path: Path, lines: str, message: str) -> None:
    expect(tmp_path, LIMITS + lines, message)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("  p_value_bins: [0.1, 0.01]\n", "limits.p_value_bins: bin edges must increase"),
        ("  p_value_bins: [0.1, 1.0]\n", "limits.p_value_bins[1]: must be less than 1"),
        ("  smoothing: lowess\n", "limits.smoothing"),
        ("  abcd: {regions: [a, b, c]}\n", "limits.abcd.regions"),
        ("  free_normalisation: {ttbar: [2, 3]}\n", "limits.free_normalisation.ttbar[0]: must be at most 1"),
        ("  transfer_factors: [{name: z, samples: {signal: ttbar}}]\n", "must have at least 2 entries"),
        ("  bin_uncertainties: [{sample: ttbar, size: big}]\n", "limits.bin_uncertainties[0].size"),
    ],
)
def test_values_of_the_statistical_model(tmp_path: Path, lines: str, message: str) -> None:
    expect(tmp_path, LIMITS + lines, message)
