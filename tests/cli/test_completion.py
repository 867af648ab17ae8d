"""What a shell completes is what there is."""

import subprocess

import pytest

pytest.importorskip("shtab")

from jaxfid.cli import main


def test_bash_completes_commands_options_and_choices(tmp_path, capsys):
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "jaxfid.bash"
    script.write_text(capsys.readouterr().out)
    ask = f"""
    source {script}
    complete_line() {{
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); COMP_LINE="$*"
        COMP_POINT=${{#COMP_LINE}}; COMP_TYPE=9; COMP_KEY=9
        $(complete -p jaxfid | sed 's/.*-F \\([^ ]*\\).*/\\1/') jaxfid "${{@: -1}}" ""
        echo "${{COMPREPLY[@]}}"
    }}
    complete_line jaxfid sco
    complete_line jaxfid score --prot
    complete_line jaxfid score --protocol cle
    cd {tmp_path}; complete_line jaxfid score jax
    """
    done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["score", "--protocol", "clean", "jaxfid.bash"]
