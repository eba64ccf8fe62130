"""What one would use instead on the same GPU: PyTorch, and FAISS and cuVS where they can be imported.

    python bench/peers_torch.py OUT.json [--device cpu] [--small]

Search: exact, inner product, on vectors as bench_scan's (unit, clustered), queries and items on the device:
torch mm + topk in float32 (TF32 off) and float16, FAISS GpuIndexFlatIP, cuVS brute force; recall against
float32. Ranker: the yardstick model (8 experts 256-512-256, 4 gates, 4 towers 256-128-1) on 300 rows a
request: eager, torch.compile and a CUDA graph of the compiled model, in float32 and float16. Medians and p99
of RUNS calls after a warm-up, each call waited for; torch's items are searched in copies that fill twice an
L2 of 60 MB.

A peer that is not installed is written down as "not there". `--device cpu` exists to try the script itself:
what it writes says so. Exit status 77 and "no device" without a GPU, 1 when torch is not there.
"""

import argparse
import importlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

RUNS, WARM_UP = 50, 10
TWICE_L2 = 120 << 20
TRUTH = 16
CLUSTERS = 256
ROWS_A_REQUEST = 300

Call = Callable[[int], Any]


def timed(call: Call, wait: Callable[[], None]) -> dict[str, float]:
    """p50 and p99 of RUNS waited calls, microseconds; `call` gets the number of the call."""
    sample = []
    for i in range(WARM_UP + RUNS):
        wait()
        start = time.perf_counter()
        call(i)
        wait()
        if i >= WARM_UP:
            sample.append((time.perf_counter() - start) * 1e6)
    sample.sort()
    return {"calls": RUNS, "p50_us": sample[(RUNS - 1) // 2], "p99_us": sample[-(-RUNS * 99 // 100) - 1]}


class Bench:
    """torch, the device, and the results so far."""

    def __init__(self, torch: Any, device: str, small: bool) -> None:
        self.torch, self.device, self.small = torch, device, small
        self.search: list[dict[str, Any]] = []
        self.ranker: list[dict[str, Any]] = []
        self.peers: dict[str, str] = {"torch": torch.__version__}

    def wait(self) -> None:
        if self.device == "cuda":
            self.torch.cuda.synchronize()

    # ---- search ----

    def vectors(self, count: int, dim: int, seed: int) -> Any:
        """Unit vectors around CLUSTERS centres, float32 [count, dim]."""
        torch = self.torch
        source = torch.Generator(device=self.device).manual_seed(seed)
        centre = torch.Generator(device=self.device).manual_seed(1)
        centres = torch.rand((CLUSTERS, dim), generator=centre, device=self.device) * 2 - 1
        own = torch.randint(CLUSTERS, (count,), generator=source, device=self.device)
        noise = torch.rand((count, dim), generator=source, device=self.device) * 2 - 1
        return torch.nn.functional.normalize(centres[own] + noise, dim=1)

    def recall(self, items: Any, queries: Any, found: Any, k: int) -> float:
        """Share of the found rows that score at least as the k-th best does."""
        truth = queries[:TRUTH].float() @ items.float().T
        last = truth.topk(k, dim=1).values[:, -1:]
        rows = self.torch.as_tensor(found, device=self.device)[:TRUTH].long()
        return float((truth.gather(1, rows) >= last).float().mean())

    def add_search(self, engine: str, shape: tuple[int, int, int, int], dtype: str, call: Call) -> None:
        rows, dim, queries, k = shape
        times = timed(call, self.wait)
        case = {"engine": engine, "rows": rows, "dim": dim, "queries": queries, "k": k, "dtype": dtype}
        rate = queries * 1e6 / times["p50_us"]
        self.search.append({**case, **times, "queries_per_s": rate})

    def search_torch(self, items: Any, queries: Any, k: int, dtype: Any) -> None:
        name = str(dtype).removeprefix("torch.")
        own = items.to(dtype)
        copies = min(16, TWICE_L2 // (own.numel() * own.element_size()) + 1)
        held = [own.clone() for _ in range(copies)]
        asked = queries.to(dtype)

        def call(i: int) -> Any:
            return (asked @ held[i % copies].T).topk(k, dim=1).indices

        self.add_search("torch mm + topk", (*items.shape, queries.shape[0], k), name, call)
        self.search[-1]["recall"] = self.recall(items, queries, call(0), k)

    def search_faiss(self, faiss: Any, items: Any, queries: Any, k: int) -> None:
        resources = faiss.StandardGpuResources()
        index = faiss.GpuIndexFlatIP(resources, items.shape[1])
        index.add(items.cpu().numpy())
        importlib.import_module("faiss.contrib.torch_utils")  # tensors of the device are taken as they are

        def call(_: int) -> Any:
            return index.search(queries, k)[1]

        self.add_search("FAISS GpuIndexFlatIP", (*items.shape, queries.shape[0], k), "float32", call)
        self.search[-1]["recall"] = self.recall(items, queries, call(0), k)

    def search_cuvs(self, brute_force: Any, items: Any, queries: Any, k: int) -> None:
        index = brute_force.build(items, metric="inner_product")

        def call(_: int) -> Any:
            return brute_force.search(index, queries, k)[1]

        self.add_search("cuVS brute force", (*items.shape, queries.shape[0], k), "float32", call)
        self.search[-1]["recall"] = self.recall(items, queries, self.torch.as_tensor(call(0)), k)

    def optional(self, name: str, module: str, needs: str) -> Any:
        """A module that has the member `needs`; None, and written down as not there, otherwise."""
        try:
            found = importlib.import_module(module)
        except ImportError as error:
            self.peers[name] = f"not there: {error}"
            return None
        if self.device != "cuda" or not hasattr(found, needs):
            self.peers[name] = f"not there: no {needs}" if self.device == "cuda" else "not there: no device"
            return None
        self.peers[name] = str(getattr(found, "__version__", "version unknown"))
        return found

    def run_search(self) -> None:
        torch = self.torch
        faiss = self.optional("faiss", "faiss", "StandardGpuResources")
        cuvs = self.optional("cuvs", "cuvs.neighbors.brute_force", "search")
        sizes = [2000] if self.small else [100_000, 1_000_000, 10_000_000]
        for rows in sizes:
            items = self.vectors(rows, 64, 2)
            for count in (1, 16, 128):
                queries = self.vectors(count, 64, 3)
                for k in (10, 100, 1000):
                    for dtype in (torch.float32, torch.float16):
                        self.search_torch(items, queries, k, dtype)
                    if faiss is not None:
                        self.search_faiss(faiss, items, queries, k)
                    if cuvs is not None:
                        self.search_cuvs(cuvs, items, queries, k)
            del items

    # ---- ranker ----

    def model(self, dtype: Any) -> Any:
        """The yardstick: columns 256, 8 experts 512-256, 4 gates, 4 towers 128-1."""
        torch, nn = self.torch, self.torch.nn

        class Ranker(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.first, self.gates = nn.Linear(256, 8 * 512), nn.Linear(256, 4 * 8)
                self.second = nn.Parameter(torch.randn(8, 512, 256) / 512**0.5)
                self.towers = nn.Parameter(torch.randn(4, 256, 128) / 256**0.5)
                self.heads = nn.Parameter(torch.randn(4, 128, 1) / 128**0.5)

            def forward(self, x: Any) -> Any:
                hidden = torch.relu(self.first(x)).view(-1, 8, 512).transpose(0, 1)
                experts = torch.relu(hidden @ self.second)  # [8, rows, 256]
                weights = self.gates(x).view(-1, 4, 8).softmax(2)
                mixed = torch.einsum("rge,erw->grw", weights, experts)
                return torch.sigmoid(torch.relu(mixed @ self.towers) @ self.heads).squeeze(2).T

        torch.manual_seed(1)
        return Ranker().to(self.device, dtype).eval()

    def graph(self, model: Any, x: Any) -> Any:
        """A captured call: replay is all that is left of it."""
        torch = self.torch
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):
            for _ in range(3):
                model(x)
        torch.cuda.current_stream().wait_stream(side)
        captured = torch.cuda.CUDAGraph()
        with torch.cuda.graph(captured):
            model(x)
        return captured

    def modes(self, model: Any, x: Any) -> dict[str, Call]:
        """How the model can be called; a compiled one needs a GPU here."""
        calls: dict[str, Call] = {"eager": lambda _: model(x)}
        if self.device == "cuda":
            compiled = self.torch.compile(model)
            compiled(x)
            captured = self.graph(compiled, x)
            calls |= {"compile": lambda _: compiled(x), "compile + CUDA graph": lambda _: captured.replay()}
        return calls

    def run_ranker(self) -> None:
        torch = self.torch
        for dtype in (torch.float32, torch.float16) if self.device == "cuda" else (torch.float32,):
            model = self.model(dtype)
            for requests in (1, 2) if self.small else (1, 8, 32, 128):
                x = torch.randn(requests * ROWS_A_REQUEST, 256, device=self.device, dtype=dtype)
                for mode, call in self.modes(model, x).items():
                    times = timed(call, self.wait)
                    case = {"mode": mode, "dtype": str(dtype).removeprefix("torch."), "requests": requests}
                    self.ranker.append({**case, **times, "requests_per_s": requests * 1e6 / times["p50_us"]})


def main() -> int:
    parser = argparse.ArgumentParser(description="The peers on this GPU.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true", help="small sizes, to try the script")
    args = parser.parse_args()
    try:
        import torch
    except ImportError as error:
        print(f"torch is not there ({error}), and no other peer is measured without it", file=sys.stderr)
        return 1
    if args.device == "cuda" and not torch.cuda.is_available():
        print("no device: torch sees no GPU", file=sys.stderr)
        return 77
    torch.backends.cuda.matmul.allow_tf32 = False
    bench = Bench(torch, args.device, args.small)
    with torch.inference_mode():
        bench.run_search()
        bench.run_ranker()
    device = torch.cuda.get_device_name(0) if args.device == "cuda" else "cpu: a trial of the script"
    result = {"bench": "peers", "device": device, "peers": bench.peers}
    args.out.write_text(json.dumps({**result, "search": bench.search, "ranker": bench.ranker}, indent=1))
    print("\n".join(f"{name}: {what}" for name, what in bench.peers.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
