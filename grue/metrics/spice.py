"""SPICE: F score over propositions of an output and its references.

Anderson, Fernando, Johnson, Gould: SPICE: Semantic Propositional Image Caption Evaluation, ECCV
2016. The authors' Java program computes it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import model_validator

from common.config.base import INPUT_FILE, Config, OptionalText
from common.config.fit import PositiveInt
from common.errors import Problem, UserError
from grue.metrics.metric import METRICS, Metric, Scores
from grue.texts import Texts

JAR_VARIABLE = "SPICE_JAR"
"""Environment variable with the program's path, used if no key gives it."""
WHICH_JAR = (
    "SPICE-1.0.jar, with CoreNLP 3.6.0 and its models in the folder 'lib' beside it: from "
    "https://panderson.me/spice, or as the Python package 'pycocoevalcap' holds it"
)
_LIBRARIES = "stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar"
_SHOWN = 300


def of_environment(values: Any, key: str) -> Any:
    """Return the keys of a part, with the path of the environment if ``key`` gives none."""
    named = os.environ.get(JAR_VARIABLE)
    if not named or not isinstance(values, dict) or values.get(key):
        return values
    return {**values, key: named}


def no_program(key: str, instead: str) -> Problem:
    """Return the problem that ``key`` gives no program, with the fix, or ``instead`` of it."""
    return Problem(
        f"not given, and the environment variable {JAR_VARIABLE} is not set; set it to the path of "
        f"{WHICH_JAR}; or {instead}",
        key,
    )


class SpiceArgs(Config):
    """Keys of SPICE."""

    jar: Annotated[OptionalText, INPUT_FILE] = None
    """Path of the program, SPICE-1.0.jar, next to a folder ``lib`` with the jars of CoreNLP 3.6.0
    and its models; None for the path in the environment variable ``SPICE_JAR``."""
    heap_gib: PositiveInt = 8
    """Memory for Java, in GiB."""

    @model_validator(mode="before")
    @classmethod
    def _jar_of_environment(cls, values: Any) -> Any:
        return of_environment(values, "jar")

    def problems(self) -> Iterator[Problem]:
        """Yield the problem of a missing program."""
        yield from super().problems()
        if self.jar is None:
            yield no_program("jar", "take the metric out of the list")


@METRICS.register("spice")
class Spice(Metric[SpiceArgs]):
    """SPICE's F score, from 0 to 1; 0 for an empty output, and without propositions."""

    key: ClassVar[str] = "lexical/spice"
    names = (key,)
    Args = SpiceArgs
    needs_references = True

    @property
    def _jar(self) -> Path:
        assert self.args.jar is not None, "checked with the keys"
        return Path(self.args.jar)

    def prepare(self) -> None:
        """Check Java, the jar and CoreNLP."""
        check_program(self._jar)

    def scores(self, texts: Texts) -> Mapping[str, Scores]:
        """Return [N] F scores."""
        texts.check_references("spice")
        self.prepare()
        inputs = [
            {"image_id": index, "test": output, "refs": list(references)}
            for index, (output, references) in enumerate(
                zip(texts.outputs, texts.references, strict=True)
            )
            if output.strip()  # the parser needs a sentence
        ]
        values = np.zeros(len(texts))
        for item in run_program(self._jar, inputs, heap_gib=self.args.heap_gib):
            values[int(item["image_id"])] = _f_score(item)
        return {self.key: values}


def check_program(jar: Path) -> None:
    """Check that Java, the program and CoreNLP are there.

    Raises:
        UserError: Java, the jar or a file of CoreNLP is missing.
    """
    if shutil.which("java") is None:
        raise UserError("SPICE needs Java: no 'java' on the PATH; install a Java runtime")
    if not jar.is_file():
        raise UserError(
            f"'jar' = '{jar}': no such file; give the path of {WHICH_JAR}; or take the metric out"
        )
    for name in _LIBRARIES:
        if not (jar.parent / "lib" / name).is_file():
            raise UserError(
                f"'jar' = '{jar}': {name} is missing; put it, from CoreNLP 3.6.0, into "
                f"'{jar.parent / 'lib'}'"
            )


def run_program(
    jar: Path, inputs: Sequence[Mapping[str, Any]], *, heap_gib: int
) -> list[dict[str, Any]]:
    """Return SPICE's scores of each input.

    Args:
        jar: path of the program.
        inputs: objects with ``image_id``, ``test`` (the output) and ``refs``.
        heap_gib: memory for Java, in GiB.

    Returns:
        Objects with ``image_id`` and ``scores``, one per input.

    Raises:
        UserError: the program fails, or skips inputs.
    """
    if not inputs:
        return []
    with tempfile.TemporaryDirectory(prefix="spice-") as folder:
        source, target = Path(folder, "in.json"), Path(folder, "out.json")
        source.write_text(json.dumps(inputs))
        command = ["java", f"-Xmx{heap_gib}G", "-jar", str(jar.resolve()), str(source)]
        done = subprocess.run(
            [*command, "-out", str(target), "-subset", "-silent"],
            cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0 or not target.is_file():
            said = (done.stderr.strip() or done.stdout.strip())[-_SHOWN:]
            raise UserError(f"SPICE failed with exit status {done.returncode}: {said}")
        found: list[dict[str, Any]] = json.loads(target.read_text(encoding="utf-8"))
    missing = {item["image_id"] for item in inputs} - {int(item["image_id"]) for item in found}
    if missing:
        raise UserError(f"SPICE left out {len(missing)} of {len(inputs)} inputs")
    return found


def _f_score(item: Mapping[str, Any]) -> float:
    """Return the F score of all propositions; the program writes null or NaN if there are none."""
    value = item["scores"]["All"]["f"]
    return 0.0 if value is None or np.isnan(float(value)) else float(value)
