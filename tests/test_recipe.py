import pytest

from hil.errors import UsageError
from hil.recipe import load_recipe
from hil.resources import resource

MINIMAL = 'name = "x"\n[data]\nkeywords = ["yes"]\n'


def write(tmp_path, text):
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    return path


def test_the_demo_recipe_is_the_papers_network():
    """30 -> 20 units, dense 16, eight keywords."""
    recipe = load_recipe(resource("models") / "keyword-demo")
    assert recipe.cell.hidden == (30, 20)
    assert recipe.cell.dense == 16
    assert len(recipe.data.keywords) == 8


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("[cell]\nhiden = [3]", r"unknown key 'hiden' in \[cell\]; did you mean 'hidden'\?"),
        ("[cel]\nhidden = [3]", r"unknown key 'cel'; did you mean 'cell'\?"),
        ('[cell]\nhidden = "3"', r"cell\.hidden = '3' is a str, expected"),
        ("[cell]\nhidden = [0]", "0 units; must be within 1 and 4096"),
        ('[features]\nkind = "mel"', r"features\.kind = 'mel' is none of 'log-mel', 'magnitude'"),
        ("[features]\nhigh_hz = 5000.0", "high_hz <= rate_hz / 2"),
        ("[features]\nrunning = 13", r"features\.running = 13: must be 0, or within 1 and 12 with kind log-mel"),
        ('[features]\nkind = "magnitude"\nrunning = 1', r"features\.running = 1: must be 0"),
        ("[train]\nepochs = 0", r"train\.epochs = 0"),
        ("[train]\nepochs = true", "is a bool, expected int"),
        ("[train\n", "recipe.toml"),
    ],
)
def test_a_wrong_recipe_is_refused_with_the_place(tmp_path, extra, message):
    """File, table, key and the nearest known word."""
    with pytest.raises(UsageError, match=message):
        load_recipe(write(tmp_path, MINIMAL + extra))


def test_a_missing_recipe_suggests_its_neighbour(tmp_path):
    """The message names the file that was looked for and a folder with a like name."""
    (tmp_path / "keyword-demo").mkdir()
    write(tmp_path / "keyword-demo", MINIMAL)
    with pytest.raises(UsageError, match=r"no such recipe; did you mean 'keyword-demo'\?"):
        load_recipe(tmp_path / "keyword-dmo")
    with pytest.raises(UsageError, match="no such recipe"):
        load_recipe(tmp_path / "nothing" / "here")


def test_the_hash_follows_values_not_layout(tmp_path):
    """Comments and defaults written out do not change it; a value does."""
    plain = load_recipe(write(tmp_path, MINIMAL)).sha256()
    assert load_recipe(write(tmp_path, "# comment\n" + MINIMAL + "[train]\nepochs = 30\n")).sha256() == plain
    assert load_recipe(write(tmp_path, MINIMAL + "[train]\nepochs = 31\n")).sha256() != plain
    assert load_recipe(write(tmp_path, MINIMAL + "[features]\nrunning = 0\n")).sha256() == plain
    assert load_recipe(write(tmp_path, MINIMAL + "[features]\nrunning = 6\n")).sha256() != plain
