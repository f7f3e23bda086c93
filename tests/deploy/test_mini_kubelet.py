"""The mini kubelet ignores nothing."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from tools.manifest_lint import Manifests
from tools.mini_kubelet import Cluster


def changed(local: Manifests, **fields: Any) -> Manifests:
    documents = [copy.deepcopy(dict(each)) for each in local.documents]
    (search,) = [
        each
        for each in documents
        if each["kind"] == "Deployment" and each["metadata"]["name"] == "search"
    ]
    search["spec"]["template"]["spec"].update(fields)
    return Manifests(documents)


def test_it_honours_the_whole_local_overlay(local: Manifests, tmp_path: Path) -> None:
    assert Cluster(local, name="test", folder=tmp_path).pods == {}


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"hostAliases": [{"ip": "127.0.0.1"}]}, r"Deployment/search\.hostAliases"),
        ({"automountServiceAccountToken": True}, r"\.automountServiceAccountToken=True"),
        ({"volumes": [{"name": "tmp", "hostPath": {}}]}, r"\.volumes\[0\]\.hostPath"),
        ({"securityContext": {"seccompProfile": {"type": "Unconfined"}}}, r"type=Unconfined"),
    ],
    ids=["unknown field", "other value", "other volume", "other profile"],
)
def test_it_refuses_what_it_would_ignore(
    local: Manifests, tmp_path: Path, fields: dict[str, Any], path: str
) -> None:
    with pytest.raises(ValueError, match=path):
        Cluster(changed(local, **fields), name="test", folder=tmp_path)
