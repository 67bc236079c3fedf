"""The Helm chart, rendered by Helm itself: what Kubernetes accepts, and what no schema sees."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import helm_python as helm
import kubernetes_validate.utils as kubernetes
import pytest
import yaml
from click.testing import CliRunner

from jupyter_mlops._version import __version__
from jupyter_mlops.cli.main import root
from jupyter_mlops.core.access import Scope
from jupyter_mlops.hub.application import PORT
from jupyter_mlops.hub.configuration import CLUSTER_URL, POD_LABELS
from jupyter_mlops.service.app import routes
from jupyter_mlops.service.handlers import ApiHandler

DEPLOY = Path(__file__).parents[2] / "deploy"
CHART = DEPLOY / "helm" / "jupyter-mlops"

Manifest = dict[str, Any]
DATABASE = "postgresql://mlops:pa:ss@db/mlops"
BUCKET: Mapping[str, Any] = {"database": {"url": DATABASE}, "artifacts": {"url": "s3://team-mlops/artifacts"}}
VOLUME: Mapping[str, Any] = {"database": {"existingSecret": "own", "key": "url"}}
ALL: Mapping[str, Any] = {
    "name": "tracking",
    "image": {"repository": "registry.example.org/mlops", "tag": "7", "pullSecrets": ["pull"]},
    "replicas": 3,
    "hub": {
        "baseUrl": "/jupyter/",
        "host": "https://hub.example.org",
        "publicUrl": "https://tracking--service.hub.example.org/",
        "tokenSecret": {"name": "z2jh-hub", "key": "token"},
    },
    "database": {"existingSecret": "own"},
    "artifacts": {"volume": {"existingClaim": "files"}},
    "cookieSecret": {"existingSecret": "own", "key": "cookies"},
    "config": "c.MLOpsService.threads = 16\nc.HubIdentity.cache_seconds = 60\n",
    "environment": {"AWS_ENDPOINT_URL": "https://s3.example.org", "FLAG": "true"},
    "environmentSecrets": ["bucket"],
    "upgradeDatabase": True,
    "worker": {"enabled": True, "args": ["--check", "loads"], "egressPorts": [443]},
    "serviceAccount": {"name": "with-bucket", "annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/m"}},
    "networkPolicy": {"ingressFrom": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}]},
    "nodeSelector": {"pool": "core"},
    "tolerations": [{"key": "core", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "podAnnotations": {"prometheus.io/scrape": "true"},
}
CASES = {"bucket": BUCKET, "volume": VOLUME, "all": ALL}


def rendered(values: Mapping[str, Any]) -> list[Manifest]:
    with helm.Chart.load(CHART) as chart:
        # Rendering alone does not look at the schema, as `helm install` does.
        chart.validate_schema(dict(values))
        files = chart.render(dict(values), name="team", namespace="jupyter")
    return [
        document
        for path, text in files.items()
        if path.endswith(".yaml")
        for document in yaml.safe_load_all(text)
        if document is not None
    ]


@pytest.fixture(scope="module", params=CASES)
def manifests(request: pytest.FixtureRequest) -> list[Manifest]:
    return rendered(CASES[request.param])


def of_kind(manifests: list[Manifest], kind: str, suffix: str = "") -> Manifest:
    """The one of the service, or what is named after it."""
    (found,) = [
        each
        for each in manifests
        if each["kind"] == kind and each["metadata"]["name"].partition("-")[2] == suffix.removeprefix("-")
    ]
    return found


def pods(manifests: list[Manifest]) -> Iterator[Manifest]:
    return (each["spec"]["template"] for each in manifests if each["kind"] in ("Deployment", "Job"))


def selected(selector: Mapping[str, Any], manifests: list[Manifest]) -> list[str]:
    """The components of the pods that a selector finds."""
    found = []
    for pod in pods(manifests):
        labels = pod["metadata"]["labels"]
        among = all(labels.get(each["key"]) in each["values"] for each in selector.get("matchExpressions", ()))
        if among and selector.get("matchLabels", {}).items() <= labels.items():
            found.append(labels["component"])
    return sorted(found)


@pytest.mark.parametrize("values", CASES.values(), ids=CASES)
def test_helm_finds_nothing_to_say(values: Mapping[str, Any]) -> None:
    report = helm.lint(CHART, dict(values), strict=True)
    assert not report["errors"]
    assert [each for each in report["messages"] if each["severity"] > 1] == []


def supported() -> list[str]:
    """The versions of Kubernetes that the chart says it is for, of those whose schemas are known."""
    oldest = re.search(r"^kubeVersion: .>=1\.(\d+)", (CHART / "Chart.yaml").read_text(), re.MULTILINE)
    assert oldest is not None
    known = {kubernetes.major_minor(version) for version in kubernetes.all_versions()}
    return sorted((each for each in known if int(each.split(".")[1]) >= int(oldest[1])), key=lambda v: int(v[2:]))


def test_kubernetes_accepts_it(manifests: list[Manifest]) -> None:
    """Strictly, so that a field that Kubernetes does not know is found too; by the schema of each version."""
    assert len(supported()) > 5
    for version in supported():
        for manifest in manifests:
            kubernetes.validate(manifest, version, strict=True)


def test_each_selector_finds_the_pods_it_means(manifests: list[Manifest]) -> None:
    deployment = of_kind(manifests, "Deployment")
    all_of_them = sorted(pod["metadata"]["labels"]["component"] for pod in pods(manifests))
    (spread,) = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
    for selector in (
        deployment["spec"]["selector"],
        {"matchLabels": of_kind(manifests, "Service")["spec"]["selector"]},
        spread["labelSelector"],
        of_kind(manifests, "PodDisruptionBudget")["spec"]["selector"],
    ):
        assert selected(selector, manifests) == ["service"]
    # The job that upgrades the database needs to reach it as well.
    guarded = selected(of_kind(manifests, "NetworkPolicy")["spec"]["podSelector"], manifests)
    assert guarded == [each for each in all_of_them if each != "worker"]
    assert selected({"matchLabels": POD_LABELS}, manifests) == all_of_them


def test_a_worker_reaches_the_service_and_not_the_database() -> None:
    manifests = rendered(ALL)
    deployment, policy = of_kind(manifests, "Deployment", "worker"), of_kind(manifests, "NetworkPolicy", "worker")
    assert selected(deployment["spec"]["selector"], manifests) == ["worker"]
    assert selected(policy["spec"]["podSelector"], manifests) == ["worker"]
    _, to_service, elsewhere = policy["spec"]["egress"]
    assert selected(to_service["to"][0]["podSelector"], manifests) == ["service"]
    assert elsewhere == {"ports": [{"port": 443}]}
    (ingress,) = of_kind(manifests, "NetworkPolicy")["spec"]["ingress"]
    assert selected(ingress["from"][1]["podSelector"], manifests) == ["worker"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    service = of_kind(manifests, "Service")
    prefix = environment(container_of(manifests))["JUPYTERHUB_SERVICE_PREFIX"]
    url = f"http://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}{prefix}"
    assert environment(container)["MLOPS_TRACKING_URL"] == url.rstrip("/")


def test_ports_are_named_and_are_where_the_service_listens(manifests: list[Manifest]) -> None:
    container = container_of(manifests)
    assert container["ports"] == [{"name": "http", "containerPort": PORT}]
    (port,) = of_kind(manifests, "Service")["spec"]["ports"]
    assert port["targetPort"] == "http"
    assert environment(container)["JUPYTERHUB_SERVICE_URL"] == f"http://0.0.0.0:{PORT}"
    assert f"http://mlops:{port['port']}" == CLUSTER_URL
    for name in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[name]["httpGet"]["port"] == "http"
    (ingress,) = of_kind(manifests, "NetworkPolicy")["spec"]["ingress"]
    assert ingress["ports"] == [{"port": "http"}]


def test_probes_ask_what_the_service_answers_without_a_token(manifests: list[Manifest]) -> None:
    class Nobody:
        handler_class = object

    class Empty:
        identity = Nobody()

    container = container_of(manifests)
    prefix = environment(container)["JUPYTERHUB_SERVICE_PREFIX"]
    answered = {pattern: handler for pattern, handler, _ in routes(Empty(), prefix)}  # type: ignore[arg-type]
    for probe, name in (("startupProbe", "health"), ("livenessProbe", "health"), ("readinessProbe", "ready")):
        path = container[probe]["httpGet"]["path"]
        assert path == f"{prefix}{name}"
        handler = next(handler for pattern, handler in answered.items() if re.fullmatch(pattern, path))
        assert issubclass(handler, ApiHandler)
        assert handler.scopes["GET"] is Scope.NONE


def test_what_pods_refer_to_is_there(manifests: list[Manifest]) -> None:
    """Secrets with the keys, config maps, claims and the service account: made by the chart, or named by its user."""
    own = {
        (each["kind"], each["metadata"]["name"]): each
        for each in manifests
        if each["kind"] in ("Secret", "ConfigMap", "PersistentVolumeClaim", "ServiceAccount")
    }
    outside = {
        ("Secret", "hub", "hub.services.mlops.apiToken"),
        ("Secret", "z2jh-hub", "token"),
        ("Secret", "hub", "hub.services.tracking-worker.apiToken"),
        ("Secret", "own", "url"),
        ("Secret", "own", "database-url"),
        ("Secret", "own", "cookies"),
    }
    used = set()
    for pod in pods(manifests):
        spec = pod["spec"]
        assert ("ServiceAccount", spec["serviceAccountName"]) in own
        (container,) = spec["containers"]
        for variable in container["env"]:
            if "valueFrom" in variable:
                reference = variable["valueFrom"]["secretKeyRef"]
                secret = own.get(("Secret", reference["name"]))
                if secret is None or reference["key"] not in secret["data"]:
                    assert ("Secret", reference["name"], reference["key"]) in outside
                used.add(("Secret", reference["name"]))
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes.keys()
        for volume in volumes.values():
            if "configMap" in volume:
                used.add(("ConfigMap", volume["configMap"]["name"]))
                assert ("ConfigMap", volume["configMap"]["name"]) in own
            if "persistentVolumeClaim" in volume:
                claim = volume["persistentVolumeClaim"]["claimName"]
                used.add(("PersistentVolumeClaim", claim))
                assert claim == "files" or ("PersistentVolumeClaim", claim) in own
    # Nothing is made that nothing uses.
    assert {key for key in own if key[0] != "ServiceAccount"} <= used


def test_secrets_are_what_the_service_takes() -> None:
    secret = of_kind(rendered(BUCKET), "Secret")["data"]
    assert base64.b64decode(secret["database-url"]).decode() == DATABASE
    assert re.fullmatch(rb"[0-9a-f]{64}", base64.b64decode(secret["cookie-secret"]))


def test_no_secret_is_in_anything_else(manifests: list[Manifest]) -> None:
    assert "pa:ss" not in yaml.safe_dump([each for each in manifests if each["kind"] != "Secret"])


def test_the_command_lines_are_the_programs(manifests: list[Manifest], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is one of ours that parses, and every file on it is mounted."""
    called = []
    monkeypatch.setattr("click.Command.invoke", lambda self, context: called.append(context.command_path))
    for pod in pods(manifests):
        (container,) = pod["spec"]["containers"]
        python, flag, package, *words = [*container["command"], *container.get("args", [])]
        assert (python, flag, package) == ("python", "-m", "jupyter_mlops")
        ended = CliRunner().invoke(root, words)
        assert ended.exit_code == 0, ended.output
        for file in (word for word in words if word.startswith("/")):
            mount = next(each for each in container["volumeMounts"] if file.startswith(f"{each['mountPath']}/"))
            assert mount["name"] == "config"
            assert Path(file).name in of_kind(manifests, "ConfigMap")["data"]
    assert called


