import base64
from typing import Any

import pytest

from deploy.flytoml.appconfig import parse
from deploy.flytoml.guest import SIZES
from tests.deploy.flytoml.texts import config_of, problems_of

TWO_GROUPS = '[processes]\nweb = "w"\nworker = "x"\n'


def test_a_vm_section_without_processes_is_for_every_group_that_has_none_of_its_own() -> None:
    text = f"""
        {TWO_GROUPS}
        [[vm]]
          size = "shared-cpu-4x"
        [[vm]]
          size = "performance-1x"
          memory_mb = 4096
          processes = ["worker"]
    """
    assert config_of(text, "web")["guest"] == SIZES["shared-cpu-4x"]
    assert config_of(text, "worker")["guest"] == {**SIZES["performance-1x"], "memory_mb": 4096}


@pytest.mark.parametrize(
    ("said", "guest"),
    [
        ("", {"cpu_kind": "shared", "cpus": 1, "memory_mb": 256}),
        ("memory = 512", {"cpu_kind": "shared", "cpus": 1, "memory_mb": 512}),
        ('memory = "512"', {"cpu_kind": "shared", "cpus": 1, "memory_mb": 512}),
        ('memory = "1.5GiB"', {"cpu_kind": "shared", "cpus": 1, "memory_mb": 1536}),
        ('cpu_kind = "performance"', {"cpu_kind": "performance", "cpus": 1, "memory_mb": 256}),
        (
            'gpu_kind = "l40s"',
            {"cpu_kind": "performance", "cpus": 8, "memory_mb": 16384, "gpu_kind": "l40s"},
        ),
        (
            'kernel_args = "quiet"\nhost_dedication_id = "mine"',
            {
                "cpu_kind": "shared",
                "cpus": 1,
                "memory_mb": 256,
                "kernel_args": ["quiet"],
                "host_dedication_id": "mine",
            },
        ),
    ],
)
def test_a_guest_is_a_preset_and_what_is_said_on_top(said: str, guest: dict[str, Any]) -> None:
    assert config_of(f"[[vm]]\n{said}")["guest"] == guest


def test_without_a_vm_section_the_guest_is_left_to_the_machine() -> None:
    assert "guest" not in config_of('host_dedication_id = "mine"')


def test_mounts_carry_the_volumes_name_and_how_it_grows() -> None:
    text = """
        [[mounts]]
          source = "data"
          destination = "/data"
          initial_size = "30gb"
          snapshot_retention = 7
          scheduled_snapshots = true
          auto_extend_size_threshold = 80
          auto_extend_size_increment = "1GB"
          auto_extend_size_limit = 5
    """
    mount = {
        "name": "data",
        "path": "/data",
        "extend_threshold_percent": 80,
        "add_size_gb": 1,
        "size_gb_limit": 5,
    }
    assert config_of(text)["mounts"] == [mount]
    assert parse(text).groups[0].has_mounts


def test_a_single_table_counts_as_a_list_of_one() -> None:
    text = """
        [mounts]
          source = "data"
          destination = "/data"
        [vm]
          memory = 512
        [restart]
          policy = "always"
        [metrics]
          port = 9091
    """
    config = config_of(text)
    assert config["mounts"] == [{"name": "data", "path": "/data"}]
    assert config["guest"]["memory_mb"] == 512
    assert config["restart"] == {"policy": "always"}
    assert config["metrics"] == {"port": 9091}


def test_a_local_file_is_read_through_the_callers_function() -> None:
    text = '[[files]]\nguest_path = "/etc/x"\nlocal_path = "conf/x"'
    (file,) = config_of(text, read_file={"conf/x": b"\0content"}.__getitem__)["files"]
    assert base64.b64decode(file["raw_value"]) == b"\0content"


def test_a_secret_file_is_only_named_and_an_empty_source_is_no_file() -> None:
    text = """
        [[files]]
          guest_path = "/etc/secret"
          secret_name = "KEY"
        [[files]]
          guest_path = "/etc/gone"
          local_path = ""
    """
    assert config_of(text)["files"] == [{"guest_path": "/etc/secret", "secret_name": "KEY"}]


