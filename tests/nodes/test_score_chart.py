"""The bar chart of scores: an IMAGE of ordinary size, whatever was scored, whose bars are as long as the scores."""

import pytest
import torch


@pytest.fixture
def chart(pack):
    return pack("nodes.drawing.score_chart")


def bar(chart, picture, row):
    """How much of a row's track is filled, from 0 to 1, and the colour of its beginning (0 to 255)."""
    y = 28 + row * (chart.THUMBNAIL + chart.GAP) + chart.THUMBNAIL // 2
    left = chart.THUMBNAIL + 2 * chart.GAP
    line = (picture[0, y, left + 1 : left + chart.BAR] * 255).round()
    return (line != torch.tensor(chart.TRACK)).any(-1).float().mean().item(), tuple(line[0].int().tolist())


def test_bars_are_as_long_as_the_scores(chart):
    scores = torch.tensor([0.91, 0.5, 0.2])
    picture = chart.chart_image(torch.rand(3, 40, 30, 3), scores, "ada: a cat")
    assert picture.dtype == torch.float32
    assert picture.min() >= 0
    assert picture.max() <= 1
    for row, score in enumerate(scores.tolist()):
        length, colour = bar(chart, picture, row)
        assert length == pytest.approx(score, abs=2 / chart.BAR)  # whole pixels
        assert colour == (chart.LIKED if score >= 0.5 else chart.DISLIKED)


def test_thumbnails_are_the_images(chart):
    images = torch.zeros(2, 64, 64, 3)
    images[0, ..., 0] = images[1, ..., 2] = 1
    picture = chart.chart_image(images, torch.tensor([0.9, 0.1]), "ada")
    x = chart.GAP + chart.THUMBNAIL // 2
    rows = [picture[0, 28 + row * (chart.THUMBNAIL + chart.GAP) + chart.THUMBNAIL // 2, x].tolist() for row in range(2)]
    assert rows == [[1, 0, 0], [0, 0, 1]]


def test_of_many_images_the_best_are_shown(chart):
    few, many = (chart.chart_image(torch.rand(n, 8, 8, 3), torch.rand(n), "ada") for n in (chart.MAX_ROWS, 300))
    assert few.shape == many.shape
    assert not torch.equal(few[:, :28], many[:, :28]), "the title says that there are more"


@pytest.mark.parametrize("size", [(1, 1), (1, 12_000), (3_000, 2)])
def test_images_of_any_size_and_titles_of_any_text(chart, size):
    usual = chart.chart_image(torch.rand(2, 24, 24, 3), torch.tensor([0.0, 1.0]), "ada")
    odd = chart.chart_image(torch.rand(2, *size, 3) * 3 - 1, torch.tensor([0.0, 1.0]), "Ünïcödé 漢字 \n" * 1000)
    assert odd.shape == usual.shape


def test_letters_beyond_ascii_are_drawn(chart):
    images, scores = torch.zeros(1, 8, 8, 3), torch.tensor([0.5])
    assert not torch.equal(
        chart.chart_image(images, scores, "Zo\u00eb: caf\u00e9"), chart.chart_image(images, scores, "Zo?: caf?")
    )
