"""Golden cases: inputs and float64 outputs that a server checks itself against before it serves.

The raw rows come from the state at ``as_of``; features from the NumPy reference of docs/bundle.md, never
from the C code; the networks are PyTorch modules in float64 that are filled with the very tensors of the
bundle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from . import features_reference as reference
from .networks import Ranker, TowerLayers

TOP_CASES = 64
TOP_ROWS = 10
Tensors = dict[str, np.ndarray]


def tower_layers(spec: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> TowerLayers:
    """The layers of a bundle's tower as a float64 module."""
    weights = [torch.from_numpy(tensors[f"{one['tensor']}.weight"]) for one in spec["layers"]]
    module = TowerLayers(weights[0].shape[1], [len(weight) for weight in weights]).double().eval()
    prefix = spec["layers"][0]["tensor"].rpartition(".")[0]
    module.load(prefix, {name: torch.from_numpy(tensors[name]) for name in module.export(prefix)})
    return module


def ranker_module(spec: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Ranker:
    """The ranker of a bundle as a float64 module."""
    width = tensors["ranker.level0.w1"].shape[2]
    module = Ranker(spec, width).double().eval()
    module.load({name: torch.from_numpy(tensors[name]) for name in module.export()})
    return module


class ReferenceModel:
    """A bundle's networks in float64 over the reference transforms."""

    def __init__(self, manifest: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> None:
        self.manifest = manifest
        self.space = reference.ReferenceSpace(manifest, tensors)
        self.user = tower_layers(manifest["user_tower"], tensors)
        self.ranker = ranker_module(manifest["ranker"], tensors)

    def rows(
        self, names: Sequence[str], raw: Mapping[str, np.ndarray], vectors: Mapping[str, np.ndarray]
    ) -> torch.Tensor:
        """Input rows of ``names``, ordered viewer, context, video, pair: float64 [n, width]."""
        parts = [self.space.assemble(names, entity, raw[entity], vectors) for entity in raw]
        return torch.from_numpy(np.concatenate(parts, axis=1))

    @torch.no_grad()
    def user_tower(self, raw: Mapping[str, np.ndarray], vectors: Mapping[str, np.ndarray]) -> np.ndarray:
        """float64 [n, tower_dim]."""
        asked = {entity: raw[entity] for entity in ("viewer", "context")}
        return self.user(self.rows(self.manifest["user_tower"]["inputs"], asked, vectors)).numpy()

    @torch.no_grad()
    def heads(self, raw: Mapping[str, np.ndarray], vectors: Mapping[str, np.ndarray]) -> np.ndarray:
        """float64 [n, 4]."""
        asked = {entity: raw[entity] for entity in reference.ENTITIES}
        rows = self.rows(self.manifest["ranker"]["inputs"], asked, vectors)
        return self.ranker.heads(self.ranker(rows)).numpy()


def top_rows(users: np.ndarray, tower: np.ndarray) -> np.ndarray:
    """Rows of the ten largest dot products, best first: int32 [n, 10]."""
    scores = users @ tower.astype(np.float64).T
    return np.argsort(-scores, axis=1, kind="stable")[:, :TOP_ROWS].astype(np.int32)


def golden_tensors(
    model: ReferenceModel, raw: dict[str, np.ndarray], video: np.ndarray, hist: Tensors, tower: np.ndarray,
    content: np.ndarray,
) -> Tensors:  # fmt: skip
    """Tensors of golden.safetensors.

    ``raw`` holds viewer, context, video and pair rows whose ``dot_tower`` and ``dot_content`` are still
    to be filled in; ``hist`` the vectors hist_tower and hist_content [n, dim]; tower [videos, dim] and
    content [videos, dim] float32.
    """
    hist = {name: vector.astype(np.float32) for name, vector in hist.items()}
    vectors: Tensors = {**hist, "tower": tower[video], "content": content[video]}
    user = model.user_tower(raw, vectors)
    vectors["user_tower"] = user
    pair = raw["pair"].copy()
    place = reference.BUILT_IN["pair"].index
    pair[:, place("dot_tower")] = (user * vectors["tower"].astype(np.float64)).sum(axis=1)
    pair[:, place("dot_content")] = (hist["hist_content"].astype(np.float64) * vectors["content"]).sum(axis=1)
    raw = raw | {"pair": pair}
    return {
        **{f"{entity}.raw": np.ascontiguousarray(raw[entity], np.float64) for entity in reference.ENTITIES},
        "viewer.hist_tower": hist["hist_tower"],
        "viewer.hist_content": hist["hist_content"],
        "video.row": video.astype(np.int32),
        "out.user_tower": user,
        "out.heads": model.heads(raw, vectors),
        "out.topk": top_rows(user[:TOP_CASES], tower),
    }
