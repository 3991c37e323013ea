"""Loading of a configured data set as a pool of inputs."""

from __future__ import annotations

from pathlib import Path

from sft_vs_rft.config import ControlledConfig
from sft_vs_rft.data.pools import Pool


def load_pool(config: ControlledConfig) -> Pool:
    """Return the pool of the configured data set; a missing one is downloaded to ``data_dir``.

    Raises:
        UserError: the data set is neither there nor can be downloaded, or a file is invalid.
    """
    # Imported here because each kind of data needs packages that the others do not.
    if config.dataset == "npz":
        from sft_vs_rft.data.own_arrays import npz_pool

        assert config.data_path is not None
        return npz_pool(Path(config.data_path))
    if config.dataset == "stsb":
        from sft_vs_rft.data.sentence_pairs import stsb_pool

        return stsb_pool(
            config.data_path,
            config.model_type,
            data_revision=config.data_revision,
            model_revision=config.model_revision,
        )
    from sft_vs_rft.data.images import IMAGES

    return IMAGES[config.dataset](config.data_dir)
