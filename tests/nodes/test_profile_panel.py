"""The picture of a profile, without a server: what is drawn where, and that nothing is lost or covered."""

import pytest
from PIL import Image

LIKED, DISLIKED = (46, 139, 87), (201, 74, 62)


@pytest.fixture(scope="module")
def panel(pack):
    return pack("nodes.drawing.profile_panel")


def images(count, size=(60, 60)):
    """One plain colour each, which no drawing of ours has."""
    return [Image.new("RGB", size, (20 + 8 * place, 10, 200)) for place in range(count)]


def colours(picture):
    return {colour for _, colour in picture.getcolors(1 << 20)}


def wall(panel, liked, disliked, more=0):
    shown = [panel.RatedThumbnail(image, True) for image in images(liked)]
    shown += [panel.RatedThumbnail(image, False) for image in images(disliked)]
    return panel.PanelContent("ana", liked + more, disliked, tuple(shown))


def test_every_image_is_on_the_wall(panel):
    drawn = panel.draw_panel(wall(panel, 16, 3))
    assert {image.getpixel((0, 0)) for image in images(16)} <= colours(drawn)
    assert {LIKED, DISLIKED} <= colours(drawn)


def test_a_side_without_images_says_so_and_older_ones_are_counted(panel):
    lonely, fuller = panel.draw_panel(wall(panel, 2, 0)), panel.draw_panel(wall(panel, 2, 0, more=5))
    assert fuller.height > lonely.height, "a line says how many are older"
    assert panel.draw_panel(panel.PanelContent("nobody", 0, 0)).height > 100


def test_images_lie_where_their_score_is_and_cover_nothing(panel, pack):
    scores = pack("nodes.drawing.profile_panel.score_axis")
    xs = [0, 10, 20, 60, 61, 300]
    levels = scores.stack_levels(xs, 40)
    places = list(zip(xs, levels, strict=True))
    assert not [
        (one, other)
        for place, one in enumerate(places)
        for other in places[place + 1 :]
        if one[1] == other[1] and abs(one[0] - other[0]) < 40
    ]
    assert levels[0] == 0
    assert max(levels) == 2
    scored = [panel.RatedThumbnail(image, place % 2 == 0, 0.3 + 0.05 * place) for place, image in enumerate(images(8))]
    drawn = panel.draw_panel(wall(panel, 1, 1), scored)
    assert {shown.image.getpixel((0, 0)) for shown in scored} <= colours(drawn)
    middles = [middle_of(drawn, shown.image.getpixel((0, 0))) for shown in scored[2:]]
    assert middles == sorted(middles), "the higher the score, the farther right"


def middle_of(picture, colour):
    """The horizontal middle of a colour's pixels in the lower half, below the wall."""
    below = picture.crop((0, picture.height // 3, *picture.size))
    xs = [x for x in range(below.width) for y in range(0, below.height, 4) if below.getpixel((x, y)) == colour]
    return sum(xs) / len(xs)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([0.51], (0.4, 0.6)),
        ([0.0, 1.0], (0.0, 1.0)),
        ([0.62, 0.74], (0.6, 0.8)),
        ([1.0], (0.8, 1.0)),
        ([0.0], (0, 0.2)),
    ],
)
def test_the_axis_shows_all_scores_in_whole_tenths(pack, scores, expected):
    low, high = pack("nodes.drawing.profile_panel.score_axis").axis_range(scores)
    assert low <= min(scores) <= max(scores) <= high
    assert high - low >= 0.2 - 1e-9
    assert (low, high) == expected


def test_others_are_rows_with_or_without_tokens(panel):
    users = [
        panel.SimilarUser("bo", tuple(images(2)), 0.5, (0.3, -0.1)),
        panel.SimilarUser("cy", (), -0.5, (-0.2, 0.0)),
    ]
    whole = panel.draw_panel(wall(panel, 1, 1), similar=users)
    one = panel.draw_panel(wall(panel, 1, 1), similar=users[:1])
    assert whole.height > one.height
    bare = panel.draw_panel(wall(panel, 1, 1), similar=[panel.SimilarUser("bo", (), 0.5)])
    assert bare.width == whole.width


@pytest.mark.parametrize("name", ["ana", "猫の目", "x" * 64, "Zoë Ångström", "اسم"])
def test_any_name_is_drawn(panel, pack, name):
    person = panel.PanelContent(name, 1, 0, (panel.RatedThumbnail(images(1)[0], True),))
    panel.draw_panel(person, similar=[panel.SimilarUser(name, (), 0.0, (0.0,))])
    font, text = pack("nodes.drawing.fonts").font_for(name, 20)
    assert len(text) == len(name)
    assert font.getlength(text) > 0


@pytest.mark.parametrize("similarity", [-1.0, -1e-3, -1e-9, 0.0, 1e-9, 1e-3, 0.01, 1.0])
def test_any_similarity_is_drawn(panel, similarity):
    """A bar that is narrower than a pixel made Pillow fail."""
    users = [panel.SimilarUser("bo", tuple(images(1)), similarity, (similarity,))]
    assert panel.draw_panel(wall(panel, 1, 1), similar=users).height > 100


@pytest.mark.parametrize(("liked", "disliked"), [(1, 10_000), (10_000, 1), (1, 0)])
def test_any_share_of_likes_is_drawn(panel, liked, disliked):
    picture = panel.draw_panel(panel.PanelContent("ana", liked, disliked, (panel.RatedThumbnail(images(1)[0], True),)))
    assert picture.height > 100
