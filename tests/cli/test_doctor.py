"""`textgate doctor`: what it says about a store that lacks what textgate needs."""

from botocore.stub import Stubber

from textgate.components.storage import Store
from textgate.pipelines.cli.doctor import _refuses_damage


def test_a_store_that_stores_what_does_not_match_its_checksum_is_found(store: Store) -> None:
    assert _refuses_damage(store, "doctor/probe")
    assert list(store.objects("doctor/")) == []
    with Stubber(store.client) as accepts_everything:
        accepts_everything.add_response("put_object", {})
        accepts_everything.add_response("delete_object", {})
        assert not _refuses_damage(store, "doctor/probe")
