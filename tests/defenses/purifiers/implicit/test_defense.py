"""PuriDefense from a pool: who is drawn for what, what is refused, and what a file of a pool must be."""

import hashlib
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from defenses import zoo
from defenses.files.folders import Folders
from defenses.purifiers.implicit.defense import Pool, PuriDefense, found, puridefense, read_pool
from defenses.purifiers.implicit.members import Member, named
from defenses.purifiers.implicit.network import SIZES, purifier, template
from defenses.purifiers.pools.patches import cut, put_together
from defenses.purifiers.table import read_defense
from defenses.weights.cached import named as by_name

MEMBERS = (Member("pgd", "tiny", 0), Member("fgsm", "light-wide", 1), Member("bim", "tiny", 2))
IMAGES = jnp.asarray(np.random.default_rng(0).random((24, 8, 8, 1)), jnp.float32)
KEYS = jax.random.split(jax.random.key(0), 24)


def drawn(member, seed):
    random = np.random.default_rng(seed)
    shapes = template(SIZES[member.size], 1)
    return jax.tree.map(lambda leaf: jnp.asarray(random.normal(size=leaf.shape) / 5, jnp.float32), shapes)


@pytest.fixture(scope="module")
def pool():
    return Pool(MEMBERS, named([drawn(member, k) for k, member in enumerate(MEMBERS)]), 1, "digits")


def answers(defense, images=IMAGES):
    return np.asarray(jax.jit(defense.apply)(defense.params, KEYS[: len(images)], images))


def each(pool, images):
    """What every member makes of the images, by its own network, (K, n, h, w, 1)."""
    whole = [jax.tree.map(lambda leaf: leaf.astype(jnp.float32), pool.params[f"{k:02d}"]) for k in range(3)]
    return np.array([purifier(SIZES[one.size], 1)(params, images) for one, params in zip(MEMBERS, whole, strict=True)])


def test_a_member_is_itself_and_the_average_their_mean(pool):
    of_members = each(pool, IMAGES)
    for k in range(3):
        alone = puridefense(PuriDefense("member", members=3, member=k), pool)
        np.testing.assert_allclose(answers(alone), of_members[k], rtol=1e-5, atol=1e-5)
        assert not alone.randomized
    mean = puridefense(PuriDefense("average", members=3), pool)
    np.testing.assert_allclose(answers(mean), of_members.mean(0), rtol=1e-5, atol=1e-5)
    assert not mean.randomized


@pytest.mark.parametrize("assignment", ["image", "cut", "patch"])
def test_every_piece_comes_from_one_member_and_all_are_drawn(pool, assignment):
    side = {"image": 8, "cut": 4, "patch": 4}[assignment]
    defense = puridefense(PuriDefense(assignment, patch_size=4, members=3), pool)
    assert defense.randomized
    if assignment == "patch":
        alone = each(pool, cut(IMAGES, 4))
        of_members = np.array([put_together(one, IMAGES.shape, 4) for one in alone])
    else:
        of_members = each(pool, IMAGES)
    pieces = np.array([cut(jnp.asarray(one), side) for one in of_members])
    found = np.asarray(cut(jnp.asarray(answers(defense)), side))
    distance = np.abs(pieces - found).max(axis=(2, 3, 4))
    assert (np.sort(distance, axis=0)[0] < 1e-5).all()
    assert (np.sort(distance, axis=0)[1] > 1e-3).all()
    assert set(distance.argmin(axis=0)) == {0, 1, 2}


def test_context_is_seen_and_not_shown(pool):
    """With as much of it as a member sees, a patch is what it is in the whole image, but at the border of the image."""
    seen = puridefense(PuriDefense("patch", patch_size=4, members=1, context=6), pool)
    whole, blind = each(pool, IMAGES)[0], answers(puridefense(PuriDefense("patch", patch_size=4, members=1), pool))
    inner = (slice(None), slice(2, 6), slice(2, 6))
    assert np.abs(blind - whole)[inner].max() > 1e-3
    assert np.abs(answers(seen) - whole)[inner].max() < np.abs(blind - whole)[inner].max()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (PuriDefense(members=4), r"members must be in \[1, 3\], the pool's, got 4"),
        (PuriDefense("member", members=3, member=3), r"member must be in \[0, 2\], the pool's, got 3"),
    ],
)
def test_more_than_the_pool_has_is_refused(pool, settings, said):
    with pytest.raises(ValueError, match=said):
        puridefense(settings, pool)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("puridefense:patch_size=0", "patch_size must be >= 1, got 0"),
        ("puridefense:assignment=all", "assignment must be one of patch, cut, image, average, member, got 'all'"),
        ("puridefense:members=0", "members must be >= 1, got 0"),
    ],
)
def test_wrong_settings_are_refused_where_they_are_read(text, said):
    with pytest.raises(ValueError, match=said):
        read_defense(text)