def test_the_service_reads_every_variable(manifests: list[Manifest]) -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in (DEPLOY.parent / "jupyter_mlops").rglob("*.py"))
    for pod in pods(manifests):
        (container,) = pod["spec"]["containers"]
        for name in (variable["name"] for variable in container["env"]):
            if name.startswith(("MLOPS_", "JUPYTERHUB_")):
                assert f'"{name}"' in source, f"{name} is read by nobody"


def test_pods_are_confined(manifests: list[Manifest]) -> None:
    """As the restricted profile of Kubernetes' pod security asks for, and with nothing to write to but scratch."""
    for pod in pods(manifests):
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        (container,) = spec["containers"]
        confined = container["securityContext"]
        assert confined["allowPrivilegeEscalation"] is False
        assert confined["readOnlyRootFilesystem"] is True
        assert confined["capabilities"] == {"drop": ["ALL"]}
        home = environment(container)["MLOPS_HOME"]
        assert any(home.startswith(f"{mount['mountPath']}/") for mount in container["volumeMounts"])


def test_a_volume_of_one_pod_is_let_go_of_before_the_next() -> None:
    disk = {**VOLUME, "replicas": 1, "artifacts": {"volume": {"accessMode": "ReadWriteOnce"}}}
    assert of_kind(rendered(disk), "Deployment")["spec"]["strategy"] == {"type": "Recreate"}
    gently = {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    for values in (BUCKET, VOLUME):
        assert of_kind(rendered(values), "Deployment")["spec"]["strategy"] == gently


def test_the_chart_is_of_this_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == __version__
    assert chart["version"] == re.sub(r"\.(dev|rc|a|b)(\d+)$", r"-\1.\2", __version__)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        pytest.param({}, "say where the database is", id="no database"),
        pytest.param({"database": {"url": DATABASE, "existingSecret": "own"}}, "leave one out", id="two databases"),
        pytest.param(
            {**VOLUME, "artifacts": {"volume": {"accessMode": "ReadWriteOnce"}}},
            "several replicas need artifacts.url",
            id="two replicas on one disk",
        ),
        pytest.param({"database": {"url": "sqlite:////data/mlops.db"}}, "pattern", id="SQLite"),
        pytest.param({**BUCKET, "replica": 3}, "replica", id="a slip of the pen"),
    ],
)
def test_what_cannot_work_is_refused(values: Mapping[str, Any], said: str) -> None:
    with pytest.raises(helm.HelmError, match=said):
        rendered(values)


