"""A round trip with a client that openapi-python-client made of the document: python round.py URL"""

import sys
import time
from collections.abc import Callable
from http import HTTPStatus

from bridge_client import Client
from bridge_client.api.consumers import create_consumer, delete_consumer
from bridge_client.api.resource_bundles import (
    create_resource_bundle,
    delete_resource_bundle,
    get_resource_bundle,
    list_resource_bundles,
    patch_resource_bundle,
)
from bridge_client.models import (
    Consumer,
    ConsumerCreate,
    DeleteOption,
    DeleteOptionPropagationPolicy,
    ErrorBody,
    Manifest,
    ResourceBundle,
    ResourceBundleCreate,
    ResourceBundleList,
    ResourceBundlePatch,
)
from bridge_client.types import UNSET

NAME = "from-python"


def manifest(value: str) -> Manifest:
    return Manifest.from_dict(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME, "namespace": "default"}, "data": {"value": value}}
    )


def until(bridge: Client, id: str, what: str, holds: Callable[[ResourceBundle | None], bool]) -> None:
    """Waits until this holds for the bundle; it is None when it is not there."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        answer = get_resource_bundle.sync_detailed(id, client=bridge)
        if answer.status_code == HTTPStatus.NOT_FOUND:
            found = None
        else:
            assert isinstance(answer.parsed, ResourceBundle), answer.parsed
            found = answer.parsed
        if holds(found):
            return
        time.sleep(0.05)
    raise AssertionError(f"not within 30 s: {what}")


def is_applied(bundle: ResourceBundle | None) -> bool:
    if bundle is None or not bundle.status:
        return False
    conditions = bundle.status.conditions or []
    return any(condition.type_ == "Applied" and condition.status == "True" for condition in conditions)


def main(url: str) -> None:
    bridge = Client(base_url=url)
    consumer = create_consumer.sync(client=bridge, body=ConsumerCreate.from_dict({"name": NAME, "labels": {"made": "by-python"}}))
    assert isinstance(consumer, Consumer) and consumer.labels, consumer
    assert consumer.labels["made"] == "by-python"

    new = ResourceBundleCreate.from_dict(
        {
            "consumer_name": "cluster1",
            "name": NAME,
            "metadata": {"name": "work", "labels": {"app.kubernetes.io/name": NAME}},
            "manifests": [manifest("1").to_dict()],
            "manifest_configs": [
                {
                    "resourceIdentifier": {"group": "", "resource": "configmaps", "name": NAME, "namespace": "default"},
                    "updateStrategy": {"type": "ServerSideApply", "serverSideApply": {"force": True}},
                }
            ],
        }
    )
    new.delete_option = DeleteOption(propagation_policy=DeleteOptionPropagationPolicy.FOREGROUND)
    created = create_resource_bundle.sync(client=bridge, body=new)
    assert isinstance(created, ResourceBundle), created
    assert created.version == 1 and created.ledger and created.ledger[0].version == 1
    assert created.delete_option and created.delete_option.propagation_policy == "Foreground"

    search = f"consumer_name = 'cluster1' and labels.app.kubernetes.io/name = '{NAME}'"
    page = list_resource_bundles.sync(client=bridge, search=search, fields="id,version", size=10)
    assert isinstance(page, ResourceBundleList) and page.total == 1, page
    assert page.items[0].id == created.id and page.items[0].version == 1
    assert page.items[0].name is UNSET and page.items[0].manifests is UNSET

    until(bridge, created.id, "it is applied", is_applied)

    change = ResourceBundlePatch(version=1, manifests=[manifest("2")], delete_option=None)
    changed = patch_resource_bundle.sync(created.id, client=bridge, body=change)
    assert isinstance(changed, ResourceBundle) and changed.version == 2, changed
    assert changed.delete_option is UNSET
    stale = patch_resource_bundle.sync_detailed(created.id, client=bridge, body=change)
    assert stale.status_code == HTTPStatus.CONFLICT
    assert isinstance(stale.parsed, ErrorBody) and stale.parsed.latest_version == 2, stale
    missing = get_resource_bundle.sync("none", client=bridge)
    assert isinstance(missing, ErrorBody) and missing.code == "maestro-7", missing

    deleted = delete_resource_bundle.sync_detailed(created.id, client=bridge)
    assert deleted.status_code == HTTPStatus.NO_CONTENT
    until(bridge, created.id, "it is gone", lambda bundle: bundle is None)
    removed = delete_consumer.sync_detailed(NAME, client=bridge)
    assert removed.status_code == HTTPStatus.NO_CONTENT
    print("done")


main(sys.argv[1])