def written(pool, folder, model="puridefense", **said):
    """The pool as a file with its card, some of which says something else."""
    path = folder / "pool.safetensors"
    save_file({name: np.asarray(leaf) for name, leaf in by_name(pool.params).items()}, path)
    recipe = {"members": [list(one) for one in pool.members], "colours": 1} | said
    card = {"model": model, "dataset": pool.dataset, "recipe": recipe}
    card |= {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    path.with_suffix(".json").write_text(json.dumps(card))
    return path


def test_a_pool_is_read_as_it_was_written(pool, tmp_path):
    found = read_pool("puridefense", written(pool, tmp_path))
    assert (found.members, found.colours, found.dataset) == (MEMBERS, 1, "digits")
    for one, other in zip(jax.tree.leaves(found.params), jax.tree.leaves(pool.params), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "said", [{"members": []}, {"members": [["pgd", "huge", 0]]}, {"members": 3}, {"colours": "grey"}, {"colours": 3}]
)
def test_a_foreign_pool_is_refused_in_one_line(pool, tmp_path, said):
    with pytest.raises(ValueError, match=r"pool must be a file of|is damaged or foreign") as refusal:
        read_pool("puridefense", written(pool, tmp_path, **said))
    assert "\n" not in str(refusal.value)


def test_a_missing_pool_is_refused(tmp_path):
    with pytest.raises(ValueError, match="pool must be a file of `python -m sims pool` for disco with its card, got"):
        read_pool("disco", tmp_path / "none.safetensors")


def test_weights_that_are_gone_and_a_pool_of_the_other_name_are_refused(pool, tmp_path):
    with pytest.raises(ValueError, match=r"pool must be a file .* \(it is one of puridefense\)"):
        read_pool("disco", written(pool, tmp_path))
    (tmp_path / "pool.safetensors").unlink()
    with pytest.raises(ValueError, match=r"pool must be a file .*No such file"):
        read_pool("puridefense", tmp_path / "pool.safetensors")


def test_members_of_another_data_set_are_allowed_and_said(pool, tmp_path, capsys):
    path = written(pool._replace(dataset="mnist"), tmp_path)
    zoo.guard(read_defense(f"puridefense:pool={path},members=1"), "digits", 0, Folders(tmp_path))
    assert capsys.readouterr().err == "pool: the members in pool.safetensors learnt on mnist, not on digits\n"


def test_patches_that_do_not_tile_the_images_are_refused_before_anything_runs(pool, tmp_path):
    path = written(pool, tmp_path)
    for size in (3, 16):
        with pytest.raises(ValueError, match=f"patch_size must divide the image sides 8×8, got {size}"):
            zoo.guard(
                read_defense(f"puridefense:pool={path},members=1,patch_size={size}"), "digits", 0, Folders(tmp_path)
            )


def test_a_pool_for_images_of_other_channels_is_refused(tmp_path):
    """Colours for grey digits; exit status 2 is that of every ValueError."""
    coloured = Pool(MEMBERS[:1], named([template_of_zeros()]), 3, "cifar10")
    path = written(coloured, tmp_path, colours=3)
    with pytest.raises(ValueError, match="pool must take the 1 channels of digits, got"):
        zoo.guard(read_defense(f"puridefense:pool={path},members=1"), "digits", 0, Folders(tmp_path))


@pytest.mark.parametrize("name", ["puridefense", "disco"])
def test_beyond_the_digits_a_pool_must_be_given(name, tmp_path):
    site = zoo.site("digits", 0, Folders(tmp_path))
    site = site._replace(dataset=lambda: zoo.load("digits", Folders().data)._replace(name="mnist"))
    command = f"python -m sims pool --plan {name} --dataset mnist"
    with pytest.raises(ValueError, match=f"pool must be given on mnist, as the file that `{command}` trained"):
        found(name, site, "")


def template_of_zeros():
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), template(SIZES["tiny"], 3))
