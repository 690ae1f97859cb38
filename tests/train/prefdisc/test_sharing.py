"""Each process reads its own trials, and no other's; what a run reports to must be installed."""

import pytest
from accelerate.data_loader import prepare_data_loader
from torch.utils.data import DataLoader, SequentialSampler

from tests.train.prefdisc.sets import write_config
from train.prefdisc.config import load_config
from train.prefdisc.run import make_trainer
from train.settings import SettingsError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("sharing")
    write_config(place)
    return place


class Watched:
    """Trials that remember which of them were drawn."""

    def __init__(self, trials):
        self.trials, self.drawn = trials, []

    def __len__(self):
        return len(self.trials)

    def __getitem__(self, number):
        self.drawn.append(number)
        return self.trials[number]


@pytest.mark.parametrize("processes", [2, 4])
def test_a_process_draws_and_decodes_its_own_share_alone(folder, processes):
    """The loader as the Trainer has it prepared, for every rank: together they draw every trial once, in order."""
    trainer = make_trainer(load_config(str(folder / "run.yaml"), ["per_device=1"]))
    assert isinstance(trainer._get_train_sampler(), SequentialSampler)
    assert trainer.accelerator.dispatch_batches is None, "no process reads for the others"
    shares = []
    for rank in range(processes):
        watched = Watched(trainer.train_dataset)
        loader = DataLoader(watched, batch_size=1, collate_fn=lambda trials: {"trials": len(trials)})
        prepared = prepare_data_loader(loader, num_processes=processes, process_index=rank, put_on_device=False)
        for _ in zip(range(3), prepared, strict=False):
            pass
        # The loader draws one ahead.
        shares.append(watched.drawn[:3])
    assert shares == [[rank + processes * turn for turn in range(3)] for rank in range(processes)]


def test_a_reporter_that_is_not_installed_is_named(folder):
    with pytest.raises(SettingsError, match=r"training\.report_to cannot be used .*install"):
        make_trainer(load_config(str(folder / "run.yaml"), ["training.report_to=comet_ml"]))
