"""A real Apache Kafka that asks who somebody is and what they may do: users with passwords, an ACL for each right."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Final

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from tests.support.kafka import KafkaBroker, KafkaMissing

ADMIN, ADMIN_PASSWORD = "admin", "admin-secret"
USER, PASSWORD = "worker", "worker-secret"
ANSWER_SECONDS_MAX: Final = 20.0
PLAIN: Final = "org.apache.kafka.common.security.plain.PlainLoginModule"
SCRAM: Final = "org.apache.kafka.common.security.scram.ScramLoginModule"


def login(user: str = USER, password: str = PASSWORD) -> dict[str, object]:
    """The settings of a worker that logs in."""
    return {
        "kafka_security_protocol": "SASL_PLAINTEXT",
        "kafka_sasl_mechanism": "SCRAM-SHA-512",
        "kafka_sasl_username": user,
        "kafka_sasl_password": password,
    }


class SecureKafkaBroker(KafkaBroker):
    """Whoever is not `admin` may do what an ACL allows, and nothing else."""

    client: Mapping[str, str] = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanisms": "PLAIN",
        "sasl.username": ADMIN,
        "sasl.password": ADMIN_PASSWORD,
    }

    def _properties(self) -> dict[str, str]:
        here = f"SASL_PLAINTEXT://127.0.0.1:{self.port}"
        jaas = "listener.name.sasl_plaintext.{}.sasl.jaas.config"
        return super()._properties() | {
            "listeners": f"{here},CONTROLLER://127.0.0.1:{self._controller_port}",
            "advertised.listeners": here,
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT",
            "security.inter.broker.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
            jaas.format("plain"): f'{PLAIN} required username="{ADMIN}" password="{ADMIN_PASSWORD}" '
            f'user_{ADMIN}="{ADMIN_PASSWORD}";',
            jaas.format("scram-sha-512"): f"{SCRAM} required;",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": f"User:{ADMIN};User:ANONYMOUS",  # who comes by the controller's own port
        }

    @cached_property
    def admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0, **self.client})

    def add_user(self, user: str, password: str) -> None:
        """Add a user, or give one another password."""
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        change = UserScramCredentialUpsertion(user, info, password.encode())
        for done in self.admin.alter_user_scram_credentials([change]).values():
            done.result(ANSWER_SECONDS_MAX)

    def grant(self, resource: str, name: str, *operations: str, user: str = USER) -> None:
        """``resource`` is `topic` or `group`."""
        for done in self.admin.create_acls([_binding(resource, name, each, user) for each in operations]).values():
            done.result(ANSWER_SECONDS_MAX)

    def revoke(self, resource: str, name: str, *operations: str, user: str = USER) -> None:
        filters = [_filter(resource, name, each, user) for each in operations]
        for done in self.admin.delete_acls(filters).values():
            assert done.result(ANSWER_SECONDS_MAX), f"there was no ACL for {operations} on {name}"


def _binding(resource: str, name: str, operation: str, user: str) -> AclBinding:
    return AclBinding(*_what(resource, name, operation, user))


def _filter(resource: str, name: str, operation: str, user: str) -> AclBindingFilter:
    return AclBindingFilter(*_what(resource, name, operation, user))


def _what(resource: str, name: str, operation: str, user: str) -> tuple[Any, ...]:
    kind, allowed = ResourceType[resource.upper()], AclPermissionType.ALLOW
    return kind, name, ResourcePatternType.LITERAL, f"User:{user}", "*", AclOperation[operation.upper()], allowed


@pytest.fixture(scope="module")
def secure_kafka() -> Iterator[SecureKafkaBroker]:
    """A broker of the module's own; `worker` is there, and may do nothing yet."""
    try:
        with SecureKafkaBroker() as broker:
            broker.add_user(USER, PASSWORD)
            yield broker
    except KafkaMissing as error:
        if os.environ.get("CI"):
            pytest.fail(f"CI must run these tests: {error}", pytrace=False)
        pytest.skip(str(error))  # a machine without Java may still run the other tests; in CI it fails
