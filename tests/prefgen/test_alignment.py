import torch

from prefgen.alignment import Alignment, AlignmentConfig
from prefgen.losses import mmd


def test_it_has_the_papers_six_layers():
    alignment = Alignment(AlignmentConfig(sem_dim=8, text_dim=12, hidden_dim=16))
    assert sum(isinstance(module, torch.nn.Linear) for module in alignment.modules()) == 6
    assert alignment(torch.randn(5, 8)).shape == (5, 12)


def test_it_learns_a_crowd_by_mmd():
    torch.manual_seed(0)
    sem = torch.randn(256, 8)
    text = torch.tanh(sem @ torch.randn(8, 12)) + 2
    alignment = Alignment(AlignmentConfig(8, 12, hidden_dim=32))
    optimiser = torch.optim.Adam(alignment.parameters(), 3e-3)
    before = mmd(alignment(sem), text).item()
    for _ in range(60):
        optimiser.zero_grad()
        mmd(alignment(sem), text).backward()
        optimiser.step()
    assert mmd(alignment(sem), text).item() < before / 4
