"""What every test may use; each part says in the header of a run which real thing it stands on."""

pytest_plugins = ["tests.support.kafka", "tests.support.warehouse"]
