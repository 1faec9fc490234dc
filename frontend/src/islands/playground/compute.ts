// One worker a computation: it tells how far it is, and is ended when it is given up.
import type { Clusters, Matrix, Result } from "./state";

export type What = "matrix" | "clusters" | "pca" | "umap";

export interface Asked {
  what: What;
  rows: Float32Array;
  dimensions: number;
  chosen: number;
}

/** What a worker's global scope has; TypeScript's is a window's. */
export interface Scope {
  onmessage: (event: MessageEvent<Asked>) => void;
  postMessage(message: unknown, transfer?: Transferable[]): void;
}

interface Heard {
  share?: number;
  made?: unknown;
}

interface Made {
  matrix: Matrix;
  clusters: Clusters;
  pca: Float32Array;
  umap: Float32Array;
}

/** Compute something of a result. tell: hears shares from 0 to 1. */
export function compute<K extends What>(
  what: K,
  result: Result,
  signal: AbortSignal,
  tell: (share: number) => void = () => {},
  chosen = 0,
): Promise<Made[K]> {
  const worker =
    what === "umap"
      ? new Worker(new URL("./umap_worker.ts", import.meta.url), { type: "module" })
      : new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
  const end = (): void => worker.terminate();
  return new Promise<Made[K]>((resolve, reject) => {
    signal.addEventListener("abort", () => reject(new DOMException("given up", "AbortError")));
    worker.onmessage = ({ data }: MessageEvent<Heard>) => {
      if (data.share !== undefined) tell(data.share);
      else resolve(data.made as Made[K]);
    };
    worker.onerror = () => reject(new Error("The computation failed. Reload the page and try again, or with fewer lines."));
    worker.postMessage({ what, rows: result.unit, dimensions: result.dimensions, chosen } satisfies Asked);
  }).finally(end);
}
