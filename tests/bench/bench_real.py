"""What each method sees on real pictures at equal realised false alarms, as bench_power.py tells of synthetic ones.

    python tests/bench/bench_real.py --quick     few pictures, few windows
    python tests/bench/bench_real.py             digits, photographs, three fixed cameras, and real CLIP's geometry

The windows of one material are drawn from one pool and compared with one reference: the errors are those of the
windows alone, and the luck of this reference and this pool comes on top.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
os.environ["DO_NOT_TRACK"] = "1"

import argparse
from collections import defaultdict
from dataclasses import replace

import numpy as np
from bench_power import Comparison, compare, gather, verdict
from peers import PEERS, Peers
from prepared import FIRST_SEED, OURS, Prepared
from real_streams import DATA, SHIFTS, Material, materials
from worlds import SHIFTS as WORLD_SHIFTS
from worlds import World, cone

from visiondrift.drift.calibration.blocks import labelled_blocks
from visiondrift.drift.embedding.detector import Detector, EmbeddingEvidence, build_detector
from visiondrift.drift.embedding.fit import WindowRows
from visiondrift.drift.embedding.moments import block_moments

GEOMETRY_SIZES = (50, 200)


def real(material: Material, windows: int) -> list[Comparison]:
    """The tables of one material, one for each size of window."""
    detector = build_detector(material.reference, labelled_blocks(material.blocks, material.cameras), seed=FIRST_SEED)
    peers = Peers(material.reference, np.random.default_rng((FIRST_SEED, 13)))
    rng = np.random.default_rng((FIRST_SEED, 61))
    n, d = material.reference.shape
    found = []
    for size in material.sizes:
        gathered: dict[tuple[str, str], list[float]] = defaultdict(list)
        rows = 0
        for shift in ("", *SHIFTS):
            for which in range(windows * (1 if shift else 3)):
                x, at = material.window(shift, size, rng)
                rows = len(x)
                gathered[OURS, shift].append(-np.log10(look(detector, material, x, at)))
                for method, (_, score) in peers.judge(x, permute=False, slow=which % 3 == 0).items():
                    gathered[method, shift].append(score)
        title = f"{material.name}, windows of {size} blocks: {n:,} reference rows of {d} columns, some {rows} rows"
        scores = {key: np.array(values) for key, values in gathered.items()}
        found.append(compare(title, scores, SHIFTS, PEERS))
        at_own = {shift: np.mean(scores[OURS, shift] >= -np.log10(0.05)) for shift in SHIFTS}
        share, number = np.mean(scores[OURS, ""] >= -np.log10(0.05)), len(scores[OURS, ""])
        error = np.sqrt(max(share * (1 - share), 1 / number) / number)
        print(f"\n{OURS} at its own p ≤ .05 alarms on {share:.3f} ± {error:.3f} of the windows without a fault; on")
        print(", ".join(f"{shift} {rate:.2f}" for shift, rate in at_own.items()) + ".")
    return found


def look(detector: Detector, material: Material, x: np.ndarray, at: np.ndarray) -> float:
    """The p of one window, every camera against its own reference."""
    y = detector.reference.basis.project(x)
    names = material.window_cameras[at]
    of_row = np.unique(material.window_blocks[at], return_inverse=True)[1]
    moments = {}
    for name in np.unique(names):
        own = np.unique(of_row[names == name], return_inverse=True)[1]
        moments[str(name)] = block_moments(y[names == name], own, int(own.max()) + 1).together()
    found = detector.look("all", moments, WindowRows(y, of_row))
    return found.p if isinstance(found, EmbeddingEvidence) else 1.0


def geometry(columns: int, seed: int) -> World | None:
    """The synthetic cone with the mean direction and the mean pairwise cosine of seven real CLIP vectors."""
    file = DATA / "clip-vit-b32-photos" / "clip_retrieval_7x512.npz"
    if not file.is_file():
        print("Skipped for want of clip-vit-b32-photos in ../shared/data: real CLIP's geometry.")
        return None
    with np.load(file) as data:
        vectors = data["emb"] / np.linalg.norm(data["emb"], axis=1, keepdims=True)
    together = vectors @ vectors.T
    cosine = float(together[~np.eye(len(vectors), dtype=bool)].mean())
    world = cone(columns, 0.3, seed)
    mean = vectors.mean(axis=0)
    # Of unit vectors the mean's squared length and the spread sum to one.
    wider = np.sqrt((1 - cosine) / world.spread)
    print(f"\nReal CLIP's geometry: mean pairwise cosine {cosine:.2f}; rho 0.3, one reference of 5,000 rows.")
    return replace(
        world,
        mean=mean / np.linalg.norm(mean) * np.sqrt(cosine),
        root=world.root * wider,
        concepts=world.concepts * wider,
        unseen=world.unseen * wider,
    )


def main() -> None:
    """Print the tables of what there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--windows", type=int)
    args = parser.parse_args()
    windows = args.windows or (6 if args.quick else 20)
    print(f"{windows} windows of each fault and three times as many without; the rest as for power.\n")
    comparisons = []
    for material in materials(args.quick):
        comparisons += real(material, windows)
    verdict(comparisons, SHIFTS, PEERS)
    world = geometry(512, FIRST_SEED)
    if world is None:
        return
    one = Prepared(world, "clip geometry", FIRST_SEED)
    comparisons = []
    for size in GEOMETRY_SIZES[: 1 if args.quick else 2]:
        gathered: dict[tuple[str, str], list[float]] = defaultdict(list)
        gather(one, size, windows, gathered)
        scores = {key: np.array(values) for key, values in gathered.items()}
        comparisons.append(compare(f"Real CLIP's geometry, {size} rows", scores, WORLD_SHIFTS, PEERS))
    verdict(comparisons, WORLD_SHIFTS, PEERS)


if __name__ == "__main__":
    main()
