// UMAP beside the page, loaded when somebody asks for it. The nearest neighbours are exact, and the seed is fixed.
import { UMAP } from "umap-js";
import { neighbours, seeded } from "./maths";
import type { Asked, Scope } from "./compute";

const NEIGHBOURS = 15;
const MIN_DISTANCE = 0.1;
const FINDING = 0.4; // share of the time that the neighbours take

const scope = self as unknown as Scope;

scope.onmessage = ({ data }: MessageEvent<Asked>): void => {
  const { rows, dimensions } = data;
  const n = rows.length / dimensions;
  const k = Math.min(NEIGHBOURS, n - 1);
  const found = neighbours(rows, dimensions, k, (share) => scope.postMessage({ share: share * FINDING }));
  const umap = new UMAP({ nComponents: 2, nNeighbors: k, minDist: MIN_DISTANCE, random: seeded(11) });
  umap.setPrecomputedKNN(found.of, found.far);
  const epochs = umap.initializeFit(Array.from({ length: n }, (_, at) => [at]));
  for (let epoch = 0; epoch < epochs; epoch++) {
    umap.step();
    if (epoch % 10 === 0) scope.postMessage({ share: FINDING + (1 - FINDING) * (epoch / epochs) });
  }
  const made = Float32Array.from(umap.getEmbedding().flat());
  scope.postMessage({ made }, [made.buffer]);
};
