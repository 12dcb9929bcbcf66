"""The packages and scripts call nothing that runs what a file or a model says: every line of them is looked at."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = {
    path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
    for package in ("lessons", "teachers", "students", "loops", "scripts")
    for path in sorted((ROOT / package).rglob("*.py"))
}
UNPICKLE = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
FORBIDDEN = {
    "eval": "runs a text", "exec": "runs a text", "compile": "makes code of a text", "torch.load": "unpickles",
    "np.load": "may unpickle", "numpy.load": "may unpickle", "pd.read_pickle": "unpickles", "os.system": "is a shell",
    "os.popen": "is a shell", "yaml.load": "makes objects", "yaml.unsafe_load": "makes objects",
    "yaml.full_load": "makes objects", "yaml.safe_load": "has no bounds", "tempfile.mktemp": "can be foreseen",
}  # fmt: skip
ALLOWED = {
    "lessons/sandbox/answering.py": {"exec", "compile"},  # the answer under test, in a process that is confined
    "lessons/sandbox/testing.py": {"exec", "compile"},  # the tests of a problem, in a process confined like it
    "scripts/fuzzing/mutation.py": {"yaml.safe_load"},  # the fuzzers' own seeds
    "scripts/chaotic/comparing.py": {"yaml.safe_load"}, "scripts/measure_prompts.py": {"yaml.safe_load"},  # our own
}  # fmt: skip
NO_REMOTE_CODE = ("from_pretrained", "from_config", "pipeline", "load_dataset", "snapshot_download", "LLM")


def calls() -> Iterator[tuple[str, ast.Call, str]]:
    for path, tree in SOURCES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                yield path, node, ast.unparse(node.func)


def keywords(call: ast.Call) -> dict[str, str]:
    return {one.arg or "**": ast.unparse(one.value) for one in call.keywords}


def test_there_is_something_to_look_at() -> None:
    assert len(SOURCES) > 200
    assert sum(1 for _ in calls()) > 5000


def test_nothing_is_run_that_a_file_or_a_model_says() -> None:
    found = {(path, name) for path, _, name in calls() if name in FORBIDDEN}
    assert {(path, name) for path, name in found if name not in ALLOWED.get(path, ())} == set()
    assert {path for path, _ in found} == ALLOWED.keys()


def test_nothing_is_unpickled() -> None:
    for path, tree in SOURCES.items():
        for node in ast.walk(tree):
            names = (
                [one.name for one in node.names] if isinstance(node, ast.Import)
                else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            )  # fmt: skip
            taken = {name.partition(".")[0] for name in names} & UNPICKLE
            assert taken <= ALLOWED.get(path, set()), path
    for path, call, name in calls():
        assert keywords(call).get("allow_pickle", "False") == "False", f"{path}: {name}"
        assert keywords(call).get("weights_only", "True") == "True", f"{path}: {name}"
        assert keywords(call).get("use_safetensors", "True") == "True", f"{path}: {name}"


def test_no_code_of_a_model_runs() -> None:
    loading = 0
    for path, call, name in calls():
        told = keywords(call)
        assert told.get("trust_remote_code", "False") == "False", f"{path}:{call.lineno}: {name}"
        if name.rpartition(".")[2] == "from_pretrained" and name.partition(".")[0].startswith("Auto"):
            loading += 1
            known = told.get("trust_remote_code") == "False" or told.get("**") == "known" or "gguf_file" in told
            assert known, f"{path}:{call.lineno}: {name} must say trust_remote_code=False"
            if "Model" in name and "gguf_file" not in told:
                assert told.get("use_safetensors") == "True", f"{path}:{call.lineno}: {name} must take safetensors only"
    assert loading >= 6


def test_no_shell_is_asked() -> None:
    for path, call, name in calls():
        assert keywords(call).get("shell", "False") == "False", f"{path}:{call.lineno}: {name}"


@pytest.mark.parametrize("flag", ["trust-remote-code", "trust_remote_code", "allow-dangerous"])
def test_no_server_of_ours_is_started_with_such_a_flag(flag: str) -> None:
    for path, tree in SOURCES.items():
        words = [
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
        said = [word for word in words if flag in word and not word.count(" ") > 3]
        assert all("refused" in path or path in REFUSING or word == "trust_remote_code" for word in said), (path, said)


REFUSING = {"teachers/vllm_command.py"}
"""Sources that name the flag to refuse it."""
