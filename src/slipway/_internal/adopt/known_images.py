"""What is known of images that many projects run: the port that they listen on, and the scheme of their address."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class KnownImage:
    """A program that images of a name run: its port, the scheme of its address, the kinds that stand in for it.

    `is_large` says that it needs more memory than most.
    """

    port: int
    scheme: str = ""
    kinds: tuple[str, ...] = ()
    is_large: bool = False


IMAGES = {
    "postgres": KnownImage(5432, "postgres", ("postgres",)),
    "postgis": KnownImage(5432, "postgres"),
    "mysql": KnownImage(3306, "mysql", ("mysql",)),
    "mariadb": KnownImage(3306, "mysql", ("mariadb",)),
    "redis": KnownImage(6379, "redis", ("redis", "valkey")),
    "redismod": KnownImage(6379, "redis"),
    "valkey": KnownImage(6379, "redis", ("valkey", "redis")),
    "rabbitmq": KnownImage(5672, "amqp", ("rabbitmq",)),
    "mongo": KnownImage(27017, "mongodb", ("mongo", "mongodb")),
    "memcached": KnownImage(11211, "memcached"),
    "nats": KnownImage(4222, "nats"),
    "azure-sql-edge": KnownImage(1433, "mssql", is_large=True),
    "redpanda": KnownImage(9092, "kafka", is_large=True),
    "elasticsearch": KnownImage(9200, is_large=True),
    "kibana": KnownImage(5601, is_large=True),
    "logstash": KnownImage(9600, is_large=True),
    "nginx": KnownImage(80),
    "httpd": KnownImage(80),
    "caddy": KnownImage(80),
    "wordpress": KnownImage(80),
    "nextcloud": KnownImage(80),
    "adminer": KnownImage(8080),
    "grafana": KnownImage(3000),
    "prometheus": KnownImage(9090),
    "minio": KnownImage(9000),
    "mailhog": KnownImage(8025),
    "mailpit": KnownImage(8025),
    "keycloak": KnownImage(8080, is_large=True),
}
"""The last part of an image's name → what it runs."""


def known_image(image: str) -> KnownImage | None:
    """Return what is known of an image, by its name without registry, tag and digest."""
    name = image.partition("@")[0].rpartition("/")[2].partition(":")[0]
    return IMAGES.get(name)
