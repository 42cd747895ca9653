"""Backup of brokers and spools, the loss of all of them, and the restore, as docs/availability.md describes."""

from tests.availability.result import Goal
from tests.availability.scenario import Scenario, World
from tests.availability.terminal import show
from tests.cluster.stack import COLLECTORS, NODES, PROCESSORS, ComposeCluster
from tests.support.compose import USER_OF_THE_HISTORY

BEFORE_S = 20.0
SPOOLED_S = 10.0

ARCHIVE = """
archive() {
  container=$(docker compose ps --all --quiet "$1")
  image=$(docker inspect --format '{{.Image}}' "$container")
  docker run --rm --volumes-from "$container" --volume "$PWD/backup:/backup" --user 0 --entrypoint tar "$image" "${@:2}"
}"""
DESTROY = """
docker compose rm --stop --force
docker volume rm $(docker volume ls --quiet --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME")
"""
"""Unlike `down`, it leaves the network, which the target of the test listens on."""

BROKER_DATA, SPOOL_DATA = "/var/lib/rabbitmq", "/var/lib/eventflow/spool"


async def restore_from_backup(world: World[ComposeCluster]) -> None:
    cluster = world.cluster
    await cluster.sh("docker compose run --rm -T eventflow pause default")  # so that the backup has many events
    await world.pause(BEFORE_S)
    await cluster.sh(f"docker compose stop {' '.join(NODES)}")
    await world.pause(SPOOLED_S)  # the spools have some too
    await world.load.stop()
    await cluster.sh(f"docker compose stop {' '.join(COLLECTORS)}")
    show("backing up")
    places = {**dict.fromkeys(NODES, BROKER_DATA), **dict.fromkeys(COLLECTORS, SPOOL_DATA)}
    for service, place in places.items():
        await cluster.sh(f"{ARCHIVE}\nmkdir -p backup\narchive {service} -C {place} -cf /backup/{service}.tar .")
    sizes = (await cluster.sh("du --bytes --total backup/*.tar | tail -n 1 | cut -f 1")).strip()
    show("destroying all containers and volumes, and restoring")
    await cluster.sh(DESTROY)
    await cluster.sh("docker compose create")
    for service, place in places.items():
        await cluster.sh(f"{ARCHIVE}\narchive {service} -C {place} -xpf /backup/{service}.tar")
    await cluster.sh(f"docker compose up --detach --wait {' '.join(NODES)} postgres", within_s=300)
    await cluster.sh(USER_OF_THE_HISTORY)
    await cluster.sh("docker compose up --detach --wait", within_s=300)
    for service in (*COLLECTORS, *PROCESSORS):
        await cluster.is_ready(service)
    await cluster.sh("docker compose run --rm -T eventflow resume default")
    world.remarks.append(f"backup of {int(sizes) / 1e6:.0f} MB; no event arrived between it and the loss")


SCENARIOS = (
    Scenario(
        name="brokers and spools lost, and restored from a backup",
        fault=restore_from_backup,
        goal=Goal(quota_min=None),
        calm_s=0,
        rest_within_s=400,
    ),
)
