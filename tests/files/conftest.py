"""Alice's tree, as the stories about it begin."""

import pytest


@pytest.fixture
def root(api, laptop):
    """Alice's root folder as the API shows it."""
    return api(laptop).get("/folders/root").json()


@pytest.fixture
def make(api, laptop):
    """make(parent, name) -> the folder, made by the laptop."""

    def make(parent, name):
        answer = api(laptop).post(
            "/folders", {"parent_folder_id": parent["folder_id"], "name": name}
        )
        assert answer.status_code == 201, answer.content
        return answer.json()

    return make