def test_a_local_file_that_cannot_be_read_is_a_problem_with_the_reason() -> None:
    def read_file(path: str) -> bytes:
        raise FileNotFoundError(2, "No such file or directory", path)

    text = '[[files]]\nguest_path = "/etc/x"\nlocal_path = "x"'
    problems = problems_of(text, read_file=read_file)
    assert "No such file or directory" in problems["files[0].local_path"]
    assert list(problems_of(text)) == ["files[0].local_path"]


def test_restart_metrics_and_mounts_without_processes_are_the_default_groups() -> None:
    text = f"""
        {TWO_GROUPS}
        [[restart]]
          policy = "always"
        [metrics]
          port = 1
        [[mounts]]
          source = "data"
          destination = "/data"
    """
    web, worker = config_of(text, "web"), config_of(text, "worker")
    assert all(web[key] for key in ("restart", "metrics", "mounts"))
    assert not any(worker.get(key) for key in ("restart", "metrics", "mounts"))


def test_files_without_processes_are_every_groups() -> None:
    text = f"""
        {TWO_GROUPS}
        [[files]]
          guest_path = "/x"
          secret_name = "X"
    """
    for group in ("web", "worker"):
        assert config_of(text, group)["files"] == [{"guest_path": "/x", "secret_name": "X"}]


@pytest.mark.parametrize(
    ("text", "path", "says"),
    [
        ('[[vm]]\nsize = "shared-cpu-3x"', "vm[0].size", "did you mean"),
        ('[[vm]]\nsize = "huge"', "vm[0].size", "use one of shared-cpu-1x"),
        ('[[vm]]\nmemory = "lots"', "vm[0].memory", '"512mb"'),
        ('[[vm]]\nmemory = "0gb"', "vm[0].memory", '"512mb"'),
        ("[[vm]]\nmemory = 0", "vm[0].memory", "from 1"),
        ('[[vm]]\ncpu_knd = "shared"', "vm[0].cpu_knd", 'did you mean "cpu_kind"?'),
        ("[[vm]]\n[[vm]]", "vm[1]", "a second time, after vm[0]"),
        ('[[vm]]\nprocesses = ["web"]', "vm[0].processes", "not a process group"),
        ('[mounts]\nsource = "data"', "mounts.destination", "is missing"),
        (
            '[[mounts]]\nsource="a"\ndestination="/a"\n[[mounts]]\nsource="b"\ndestination="/b"',
            "mounts[1]",
            "a second time, after mounts[0]",
        ),
        (
            '[mounts]\nsource="a"\ndestination="/a"\ninitial_size="5mb"',
            "mounts.initial_size",
            "a size",
        ),
        ('[[restart]]\npolicy = "no"', "restart[0].policy", "always, on-failure, never"),
        ("[[restart]]\nretries = 1", "restart[0].policy", "is missing"),
        ('[[restart]]\npolicy = "always"\nretries = -1', "restart[0].retries", "0 or more"),
        ("[metrics]\nport = 0", "metrics.port", "from 1 to 65535"),
        ('[[statics]]\nguest_path = "/a"', "statics[0].url_prefix", "is missing"),
        ('[[files]]\nguest_path = "/a"', "files[0].raw_value", "is missing"),
        ('[[files]]\nguest_path = "/a"\nraw_value = "%"', "files[0].raw_value", "not base64"),
        (
            '[[files]]\nguest_path = "/a"\nraw_value = "YQ=="\nsecret_name = "A"',
            "files[0].guest_path",
            "more than one source",
        ),
        ("[experimental]\ncmd = [1]", "experimental.cmd", "not text"),
        ("swap_size_mb = -1", "swap_size_mb", "0 or more"),
        ("processes = 1", "processes", "write [processes]"),
        ("vm = [1]", "vm", "write [[vm]]"),
    ],
)
def test_a_part_that_cannot_be_is_refused_by_name(text: str, path: str, says: str) -> None:
    problems = problems_of(text)
    assert list(problems) == [path]
    assert says in problems[path]


def test_older_spellings_are_read_too() -> None:
    text = """
        processes = [{ name = "web", command = "run web" }]
        [mount]
          source = "data"
          destination = "/data"
        [metric]
          port = 1
        [[compute]]
          memory = "1gb"
    """
    config = config_of(text, "web")
    assert config["init"] == {"cmd": ["run", "web"]}
    assert config["mounts"]
    assert config["metrics"]
    assert config["guest"]["memory_mb"] == 1024
    assert parse("processes = []").groups[0].name == "app"
