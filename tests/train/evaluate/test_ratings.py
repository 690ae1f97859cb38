"""`train.evaluate.ratings` on synthetic populations, in every layout that it reads."""

import gzip
import json

import numpy as np
import pytest

from train.evaluate.ratings.__main__ import main
from train.evaluate.ratings.curve import pairwise_accuracy
from train.evaluate.ratings.tables import read_table


def write_population(path, people=60, items=80, features=False, seed=0):
    """Write ratings of 1 to 7 by people with two factors of taste around a mean taste."""
    rng = np.random.default_rng(seed)
    means, loadings = rng.normal(0, 0.5, items), rng.normal(0, 1, (items, 2))
    columns = ["person", "item", "rating", *(["f0", "f1"] if features else [])]
    lines = [",".join(columns)]
    for person in range(people):
        tastes = rng.normal(0, 1, 2)
        for item in rng.permutation(items)[:60]:
            rating = np.clip(np.rint(4 + means[item] + loadings[item] @ tastes + rng.normal(0, 0.5)), 1, 7)
            extra = [f"{value:.4f}" for value in loadings[item]] if features else []
            lines.append(",".join([f"p{person}", f"i{item}", str(int(rating)), *extra]))
    with gzip.open(path, "wt") as file:
        file.write("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("features", [False, True], ids=["learned factors", "given features"])
def test_ratings_help_and_the_prior_is_never_below_the_mean_taste(tmp_path, capsys, features):
    table = write_population(tmp_path / "ratings.csv.gz", features=features)
    options = ["--folds", "2", "--held-out", "30", "--counts", "3", "25", "--out", str(tmp_path / "out")]
    main(["--table", str(table), *options])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    for kind in ("graded", "binary"):
        assert result[kind]["25"] > 0.05, "people differ mostly in two factors"
        assert result[kind]["25"] > result[kind]["3"]
    assert result["below_mean"] is False
    assert (result["people"], result["layout"]) == (60, "PrefGen")
    alone = [row for row in result["rows"] if row["method"] == "no population" and row["ratings"] == 3]
    assert sum(row["gain"] - result[row["kind"]]["3"] for row in alone) < 0, "a population prior helps most at first"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"result.json", "table.md", "picture.png"}


@pytest.mark.parametrize(
    ("name", "header", "row", "delimiter"),
    [
        ("LAPIS", "participant_id,image_filename,style,response", "{p},{i}.jpg,baroque,{r}", ","),
        ("PARA", "sessionId,imageName,userId,aestheticScore,qualityScore", "s1,{i}.jpg,{p},{r},3.0", ","),
        ("EVA", '"image_id"="user_id"="score"="difficulty"', '"{i}"="{p}"="{r}"="2"', "="),
        ("FLICKR-AES", " worker, imagePair, score", "{p}, {i}.jpg, {r}", ","),
        ("PrefGen", "rating,item,person", "{r},{i},{p}", ","),
    ],
)
def test_published_layouts_are_read(tmp_path, name, header, row, delimiter):
    path = tmp_path / "table.csv"
    ratings = [("a", "x", 1), ("a", "y", 5), ("b", "y", 3), ("b", "y", 4)]
    path.write_text("\n".join([header, *(row.format(p=p, i=i, r=r) for p, i, r in ratings)]) + "\n")
    table = read_table(path)
    assert table.layout == name
    assert table.features is None
    assert np.array_equal(table.ratings, [[1, 5], [np.nan, 4]], equal_nan=True), "the last of several ratings counts"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("a,b,c\n1,2,3\n", "has the columns 'a,b,c'; expected those of person,item,rating"),
        ("person,item,rating\n", "has no rows"),
        ("person,item,rating\n1,2,good\n", "has a row that cannot be used"),
        ("person,item,rating\n1,2\n", "has a row that cannot be used"),
        ("person,item,rating,f0\n1,2,3,red\n", "has a row that cannot be used"),
        (None, "cannot be read"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_with_one_sentence(tmp_path, capsys, content, problem):
    path = tmp_path / "table.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SystemExit) as ended:
        main(["--table", str(path)])
    assert ended.value.code == 1
    assert problem in capsys.readouterr().err


def test_pairwise_accuracy_counts_pairs_of_different_ratings():
    assert pairwise_accuracy(np.array([3.0, 2.0, 1.0]), np.array([5, 4, 4])) == 1.0
    assert pairwise_accuracy(np.array([1.0, 1.0]), np.array([5, 4])) == 0.5
    assert np.isnan(pairwise_accuracy(np.array([1.0, 2.0]), np.array([4, 4])))
