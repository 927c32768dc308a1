"""What the manifests must agree with, read from the sources: the version, the variables and their defaults, the commands."""

import re
import tomllib

from render import ROOT

VERSION = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]

_config = "\n".join(path.read_text() for path in sorted((ROOT / "src/config").glob("*.rs")))
_arguments = re.findall(r'#\[arg\((.*?)\)\]\n', _config, re.S)

# The default of each variable, as text; None where it has none.
DEFAULTS = {}
for _argument in _arguments:
    _name = re.search(r'\benv = "(\w+)"', _argument)
    if _name:
        _default = re.search(r'default_value(?:_t)? = "?([^",\s]+)', _argument)
        DEFAULTS[_name[1]] = _default[1].replace("_", "") if _default else None

# The program's path within the image.
_dockerfile = ROOT / "deploy/Dockerfile"
_entrypoint = re.search(r'^ENTRYPOINT \["([^"]+)"\]', _dockerfile.read_text(), re.M) if _dockerfile.exists() else None
PROGRAM = _entrypoint[1] if _entrypoint else "/snapshot-lifecycle"

COMMANDS = {path.stem.replace("_", "-") for path in (ROOT / "src/cli").iterdir()}


def has_option(command, option):
    file = ROOT / f"src/cli/{command.replace('-', '_')}.rs"
    return file.exists() and re.search(rf"^ +{option.removeprefix('--').replace('-', '_')}: ", file.read_text(), re.M)


def seconds(duration):
    number, unit = re.fullmatch(r"(\d+)(ms|s|m|h|d)", duration).groups()
    return int(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}[unit]


def bytes_of(quantity):
    number, unit = re.fullmatch(r"(\d+)(Ki|Mi|Gi|)", quantity).groups()
    return int(number) * {"": 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}[unit]
