"""What the documents show is run: the example agent of docs/writing-an-agent.md, exactly as it is printed there."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def blocks(document: str, language: str) -> list[str]:
    """The fenced blocks in this language, in their order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / "docs" / document).read_text(), re.DOTALL | re.MULTILINE)


def test_the_example_agent_passes_its_own_tests(tmp_path: Path) -> None:
    """Its files are laid where the document says, it is registered in one line, and its tests are run."""
    agent, registered, tests = blocks("writing-an-agent.md", "python")
    (prompt,) = blocks("writing-an-agent.md", "text")
    script, evals = blocks("writing-an-agent.md", "toml")[:2]
    for package in ("bot", "channels"):
        (tmp_path / package).symlink_to(ROOT / package)
    for package in ("agents", "prompts"):
        shutil.copytree(ROOT / package, tmp_path / package)
    (tmp_path / "agents" / "flags").mkdir()
    (tmp_path / "agents" / "flags" / "__init__.py").write_text(agent)
    (tmp_path / "agents" / "flags" / "script.toml").write_text(script)
    (tmp_path / "prompts" / "flags.md").write_text(prompt)
    (tmp_path / "prompts" / "flags.evals.toml").write_text(evals)
    registry = tmp_path / "agents" / "__init__.py"
    before, line = registry.read_text(), registered.strip().splitlines()[-1]
    after = before.replace("import deploy, triage", "import deploy, flags, triage")
    after = re.sub(r"^AGENTS: .*$", lambda _: line, after, flags=re.MULTILINE)
    assert before != after
    registry.write_text(after)
    (tmp_path / "test_flags.py").write_text(tests)

    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-o",
        "asyncio_mode=auto",
        "test_flags.py",
    ]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=50)
    assert said.returncode == 0, said.stdout + said.stderr
    assert " passed" in said.stdout


def test_every_file_that_the_documents_point_to_is_there() -> None:
    """Links between the documents and into the code lead somewhere."""
    for document in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\((?!https?://)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} points to {target}"


def test_the_readme_shows_the_loop_as_it_is() -> None:
    """The excerpt is the code, but for its docstring."""
    (excerpt,) = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    code = (ROOT / "bot" / "runtime" / "runner.py").read_text()
    wanted = [line.strip() for line in excerpt.strip().splitlines()]
    found = [line.strip() for line in code.splitlines()]
    start = found.index(wanted[0])
    body = [line for line in found[start : start + len(wanted) + 1] if not line.startswith('"""')]
    assert body == wanted