def test_the_values_for_the_hub_are_what_the_command_prints() -> None:
    ended = CliRunner().invoke(root, ["hub-config", "--z2jh"])
    text = (DEPLOY / "z2jh" / "values.yaml").read_text(encoding="utf-8")
    assert text.split("\n\n", 1)[1] == ended.stdout


def test_the_hub_and_the_chart_agree() -> None:
    """On where the service is, what its token is called, and how notebook servers reach it."""
    values = yaml.safe_load((DEPLOY / "z2jh" / "values.yaml").read_text(encoding="utf-8"))
    defaults = rendered(BUCKET)
    service = of_kind(defaults, "Service")
    (entry,) = values["hub"]["services"].items()
    url = f"http://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    assert entry[0] == service["metadata"]["name"]
    assert entry[1]["url"] == url
    prefix = environment(container_of(defaults))["JUPYTERHUB_SERVICE_PREFIX"]
    assert values["singleuser"]["extraEnv"]["MLOPS_TRACKING_URL"] == f"{url}{prefix}".rstrip("/")
    (egress,) = values["singleuser"]["networkPolicy"]["egress"]
    assert selected(egress["to"][0]["podSelector"], defaults) == ["service"]
    # A policy's port is that of the pod.
    assert egress["ports"] == [{"port": container_of(defaults)["ports"][0]["containerPort"], "protocol": "TCP"}]


def container_of(manifests: list[Manifest]) -> Manifest:
    (container,) = of_kind(manifests, "Deployment")["spec"]["template"]["spec"]["containers"]
    return container


def environment(container: Manifest) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in container["env"] if "value" in variable}
