"""The configuration files of ``jobs/``: what Serve reads there, and a real deployment of one, scaled to nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from darkop_dist.scoring.local import LocalScorer
from darkop_dist.scoring.pool import PoolSettings
from darkop_dist.scoring.pool.messages import SERVICER
from darkop_dist.scoring.pool.settings import APPLICATION, validated

JOBS = Path(__file__).parents[3] / "jobs"

DEPLOY = """
import json, sys, time
from pathlib import Path
import numpy as np
import urllib3
from ruamel.yaml import YAML
from ray.serve.config import HTTPOptions
from darkop_dist.scoring.pool.head import free_port, own_ray
from darkop_dist.scoring.pool.settings import PoolSettings
from darkop_dist.scoring.pool.status import look
from darkop_dist.scoring.wire import ModelDescription, decode_scores, encode_batch

file, batch_file, folder = sys.argv[1:]
content = YAML(typ="safe").load(Path(file).read_text())
port = content["http_options"]["port"] = free_port("127.0.0.1", 0, "--port")
content["applications"][0]["args"]["replicas"] = {"least": 0, "most": 1, "grow_s": 0.1, "shrink_s": 1.0}
content["applications"][0]["args"]["cpus"] = 0.5
with own_ray(PoolSettings(models={"m": "m"}), folder=folder):
    from ray import serve
    from ray.serve.schema import ServeDeploySchema
    from ray.serve.context import _get_global_client

    serve.start(http_options=HTTPOptions(host=content["http_options"]["host"], port=port))
    client = _get_global_client()
    client.deploy_apps(ServeDeploySchema.model_validate(content), _blocking=True)
    http = f"http://127.0.0.1:{port}"
    described = ModelDescription.model_validate(urllib3.request("GET", http + "/v1/models").json()[0])
    batch = {"fields": np.load(batch_file)}

    def score():
        began = time.monotonic()
        body = encode_batch(batch, described.input_specs).to_pybytes()
        answer = urllib3.request("POST", f"{http}/v1/models/{described.name}/score", body=body, timeout=90, retries=False)
        assert answer.status == 200, answer.data
        return decode_scores(answer.data).tolist(), time.monotonic() - began

    first, _ = score()
    deadline = time.monotonic() + 90
    while look().replicas.get("RUNNING"):
        assert time.monotonic() < deadline, look()
        time.sleep(0.5)
    empty = look()
    again, waited_s = score()
    print(json.dumps({"first": first, "again": again, "waited_s": waited_s, "state": empty.state, "models": empty.models}))
"""


def load(name: str) -> Any:
    return YAML(typ="safe").load((JOBS / name).read_text())


def serve_config(content: Any) -> Any:
    from ray.serve.schema import ServeDeploySchema

    return ServeDeploySchema.model_validate(content)


def check_application(config: Any) -> PoolSettings:
    (one,) = config.applications
    assert (one.name, one.route_prefix) == (APPLICATION, "/")
    module, _, name = one.import_path.partition(":")
    assert (module, name) == ("darkop_dist.scoring.pool.application", "build")
    given = {key: value for key, value in one.args.items() if key != "insecure_behind_tls_proxy"}
    return validated(PoolSettings, **given)


def test_the_file_for_a_ray_cluster_is_what_serve_reads() -> None:
    config = serve_config(load("serve_ray.yml"))
    settings = check_application(config)
    assert config.http_options.host == "127.0.0.1"
    assert settings.models == {"cylinder-fno-v1": "cylinder-fno-v1"}


def test_the_file_for_a_ray_cluster_also_with_its_comments() -> None:
    """What stands there as a comment must be right as well: it is taken over by taking the marks away."""
    text = (JOBS / "serve_ray.yml").read_text()
    text = "\n".join(
        line.replace("# ", "", 1) if line.lstrip().startswith(("# grpc_opt", "#   ", "# access", "# ssl_")) else line
        for line in text.splitlines()
        if not line.startswith("#     serve ")
    )
    config = serve_config(YAML(typ="safe").load(text))
    assert config.grpc_options.port == 9000
    assert config.grpc_options.grpc_servicer_functions == [SERVICER]
    assert str(config.http_options.ssl_keyfile) == "/etc/darkop/tls.key"
    assert check_application(config).access.requests_per_s == 200


def test_the_file_for_kuberay_holds_what_serve_reads_and_what_the_operator_needs() -> None:
    content = load("serve_kuberay.yml")
    assert (content["apiVersion"], content["kind"]) == ("ray.io/v1", "RayService")
    config = serve_config(YAML(typ="safe").load(content["spec"]["serveConfigV2"]))
    settings = check_application(config)
    cluster = content["spec"]["rayClusterConfig"]
    import ray

    assert cluster["rayVersion"] == ray.__version__
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for group in groups:
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())  # the operator takes no others
        (container,) = group["template"]["spec"]["containers"]
        assert settings.access.token_env in [one["name"] for one in container["env"]]
    (workers,) = cluster["workerGroupSpecs"]
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]
    assert workers["template"]["spec"]["terminationGracePeriodSeconds"] > settings.drain_s
    limits = workers["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert settings.replicas.most * settings.cpus <= workers["maxReplicas"] * float(limits["cpu"])


@pytest.mark.slow
def test_the_file_for_a_ray_cluster_deploys_and_scales_to_nothing_and_back(
    tmp_path: Path, short_folder: Path, make_batch: Callable[..., Any]
) -> None:
    packaged = LocalScorer.from_checkpoint("cylinder-fno-v1")
    batch = make_batch(packaged, 20)
    np.save(tmp_path / "batch.npy", batch["fields"])
    arguments = [str(JOBS / "serve_ray.yml"), str(tmp_path / "batch.npy"), str(short_folder)]
    done = subprocess.run(
        [sys.executable, "-c", DEPLOY, *arguments], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    expected = packaged.score(batch).tolist()
    assert found["first"] == expected
    assert found["again"] == expected
    assert found["models"] == {"cylinder-fno-v1": packaged.fingerprint}
    assert found["state"] == "RUNNING"
    assert found["waited_s"] < 60
