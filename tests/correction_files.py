"""Files in the published layouts of CMS's corrections, with numbers that can be checked by hand."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from correctionlib import schemav2

MC = "Summer19UL16_V7_MC"
DATA = "Summer19UL16_RunFGH_V7_DATA"
NAMES = {"simulation": f"{MC}_L1L2L3Res_AK4PFchs", "data": f"{DATA}_L1L2L3Res_AK4PFchs"}
RESOLUTION = {
    "resolution": "Summer20UL16_JRV3_MC_PtResolution_AK4PFchs",
    "scale_factor": "Summer20UL16_JRV3_MC_ScaleFactor_AK4PFchs",
}


def variable(name: str, kind: str = "real") -> dict[str, str]:
    return {"name": name, "type": kind}


def correction(name: str, inputs: list[dict[str, str]], data: Any) -> dict[str, Any]:
    return {"name": name, "version": 1, "inputs": inputs, "output": variable("correction"), "data": data}


def formula(expression: str, *variables: str) -> dict[str, Any]:
    return {"nodetype": "formula", "expression": expression, "parser": "TFormula", "variables": list(variables)}


def by_eta(inner: float, outer: float) -> dict[str, Any]:
    """One number in |eta| < 2, another one outside, as CMS bins its scale factors."""
    return {
        "nodetype": "binning",
        "input": "JetEta",
        "edges": [-5.4, -2.0, 2.0, 5.4],
        "content": [outer, inner, outer],
        "flow": "error",
    }


def levels(prefix: str, residual: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """L1: 1 - rho area / pt; L2: 1.05 in the barrel, 1.1 outside; L3: 1 + 2/pt; and a residual."""
    pt, eta, area, rho = (variable(name) for name in ("JetPt", "JetEta", "JetA", "Rho"))
    suffix = "AK4PFchs"
    run = [variable("run")] if "z" in residual else []
    parts = [
        correction(
            f"{prefix}_L1FastJet_{suffix}", [area, eta, pt, rho], formula("max(0.0001,1-z*x/y)", "JetA", "JetPt", "Rho")
        ),
        correction(f"{prefix}_L2Relative_{suffix}", [eta, pt], by_eta(1.05, 1.1)),
        correction(f"{prefix}_L3Absolute_{suffix}", [pt], formula("1+2/x", "JetPt")),
        correction(
            f"{prefix}_L2L3Residual_{suffix}",
            [eta, pt, *run],
            formula(residual, "JetEta", "JetPt", *(["run"] if run else [])),
        ),
    ]
    whole = {
        "name": f"{prefix}_L1L2L3Res_{suffix}", "inputs": [area, eta, pt, rho, *run], "output": variable("correction"),
        "inputs_update": ["JetPt"], "input_op": "*", "output_op": "*", "stack": [part["name"] for part in parts],
    }  # fmt: skip
    return parts, whole


def jerc() -> dict[str, Any]:
    """In the layout of jet_jerc.json: levels, compound corrections, uncertainties, resolution and its scale factor."""
    pt, eta, rho = (variable(name) for name in ("JetPt", "JetEta", "Rho"))
    simulation, compound = levels(MC, "1")
    data, data_compound = levels(DATA, "1+0.02*(z>1000)")
    uncertainties = {"Total": "0.01+1/y", "FlavorQCD": "0.008", "AbsoluteStat": "0.002+0.001*abs(x)"}
    sources = [
        correction(f"{MC}_{name}_AK4PFchs", [eta, pt], formula(text, "JetEta", "JetPt"))
        for name, text in uncertainties.items()
    ]
    ways = [
        {"key": way, "value": by_eta(1.1 + shift, 1.2 + 2 * shift)}
        for way, shift in (("nom", 0.0), ("up", 0.05), ("down", -0.05))
    ]
    resolution = [
        correction(RESOLUTION["resolution"], [eta, pt, rho], formula("sqrt(0.0025+1/x)", "JetPt")),
        correction(
            RESOLUTION["scale_factor"],
            [eta, variable("systematic", "string")],
            {"nodetype": "category", "input": "systematic", "content": ways},
        ),
    ]
    content = {
        "schema_version": 2,
        "corrections": [*simulation, *data, *sources, *resolution],
        "compound_corrections": [compound, data_compound],
    }
    schemav2.CorrectionSet.model_validate(content)
    return content


def jerc_file(path: Path) -> Path:
    """Compressed, as it is published."""
    path.write_bytes(gzip.compress(json.dumps(jerc()).encode()))
    return path


def pileup_file(path: Path, nominal: list[float], up: list[float], down: list[float], flow: Any = "clamp") -> Path:
    """In the layout of puWeights.json."""
    ways = [
        {
            "key": way,
            "value": {
                "nodetype": "binning",
                "input": "NumTrueInteractions",
                "edges": [float(n) for n in range(len(values) + 1)],
                "content": values,
                "flow": flow,
            },
        }
        for way, values in (("nominal", nominal), ("up", up), ("down", down))
    ]
    made = correction(
        "Collisions16_UltraLegacy_goldenJSON", [variable("NumTrueInteractions"), variable("weights", "string")],
        {"nodetype": "category", "input": "weights", "content": ways},
    )  # fmt: skip
    path.write_text(json.dumps({"schema_version": 2, "corrections": [made]}))
    return path
